// The morph: maps along the path, moved through by a slider.
function showMorph(told, holder) {
  const morph = told.morph;
  if (!morph) return;
  const main = h("div", {id: "morph"});
  holder.append(h("h3", {}, morph.kind === "path" ? "Along the path"
    : "From state to state"), main);
  const stage = h("div", {class: "stage small", role: "img", id: "morph-stage",
    "aria-label": "Isosurface at this place of the path"});
  const frames = morph.places.length;
  const slider = h("input", {type: "range", min: 0, max: frames - 1, step: 1, id: "morph-slider",
    "aria-label": "Place along the path"});
  slider.value = 0;
  const words = h("p", {class: "quiet", "aria-live": "polite"});
  const canvas = h("canvas", {width: morph.box, height: morph.box, class: "slice", role: "img",
    id: "morph-slice", "aria-label": "Central slice at this place of the path"});
  main.append(h("label", {class: "grow"}, "Place ", slider), h("div", {class: "columns"},
    stage, h("div", {}, canvas, words)));
  let viewer = null, timer = null;
  const draw = async () => {
    const frame = Number(slider.value);
    const [slices, volumes] = await Promise.all([arrayOf(morph.slices), arrayOf(morph.volumes)]);
    if (frame !== Number(slider.value)) return;
    paint(canvas, part(slices, frame));
    viewer ??= makeViewer(stage);
    const [low, high] = morph.range;
    viewer.show([{values: Float32Array.from(part(volumes, frame), v => low + (high - low) * v / 255),
      box: morph.box, voxel: morph.voxel_size, level: morph.level, colour: "#56B4E9"}]);
    words.textContent = `${number(morph.lengths[frame], 1)} of ${number(morph.lengths.at(-1), 1)} ` +
      `along the ${morph.kind === "path" ? "path" : "line through the states"}: mean of about ` +
      `${number(morph.averaged[frame], 0)} class volumes around this place.`;
    view.marker = morph.places[frame];
    clearTimeout(timer);
    timer = setTimeout(() => tell("place"), 60);
  };
  slider.oninput = draw;
  draw();
}
