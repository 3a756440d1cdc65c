// Particles: flow, histograms, what states depend on, and where the particles lie.
function showParticles() {
  const told = data.particles, main = section("particles", "Particles");
  if (!told) { main.append(h("p", {class: "quiet"}, "No particles have states yet.")); return; }
  const flow = h("div");
  main.append(flow);
  const confidence = h("div", {class: "plot"}), agreement = h("div", {class: "plot"});
  const judged = h("p", {class: "quiet"});
  const defocus = h("div", {class: "plot"}), micrographs = h("div", {class: "scroll"});
  main.append(h("div", {class: "columns"},
    h("div", {}, h("h3", {}, "Confidence"), confidence),
    h("div", {}, h("h3", {}, "Held-out fold agrees"), agreement, judged)),
  h("div", {class: "columns"},
    h("div", {}, h("h3", {}, "State against defocus"), defocus),
    h("div", {}, h("h3", {}, "State against micrograph"), micrographs)));
  when("set", () => {
    const found = told.sets[chosen.set];
    flow.replaceChildren(...flowOf(told.flows));
    if (!found) return;
    plot(confidence, "Histogram of the particles' confidence", () => confidencePlot(found));
    plot(agreement, "Particles whose held-out fold agrees, by state", () => agreementPlot(found));
    judged.textContent = found.disagreeing_out ? "Of all particles that the votes gave to a state; "
      + "those with which the held-out fold disagrees are voted out." : "";
    plot(defocus, "Share of every state by defocus", () => defocusPlot(found));
    micrographs.replaceChildren(micrographTable(found.micrographs));
  });
  if (told.points) showScatter(main, told);
}

/** From the states that a reclassification began with to its own: of this set, or the one from it. */
function flowOf(flows) {
  const key = chosen.set in flows ? chosen.set : Object.keys(flows).find(one => flows[one].first === chosen.set);
  if (!key) return [];
  const [first, second] = [flows[key].first, key].map(one => labelOf(one).toLowerCase());
  return [h("h3", {}, `From ${first} to ${second}`), flowFigure(flows[key].counts, key, first, second)];
}
function flowFigure(counts, key, first, second) {
  const after = counts[0].map((_, j) => counts.reduce((sum, row) => sum + row[j], 0));
  const before = counts.map(row => row.reduce((sum, value) => sum + value, 0));
  const total = before.reduce((a, b) => a + b, 0) || 1, width = 640, height = 320, gap = 4;
  const room = height - gap * Math.max(before.length, after.length);
  const places = sizes => { let y = 0; return sizes.map(n => {
    const at = y; y += n / total * room + gap; return at;
  }); };
  const [left, right] = [places(before), places(after)];
  const out = [...left], into = [...right], parts = [];
  counts.forEach((row, i) => row.forEach((n, j) => {
    if (!n) return;
    const t = n / total * room, [a, b] = [out[i], into[j]];
    parts.push(h("path", {d: `M110 ${a}C320 ${a} 320 ${b} 530 ${b}V${b + t}C320 ${b + t} 320 ${a + t} 110 ${a + t}Z`,
      fill: stateColour(i), opacity: i === j ? 0.75 : 0.45},
    h("title", {}, `${i ? "state " + i : "voted out"} to ${j ? "state " + j : "voted out"}: ${whole(n)}`)));
    out[i] += t; into[j] += t;
  }));
  const label = (k, n, x, y, anchor) => n ? h("text", {x, y: y + Math.max(10, n / total * room / 2 + 4),
    "text-anchor": anchor, fill: "currentColor", class: "tick"}, `${k || "out"}: ${whole(n)}`) : null;
  before.forEach((n, i) => parts.push(label(i, n, 104, left[i], "end")));
  after.forEach((n, j) => parts.push(label(j, n, 536, right[j], "start")));
  const known = data.sets.find(one => one.key === key)?.first_states;
  const same = (i, j) => known ? known[j - 1] === i : i === j;
  let stayed = 0, lost = 0;
  counts.forEach((row, i) => row.forEach((n, j) => {
    if (i && j && same(i, j)) stayed += n;
    if (!j) lost += n;
  }));
  return h("div", {class: "figure"}, h("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Flow of particles from the states of ${first} to those of ${second}`},
  parts.filter(Boolean)), h("p", {class: "quiet"}, `${whole(stayed)} stayed in their state, ` +
    `${whole(total - stayed - lost)} moved or came in, ${whole(lost)} are voted out after it.`));
}
function confidencePlot(found) {
  const counts = found.confidence_counts ?? [];
  return [[{type: "bar", x: counts.map((_, i) => (i + 0.5) / counts.length), y: counts,
    marker: {color: css("--accent")}, hovertemplate: "%{y} particles<extra></extra>"}],
  {bargap: 0.05, xaxis: {title: {text: "Winning votes / M"}}, yaxis: {title: {text: "Particles"}}}];
}
function agreementPlot(found) {
  if (!found.agreed_counts) return [[], {annotations: [{text: "Not known: no states of held-out volumes",
    xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false}]}];
  const rows = found.agreed_counts.slice(1);
  const names = ["disagrees", "agrees", "not known"], colours = ["#D55E00", "#0072B2", "#999999"];
  return [[1, 0, 2].map(k => ({type: "bar", name: names[k], x: rows.map((_, i) => i + 1),
    y: rows.map(row => row[k]), marker: {color: colours[k]}})),
  {barmode: "stack", xaxis: {title: {text: "State"}, dtick: 1}, yaxis: {title: {text: "Particles"}}}];
}
function defocusPlot(found) {
  if (!found.defocus) return [[], {annotations: [{text: "One defocus, or none recorded", xref: "paper",
    yref: "paper", x: 0.5, y: 0.5, showarrow: false}]}];
  const {edges, counts} = found.defocus;
  const sums = counts[0].map((_, j) => counts.reduce((sum, row) => sum + row[j], 0) || 1);
  const x = edges.slice(1).map((edge, i) => (edge + edges[i]) / 20000);
  return [counts.map((row, k) => ({x, y: row.map((n, j) => n / sums[j]), mode: "lines+markers",
    name: k ? String(k) : "out", line: {color: stateColour(k), dash: k ? "solid" : "dot"},
    hovertemplate: `${k ? "state " + k : "voted out"}: %{y:.3f}<extra></extra>`})),
  {xaxis: {title: {text: "Defocus (\u00b5m)"}}, yaxis: {title: {text: "Share of the particles"}, rangemode: "tozero"}}];
}
function micrographTable(found) {
  if (!found) return h("p", {class: "quiet"}, "The table names no micrographs.");
  const text = found.cramer_v === null ? "One micrograph: nothing to compare."
    : `${whole(found.count)} micrographs; Cramer's V ${number(found.cramer_v, 3)}, by chance ` +
      `${number(found.cramer_v_by_chance, 3)}. Those that differ most from the whole:`;
  return h("div", {}, h("p", {class: "quiet"}, text), h("table", {}, h("thead", {}, h("tr", {},
    ["Micrograph", "Particles", "Most in state", "Chi\u00b2"].map(title => h("th", {}, title)))),
  h("tbody", {}, found.odd.slice(0, 8).map(one => {
    const sum = one.counts.reduce((a, b) => a + b, 0), most = one.counts.indexOf(Math.max(...one.counts));
    return h("tr", {}, [one.name, whole(sum), `${most || "out"} (${percent(one.counts[most] / sum)})`,
      number(one.chi2, 1)].map(value => h("td", {}, value)));
  }))));
}

/** Command that writes the particles inside a lasso, of those that are shown. */
function selectCommand(told, show, sampled) {
  const voted = told.sets[chosen.set].disagreeing_out ? `votes >= ${theSet().votes_needed}` : "state > 0";
  const more = {kept: " and state > 0", out: " and state = 0", one: ` and state = ${chosen.state}`,
    doubt: ` and ${voted} and not heldout`}[show] ?? "";
  const where = show === "doubt" && !sampled ? "rows indices.npy" : `inside corners.json${more}`;
  return told.select_commands[chosen.set].replace("inside corners.json", where);
}
async function showScatter(main, told) {
  const holder = h("div");
  main.append(h("h3", {}, "Where the particles lie"), holder);
  const points = (await arrayOf(told.points)).values;
  const scatter = new Scatter(points, `Coordinates of ${whole(told.shown)} particles: ${told.source}`);
  window.particleScatter = scatter;
  const mode = {colour: told.shown > 50000 ? "density" : "state", show: "all"};
  const result = h("div", {class: "bar", "aria-live": "polite"});
  const repaint = async () => {
    const found = told.sets[chosen.set];
    if (!found) return;
    const [states, confidence, agreed] = await Promise.all([found.states, found.confidence, found.agreed]
      .map(name => name ? arrayOf(name) : null));
    const known = Array.from({length: 256}, (_, k) => pack(rgb(stateColour(k))));
    const scaleOf = Array.from({length: 256}, (_, i) => pack(shade(i / 255)));
    const colours = new Uint32Array(points.length / 2);
    for (let i = 0; i < colours.length; i++) {
      const state = states.values[i];
      if (mode.show === "out" && state !== 0) continue;
      if (mode.show === "kept" && state === 0) continue;
      if (mode.show === "one" && state !== chosen.state) continue;
      if (mode.show === "doubt" && agreed && agreed.values[i] !== 0) continue;
      colours[i] = mode.colour === "confidence" && confidence ? scaleOf[confidence.values[i]]
        : mode.colour === "agreed" && agreed ? pack([[213, 94, 0], [0, 114, 178], [150, 150, 150]][agreed.values[i]])
          : known[state];
    }
    scatter.colours = colours;
    scatter.density = mode.colour === "density";
    scatter.draw();
    holder.dataset.drawn = "yes";
  };
  const lasso = h("button", {type: "button", "aria-pressed": "false", id: "lasso", onclick: () => {
    scatter.lasso = !scatter.lasso;
    lasso.setAttribute("aria-pressed", String(scatter.lasso));
  }}, "Lasso");
  holder.append(h("div", {class: "bar"},
    choice("Colour", [["state", "state"], ["density", "density"], ["confidence", "confidence"],
      ["agreed", "held-out fold agrees"]], mode.colour, value => { mode.colour = value; repaint(); }),
    choice("Show", [["all", "all"], ["kept", "with a state"], ["out", "voted out"],
      ["doubt", "outliers: held-out fold disagrees"], ["one", "chosen state"]], mode.show,
    value => { mode.show = value; repaint(); }), lasso,
    h("button", {type: "button", onclick: () => { scatter.reset(); scatter.draw(); }}, "Whole view")),
  h("div", {class: "axes"}, h("span", {class: "y"}, "RC2, mean over the folds (a.u.)"), scatter.canvas,
    h("span", {class: "x"}, "RC1, mean over the folds (a.u.)")), result, h("p", {class: "quiet"}, `${told.source}; ${whole(told.shown)} of ` +
    `${whole(told.count)} particles. Drag to move, wheel or + and - to zoom, shift and drag for a lasso.`));
  when("lasso", found => {
    if (!found) { result.replaceChildren(); return; }
    const sampled = told.shown < told.count;
    result.replaceChildren(h("b", {}, `${whole(found.rows.length)} particles inside`),
      sampled ? h("p", {class: "warn", role: "alert", id: "sampled"}, `The page holds an even sample, ` +
        `${whole(told.shown)} of ${whole(told.count)} particles, and indices.npy those of the sample alone. ` +
        "For every particle inside, save corners.json and run:") : null,
      h("button", {type: "button", id: "save-rows", onclick: async () => {
        const rows = (await arrayOf(told.rows)).values;
        download("indices.npy", npy(found.rows.map(i => rows[i])));
      }}, "indices.npy (rows from 0)"),
      h("button", {type: "button", onclick: () => download("corners.json",
        JSON.stringify({corners: found.polygon}), "application/json")}, "corners.json"),
      chosen.state && editable() ? h("button", {type: "button", id: "split", onclick: () => addEdit({action: "split",
        state: chosen.state, polygon: found.polygon})}, `Split state ${chosen.state} here`) : null,
      commandLine(selectCommand(told, mode.show, sampled), sampled ? null : "The same particles as a table, with the file saved here:"));
  });
  for (const event of ["set", "theme"]) when(event, repaint);
  when("state", () => { if (mode.show === "one") repaint(); });
  new ResizeObserver(() => { if (scatter.colours) scatter.draw(); }).observe(holder);
  repaint();
}
