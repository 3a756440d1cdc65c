// Cards of the states, the table, the tree of merges, resolution and views.
const axes = ["along z", "along y", "along x"];

function showStates() {
  const cards = h("div", {class: "cards"});
  const table = h("div", {class: "scroll"});
  const tree = h("div", {class: "figure"});
  const curves = h("div", {class: "plot"});
  const note = h("p", {class: "quiet"});
  section("states", "States", h("p", {class: "quiet"}, "Slices and projections of every state on one grey " +
    "scale, and its views: particles by rot (across) and tilt (down). In brackets what chance would give."),
    cards, h("h3", {}, "All figures"), table,
    h("div", {class: "columns"},
      h("div", {}, h("h3", {}, "What merging costs"), tree),
      h("div", {}, h("h3", {}, "Fourier shell correlation"), curves, note)));
  let order = {column: "state", down: false};
  const drawTable = () => table.replaceChildren(stateTable(order, column => {
    order = {column, down: order.column === column ? !order.down : false};
    drawTable();
  }));
  const drawCurves = () => {
    curves.hidden = !(theSet()?.states ?? []).some(state => state.fsc);
    if (!curves.hidden) plot(curves, "Fourier shell correlation of every state against resolution", fscPlot);
  };
  when("set", () => {
    drawCards(cards);
    drawTable();
    tree.replaceChildren(mergeTree(theSet()));
    note.textContent = theSet()?.note ?? "No reconstruction yet.";
    drawCurves();
  });
  when("state", () => {
    for (const card of cards.children)
      card.classList.toggle("chosen", Number(card.dataset.state) === chosen.state);
    drawTable();
    drawCurves();
  });
}

async function drawCards(cards) {
  const found = theSet(), maps = found?.maps;
  const list = (found?.states ?? []).map(state => stateCard(found, state));
  cards.replaceChildren(...list);
  const views = data.particles?.sets[found?.key]?.views;
  const [slices, projections, local, seen] = await Promise.all(
    [maps?.slices, maps?.projections, maps?.local?.slices, views].map(n => n ? arrayOf(n) : null));
  if (theSet() !== found) return;
  list.forEach((card, i) => {
    const state = found.states[i];
    const row = maps ? maps.states.indexOf(state.state) : -1;
    const strip = $(".strip", card), edge = maps?.edge;
    if (row >= 0) {
      for (const [array, what] of [[slices, "Slice"], [projections, "Projection"]])
        axes.forEach((axis, k) => strip.append(picture(part(array, row, k), edge, edge,
          `${what} ${axis} of state ${state.state}`)));
    }
    const place = maps?.local ? maps.local.states.indexOf(state.state) : -1;
    if (place >= 0) {
      const side = local.shape.at(-1), [low, high] = maps.local.range;
      axes.forEach((axis, k) => strip.append(picture(part(local, place, k), side, side,
        `Local resolution ${axis} of state ${state.state}, ${number(low, 1)} (dark) to ` +
        `${number(high, 1)} \u00c5 (bright)`, "colour")));
    }
    if (seen && state.state < seen.shape[0]) {
      const canvas = picture(scaled(part(seen, state.state)), seen.shape[2], seen.shape[1],
        `Views of state ${state.state}: particles by rot (across, 0 to 360 degrees) and tilt ` +
        "(down, bins of equal area)", "colour");
      canvas.className = "views";
      strip.append(canvas);
    }
  });
}
function resolutionOf(state) {
  return number(state.resolution, 1) + (state.at_pixel_limit ? " or finer" : "");
}
function stateCard(found, state) {
  const facts = [
    ["Particles", whole(state.particles)],
    ["State energy (kT)", withError(state.energy_kt, state.energy_error)],
    ["Resolution (\u00c5)", state.resolution ? `${resolutionOf(state)}, optimistic` : "\u2013"],
    ["Held-out fold agrees", `${percent(state.heldout_agreement)} (${percent(state.heldout_chance)})`],
    [`Merging with ${state.merges_with ?? "\u2013"} (nats)`,
      withError(state.support_gain, state.support_error)],
  ];
  if (state.local_resolution)
    facts.push(["Local (\u00c5)", `${number(state.local_resolution.median_angstrom, 1)} median`]);
  return h("article", {class: "card", "data-state": state.state, tabindex: "0",
    "aria-label": nameOf(state), onclick: () => choose({state: state.state}),
    onkeydown: event => { if (event.key === "Enter") choose({state: state.state}); }},
    h("h3", {}, h("span", {class: "dot", style: `background:${stateColour(state.state)}`}),
      nameOf(state)),
    h("div", {class: "strip"}),
    h("dl", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("p", {class: `verdict ${state.verdict.level}`}, h("span", {class: "mark"},
      marks[state.verdict.level][0]), state.verdict.text));
}

const columns = [
  ["state", "State", 0], ["name", "Name", null], ["particles", "Particles", 0],
  ["energy_kt", "State energy (kT)", 2], ["energy_error", "\u00b1", 2], ["resolution", "Resolution (\u00c5)", 1],
  ["volumes", "Volumes", 0], ["share_voted_out", "Voted out", 3], ["fold_agreement", "Folds agree", 3],
  ["heldout_agreement", "Held-out fold", 3], ["heldout_chance", "By chance", 3],
  ["support_gain", "Loss if merged (nats)", 3], ["support_error", "\u00b1", 3], ["merges_with", "with", 0],
];
function stateTable(order, sort) {
  const rows = [...(theSet()?.states ?? [])];
  const known = value => value === null || value === undefined ? -Infinity : value;
  rows.sort((a, b) => {
    const [x, y] = [known(a[order.column]), known(b[order.column])];
    return (x < y ? -1 : x > y ? 1 : a.state - b.state) * (order.down ? -1 : 1);
  });
  const used = columns.filter(([key]) => key !== "name" || rows.some(row => row.name));
  return h("table", {}, h("thead", {}, h("tr", {}, used.map(([key, title]) =>
    h("th", {"aria-sort": key === order.column ? (order.down ? "descending" : "ascending") : "none"},
      h("button", {type: "button", onclick: () => sort(key)}, title))))),
  h("tbody", {}, rows.map(row => h("tr", {class: row.state === chosen.state ? "chosen" : "",
    onclick: () => choose({state: row.state})},
  used.map(([key, , digits]) => h("td", {}, digits === null ? String(row[key] ?? "")
    : key === "resolution" ? resolutionOf(row)
    : digits === 0 ? whole(row[key]) : number(row[key], digits)))))));
}

function mergeTree(found) {
  const tree = found?.tree;
  if (!tree) return h("p", {class: "quiet"}, "No losses of merging are on record: the test on " +
    "held-out particles tells which states are close.");
  const count = found.states.length, width = 420, height = 24 * count + 40, left = 12, right = 150;
  const place = Array.from({length: count}, () => null);
  const leaves = k => k < count ? [k] : [...leaves(tree[k - count][0]), ...leaves(tree[k - count][1])];
  const order = leaves(2 * count - 2);
  order.forEach((leaf, i) => { place[leaf] = [0, 18 + 24 * i]; });
  const most = Math.max(...tree.map(row => row[2]), 1e-9);
  const x = loss => width - right - (width - left - right) * loss / most;
  const parts = order.map(leaf => h("text", {x: width - right + 8, y: place[leaf][1] + 4,
    fill: "currentColor"}, nameOf(found.states[leaf])));
  tree.forEach(([a, b, loss], i) => {
    const [p, q] = [place[a], place[b]];
    parts.push(h("path", {d: `M${x(p[0])} ${p[1]}H${x(loss)}V${q[1]}H${x(q[0])}`, fill: "none",
      stroke: "currentColor", "stroke-width": 1.5},
    h("title", {}, `merging costs ${number(loss, 3)} nats a held-out particle`)));
    place[count + i] = [loss, (p[1] + q[1]) / 2];
  });
  for (const share of [0, 0.5, 1]) parts.push(h("text", {x: x(share * most), y: height - 4,
    "text-anchor": "middle", fill: "currentColor", class: "tick"}, number(share * most, 2)));
  return h("div", {}, h("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": "Tree of states by what merging them costs"}, parts),
  h("p", {class: "quiet"}, "Nats that a held-out particle loses when two states become one (mean linkage)."));
}

function fscPlot() {
  const states = (theSet()?.states ?? []).filter(state => state.fsc);
  const traces = states.map(state => ({
    x: state.fsc.resolution.map(value => value ? 1 / value : 0), y: state.fsc.masked, mode: "lines",
    name: String(state.state), hovertemplate: `state ${state.state}: %{y:.2f}<extra></extra>`,
    line: {color: stateColour(state.state), width: state.state === chosen.state ? 4 : 1.5},
    opacity: chosen.state && state.state !== chosen.state ? 0.35 : 1,
  }));
  const finest = Math.max(0.01, ...traces.flatMap(trace => trace.x.filter(Number.isFinite)));
  const ticks = [1, 2, 3, 4, 5].map(i => i * finest / 5);
  return [traces, {
    xaxis: {title: {text: "Resolution (\u00c5)"}, tickvals: ticks, ticktext: ticks.map(t => number(1 / t, 1)),
      range: [0, finest]},
    yaxis: {title: {text: "FSC"}, range: [-0.1, 1.05]},
    shapes: [{type: "line", x0: 0, x1: finest, y0: 0.143, y1: 0.143,
      line: {dash: "dot", width: 1, color: css("--quiet")}}],
    annotations: [{x: 0, y: 0.143, xanchor: "left", yanchor: "bottom", text: "0.143", showarrow: false}],
  }];
}
