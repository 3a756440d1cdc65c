// The page is built from the top, so that the answer is there at once.
async function build() {
  showBar();
  showSummary();
  showServer();
  choose({set: data.first ?? data.sets.at(-1)?.key ?? null});
  // After the next frame, so that what is there can be seen
  const rest = () => new Promise(done => {
    if (document.visibilityState === "hidden") setTimeout(done, 0);
    else requestAnimationFrame(() => setTimeout(done, 0));
  });
  for (const show of [showStates, showLandscape, showMaps, showParticles,
    showParticleSpace, showTraining, showEdits, showProvenance]) {
    await rest();
    const known = Object.fromEntries(Object.entries(listeners).map(([k, v]) => [k, v.length]));
    await show();
    for (const listener of (listeners.set ?? []).slice(known.set ?? 0)) listener(chosen.set);
  }
  document.body.dataset.ready = "yes";
}
build().catch(error => {
  console.error(error);
  $("#main").append(h("p", {class: "warn", role: "alert"}, `This part of the page failed: ${error.message}`));
});
