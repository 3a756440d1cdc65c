// The landscape of the volumes: energy, path, states, and what lies under the pointer.
const view = {colour: "State", aspect: true, ends: [], marker: null};

/** States and their volumes, numbered as the chosen set numbers them. */
const statesHere = told => told.sets?.[chosen.set] ?? {states: told.states};
const valuesHere = (told, column) =>
  (column.title === "State" ? statesHere(told).values : null) ?? column.values;

/** The landscape that the chosen set is of; null where there is none. */
const landscapeHere = () => data.landscapes[theSet()?.landscape ?? "landscape"] ?? null;

async function showLandscape() {
  const main = section("landscape", "Landscape"), holder = h("div"), built = new Map();
  const note = h("p", {class: "quiet"});
  main.append(note, holder);
  let shown;
  const show = async () => {
    const told = landscapeHere();
    const own = told?.sets?.[chosen.set];
    const unplaced = own && !own.states.length && told.states.length;
    note.textContent = unplaced ? "These states have no circles here: they are of single particles, not of the volumes." : "";
    if (told === shown) return;
    shown = told;
    view.ends = []; view.marker = null;
    const known = built.get(told), here = known ?? h("div");
    holder.replaceChildren(here);
    tell("ends");
    tell("volumes", null);
    if (known) return;
    built.set(told, here);
    if (!told) {
      here.append(h("p", {class: "quiet"}, "No landscape yet: run `alphacryo4d landscape`."));
      return;
    }
    if (Object.keys(data.landscapes).length > 1)
      here.append(h("p", {class: "quiet"}, `The landscape in ${told.folder}/, which these states are of.`));
    await buildLandscape(told, here);
    showMorph(told, here);
  };
  when("set", show);
  await show();
}

async function buildLandscape(told, main) {
  const [points, grid, slices] = await Promise.all([told.points, told.grid?.values,
    told.slices?.images].map(name => name ? arrayOf(name) : null));
  const spread = axis => {
    const along = Array.from({length: told.count}, (_, i) => points.values[2 * i + axis]);
    return Math.max(...along) - Math.min(...along);
  };
  const ratio = spread(0) / (spread(1) || 1);
  view.aspect = ratio > 0.4 && ratio < 2.5;
  if (!told.columns.some(column => column.title === view.colour))
    view.colour = told.columns[0]?.title;
  const map = h("div", {class: "plot tall", id: "map"});
  const tip = h("div", {class: "tip", "aria-live": "polite"}, "Point at a volume to see it.");
  const along = h("div", {class: "plot", id: "along"});
  const draw = () => told === landscapeHere() && plot(map, "Energy landscape: volumes, states and path",
    () => mapPlot(told, points, grid));
  const bar = h("div", {class: "bar"},
    choice("Colour", told.columns.map(column => [column.title, column.title]), view.colour,
      value => { view.colour = value; draw(); }),
    h("label", {}, h("input", {type: "checkbox", checked: view.aspect, onchange: event => {
      view.aspect = event.target.checked; draw();
    }}), " true aspect"),
    h("label", {}, h("input", {type: "checkbox", id: "pick", onchange: event => {
      view.picking = event.target.checked;
      if (!view.picking) { view.ends = []; tell("ends"); draw(); }
    }}), " choose path by click"));
  main.append(bar, h("div", {class: "columns wide"}, h("div", {}, map), tip),
    h("h3", {}, "Energy along the path"), along);
  const show = row => {
    const lines = told.columns.map(column => [column.title, valuesHere(told, column)[row]]);
    tip.replaceChildren(h("b", {}, told.names[row]),
      slices ? picture(part(slices, row), told.slices.edge, told.slices.edge,
        `Central slice of ${told.names[row]}`) : "",
      h("dl", {}, lines.map(([title, value]) => [h("dt", {}, title),
        h("dd", {}, Number.isInteger(value) ? whole(value) : number(value))])));
  };
  await draw();
  const rowOf = event => event.points?.find(point => point.customdata !== undefined)?.customdata;
  map.on("plotly_hover", event => { const row = rowOf(event); if (row !== undefined) show(row); });
  map.on("plotly_click", event => {
    const point = event.points[0];
    if (view.picking) {
      view.ends.push([point.x, point.y]);
      tell("ends"); draw();
      return;
    }
    const row = rowOf(event);
    if (row === undefined) return;
    show(row);
    const states = told.columns.find(column => column.title === "State");
    const state = states ? valuesHere(told, states)[row] : null;
    choose({volume: row, ...(theState(state) ? {state} : {})});
  });
  map.on("plotly_selected", event => {
    const rows = (event?.points ?? []).map(point => point.customdata).filter(r => r !== undefined);
    if (event) tell("volumes", {rows: [...new Set(rows)], polygon: event.lassoPoints
      ? event.lassoPoints.x.map((x, i) => [x, event.lassoPoints.y[i]]) : null});
  });
  for (const event of ["set", "state", "place", "volume"]) when(event, draw);
  const drawAlong = () => told === landscapeHere() && plot(along,
    "Energy along the path with its error, states and barriers", () => alongPlot(told));
  drawAlong();
  for (const event of ["set", "state", "place"]) when(event, drawAlong);
  if (told.space) main.append(h("h3", {}, "Embedding in space"), await spaceView(told));
}

function circle(state, chosenOne) {
  return {type: "circle", x0: state.x - state.radius, x1: state.x + state.radius,
    y0: state.y - state.radius, y1: state.y + state.radius,
    line: {color: stateColour(state.state), width: chosenOne ? 4 : 1.5}};
}
function mapPlot(told, points, grid) {
  const traces = [];
  const n = told.count, x = new Array(n), y = new Array(n);
  for (let i = 0; i < n; i++) { x[i] = points.values[2 * i]; y[i] = points.values[2 * i + 1]; }
  if (grid) {
    const [rows, width] = grid.shape;
    traces.push({type: "heatmap", x: told.grid.x, y: told.grid.y, opacity: 0.85, colorscale: scale,
      ...(told.grid.range ? {zmin: told.grid.range[0], zmax: told.grid.range[1]} : {}),
      z: Array.from({length: rows}, (_, r) => Array.from(grid.values.subarray(r * width, (r + 1) * width),
        value => Number.isNaN(value) ? null : value)),
      hovertemplate: "%{z:.1f} kT<extra></extra>", zsmooth: "best",
      colorbar: {title: {text: "kT", side: "top"}, thickness: 12, x: 1.0, len: 0.8}});
  }
  if (told.path) traces.push({x: told.path.rc1, y: told.path.rc2, mode: "lines", hoverinfo: "skip",
    name: "path", line: {color: "#ffffff", width: 4}, showlegend: false},
  {x: told.path.rc1, y: told.path.rc2, mode: "lines", hoverinfo: "skip", name: "path",
    line: {color: "#D55E00", width: 2}, showlegend: false});
  const column = told.columns.find(one => one.title === view.colour);
  const kind = column?.kind === "category", values = column ? valuesHere(told, column) : [];
  const {states} = statesHere(told);
  const categories = kind ? [...new Set(values)].sort((a, b) => a - b) : [];
  traces.push({x, y, mode: "markers", name: "volumes", customdata: x.map((_, i) => i),
    text: told.names.map(plain), showlegend: false,
    hovertemplate: "%{text}<extra></extra>",
    marker: {size: x.map((_, i) => i === chosen.volume ? 15 : n > 300 ? 6 : 8),
      line: {color: "#fff", width: 1},
      color: !column ? "#888" : kind ? values.map(value => view.colour === "State"
        ? stateColour(value) : stateColour(categories.indexOf(value) + 1)) : values,
      ...(kind || !column ? {} : {colorscale: scale, showscale: true,
        colorbar: {title: {text: plain(column.title), side: "top"}, thickness: 12, x: 1.14, len: 0.8}})}});
  traces.push({x: states.map(s => s.x), y: states.map(s => s.y), mode: "text",
    text: states.map(s => `<b>${s.state}</b>`), hoverinfo: "skip", showlegend: false,
    textfont: {size: 15, color: "#fff", shadow: "0 0 3px #000, 0 0 3px #000"}});
  if (view.ends.length) traces.push({x: view.ends.map(p => p[0]), y: view.ends.map(p => p[1]),
    mode: "markers+lines", showlegend: false, hoverinfo: "skip",
    marker: {symbol: "x", size: 12, color: "#D55E00"}, line: {dash: "dot", color: "#D55E00"}});
  if (view.marker) traces.push({x: [view.marker[0]], y: [view.marker[1]], mode: "markers",
    hoverinfo: "skip", showlegend: false,
    marker: {symbol: "diamond", size: 14, color: "#fff", line: {color: "#000", width: 2}}});
  const drag = $("#map")?.layout?.dragmode ?? "pan";
  return [traces, {zoom: true, lasso: true, dragmode: drag, uirevision: "map", hovermode: "closest",
    xaxis: {title: {text: "RC1 (a.u.)"}, zeroline: false},
    yaxis: {title: {text: "RC2 (a.u.)"}, zeroline: false,
      ...(view.aspect ? {scaleanchor: "x", scaleratio: 1} : {})},
    shapes: states.map(state => circle(state, state.state === chosen.state))}];
}
/** Text in which plotly finds no markup. */
function plain(text) {
  return String(text).replace(/[<>&]/g, c => ({"<": "\u2039", ">": "\u203a", "&": "+"})[c]);
}

/** Texts of states at places from 0 to 1: those that would overlap share one, as `2, 5` or `2-4`. */
function sharedLabels(places, numbers) {
  const groups = [], texts = places.map(() => "");
  const words = group => {
    const runs = [];
    for (const n of group.map(i => numbers[i]).sort((a, b) => a - b))
      n === runs.at(-1)?.at(-1) + 1 ? runs.at(-1).push(n) : runs.push([n]);
    return runs.map(r => r.length > 2 ? `${r[0]}-${r.at(-1)}` : r.join(", ")).join(", ");
  };
  const middle = group => group[Math.floor(group.length / 2)];
  for (const one of places.map((_, i) => i).sort((a, b) => places[a] - places[b])) {
    let near = [one];
    while (groups.length && places[middle(near)] - places[middle(groups.at(-1))] <=
        0.006 * (words(groups.at(-1)).length + words(near).length + 1)) near = [...groups.pop(), ...near];
    groups.push(near);
  }
  for (const group of groups) texts[middle(group)] = words(group);
  return texts;
}

function alongPlot(told) {
  const path = told.path;
  if (!path) return [[], {annotations: [{text: "No path was asked for: landscape --path", xref: "paper",
    yref: "paper", x: 0.5, y: 0.5, showarrow: false}]}];
  const traces = [], x = path.length, y = path.energy_kt;
  if (path.error_kt) traces.push({x: [...x, ...[...x].reverse()], hoverinfo: "skip",
    y: [...y.map((v, i) => v + path.error_kt[i]),
      ...y.map((v, i) => v - path.error_kt[i]).reverse()],
    fill: "toself", mode: "lines", line: {width: 0}, fillcolor: "rgba(86,180,233,0.3)",
    name: "standard error"});
  traces.push({x, y, mode: "lines", name: "pseudo-energy", line: {color: css("--accent"), width: 2},
    hovertemplate: "%{x:.2f}: %{y:.2f} kT<extra></extra>"});
  const nearest = (px, py) => {
    let best = 0, least = Infinity;
    for (let i = 0; i < x.length; i++) {
      const d = (path.rc1[i] - px) ** 2 + (path.rc2[i] - py) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  };
  for (const lost of [false, true]) {
    const list = path.barriers.filter(b => b.lost === lost);
    if (!list.length) continue;
    const colour = lost ? "#999999" : "#D55E00", rows = list.map(b => nearest(b.x, b.y));
    traces.push({x: rows.map(i => x[i]), y: rows.map(i => y[i]), mode: "markers+text",
      name: lost ? "barrier not resolved" : "barrier, 95% interval", textposition: "top right",
      text: list.map(b => b.label.replace("<", "&lt;")), textfont: {color: colour},
      marker: {symbol: "triangle-up", size: 10, color: colour},
      hovertemplate: list.map(b => `${b.text}<extra></extra>`),
      error_y: {type: "data", symmetric: false, color: colour,
        array: list.map(b => b.known ? b.high - b.height : 0),
        arrayminus: list.map(b => b.known ? b.height - b.low : 0)}});
  }
  const {states} = statesHere(told), rows = states.map(state => nearest(state.x, state.y));
  const texts = sharedLabels(rows.map(i => x[i] / (x.at(-1) || 1)), states.map(s => s.state));
  traces.push({x: rows.map(i => x[i]), y: rows.map(i => y[i]), mode: "markers+text", name: "states",
    text: texts, textposition: "bottom center",
    hoverinfo: "skip", marker: {size: states.map(s => s.state === chosen.state ? 15 : 9),
      color: states.map(s => stateColour(s.state))}});
  const shapes = view.marker ? [nearest(...view.marker)].map(i => ({type: "line", x0: x[i], x1: x[i],
    yref: "paper", y0: 0, y1: 1, line: {color: css("--quiet"), width: 1}})) : [];
  return [traces, {shapes, xaxis: {title: {text: "Length along the path (units of the embedding)"}},
    yaxis: {title: {text: "Pseudo-energy (kT)"}}}];
}

/** Points in space, turned by dragging or with the arrow keys. */
async function spaceView(told) {
  const {values} = await arrayOf(told.space);
  const canvas = h("canvas", {width: 900, height: 420, class: "space", tabindex: "0", role: "img",
    "aria-label": "Embedding in space; drag or use the arrow keys to turn it"});
  const count = values.length / 3, centre = [0, 0, 0];
  for (let i = 0; i < values.length; i++) centre[i % 3] += values[i] / count;
  let most = 1e-9, yaw = 0.6, pitch = 0.4, held = null;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i] - centre[i % 3]));
  const states = told.columns.find(column => column.title === "State");
  const draw = () => {
    const pen = canvas.getContext("2d"), labels = states ? valuesHere(told, states) : null;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const [c, s, d, t] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    Array.from({length: count}, (_, i) => {
      const [x, y, z] = [0, 1, 2].map(axis => (values[3 * i + axis] - centre[axis]) / most);
      const far = -s * x + c * z;
      return [c * x + s * z, d * y - t * far, t * y + d * far, i];
    }).sort((a, b) => a[2] - b[2]).forEach(([x, y, z, i]) => {
      pen.beginPath();
      pen.arc(450 + 190 * x, 210 - 190 * y, 4 + 1.5 * z, 0, 7);
      pen.fillStyle = labels ? stateColour(labels[i]) : palette[0];
      pen.fill();
    });
  };
  canvas.onpointerdown = event => { held = [event.clientX, event.clientY]; };
  canvas.onpointerup = canvas.onpointerleave = () => { held = null; };
  canvas.onpointermove = event => {
    if (!held) return;
    yaw += (event.clientX - held[0]) / 150; pitch += (event.clientY - held[1]) / 150;
    held = [event.clientX, event.clientY]; draw();
  };
  canvas.onkeydown = event => {
    const turn = {ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1]};
    if (!(event.key in turn)) return;
    yaw += turn[event.key][0]; pitch += turn[event.key][1];
    event.preventDefault(); draw();
  };
  when("set", draw);
  draw();
  return canvas;
}
