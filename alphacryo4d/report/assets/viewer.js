// Isosurfaces of maps, drawn by 3Dmol.js.

/** A viewer in an element; `show(list)` takes maps with level and colour. */
function makeViewer(element) {
  start("mol3d");
  const viewer = $3Dmol.createViewer(element, {backgroundColor: css("--panel"), antialias: true});
  let box = 0;
  when("theme", () => { viewer.setBackgroundColor(css("--panel")); viewer.render(); });
  return {
    viewer,
    show(maps) {
      viewer.removeAllShapes();
      for (const map of maps) viewer.addIsosurface(volumeData(map), {isoval: map.level,
        color: map.colour, opacity: map.opacity ?? 1, smoothness: 2});
      if (maps.length && maps[0].box !== box) {
        box = maps[0].box;
        const half = box * maps[0].voxel / 2;
        viewer.removeAllModels();
        viewer.addModel().addAtoms([-1, 1].flatMap(x => [-1, 1].flatMap(y => [-1, 1].map(z =>
          ({elem: "H", x: 0.4 * x * half, y: 0.4 * y * half, z: 0.4 * z * half, bonds: [],
            bondOrder: []})))));
        viewer.setStyle({}, {});
        viewer.zoomTo();
      }
      viewer.render();
      element.dataset.drawn = String(Number(element.dataset.drawn ?? 0) + 1);
    },
  };
}
/** Values on the grid of 3Dmol (x slowest) from a map in the order of MRC (z slowest). */
function volumeData({values, box, voxel}) {
  const made = new $3Dmol.VolumeData("", "none");
  const turned = new Float32Array(values.length);
  for (let z = 0; z < box; z++) for (let y = 0; y < box; y++) for (let x = 0; x < box; x++)
    turned[(x * box + y) * box + z] = values[(z * box + y) * box + x];
  Object.assign(made, {size: {x: box, y: box, z: box}, unit: {x: voxel, y: voxel, z: voxel},
    origin: {x: -box * voxel / 2, y: -box * voxel / 2, z: -box * voxel / 2}, data: turned});
  return made;
}
/** Map of one state, as numbers in the units of the map. */
async function stateMap(found, state) {
  const maps = found.maps, row = maps.states.indexOf(state);
  if (row < 0) return null;
  const bytes = part(await arrayOf(maps.volumes), row), [low, high] = maps.range;
  return {values: Float32Array.from(bytes, v => low + (high - low) * v / 255), box: maps.box,
    voxel: maps.voxel_size};
}

function showMaps() {
  const main = section("maps", "Maps");
  const stage = h("div", {class: "stage", id: "stage", tabindex: "0", role: "img",
    "aria-label": "Isosurface of the chosen map"});
  const bar = h("div", {class: "bar"});
  const words = h("p", {class: "quiet"});
  main.append(bar, stage, words);
  let viewer = null, level = h("input"), draws = 0;
  const draw = async () => {
    const found = theSet(), mine = ++draws;
    if (!found?.maps || !viewer) return;
    const first = await stateMap(found, Number(bar.dataset.first));
    const second = bar.dataset.second === "none" ? null
      : await stateMap(found, Number(bar.dataset.second));
    if (mine !== draws || !first) return;
    const value = Number(level.value), list = [];
    const kind = second ? bar.dataset.mode : "both";
    if (kind === "difference") {
      const gap = {...first, values: first.values.map((v, i) => v - second.values[i])};
      list.push({...first, level: value, colour: "#bbbbbb", opacity: 0.35},
        {...gap, level: value / 2, colour: "#0072B2"}, {...gap, level: -value / 2, colour: "#D55E00"});
      words.textContent = `State ${bar.dataset.first} (grey); blue: more density than in state ` +
        `${bar.dataset.second}, orange: less, by half the level.`;
    } else {
      list.push({...first, level: value, colour: stateColour(Number(bar.dataset.first)),
        opacity: second ? 0.8 : 1});
      if (second) list.push({...second, level: value, opacity: 0.5,
        colour: stateColour(Number(bar.dataset.second))});
      words.textContent = "Maps of " + found.label.toLowerCase() + `, ${first.box} voxels of ` +
        `${number(first.voxel, 1)} \u00c5 for the page; the full ones are in the project folder.`;
    }
    viewer.show(list);
  };
  const build = () => {
    const maps = theSet()?.maps;
    bar.replaceChildren();
    if (!maps) { words.textContent = "No maps: run `vote reconstruct`."; stage.hidden = true; return; }
    stage.hidden = false;
    viewer ??= makeViewer(stage);
    const options = maps.states.map(k => [String(k), nameOf(theState(k))]);
    bar.dataset.first = String(maps.states.includes(chosen.state) ? chosen.state : maps.states[0]);
    bar.dataset.second ??= "none";
    if (!maps.states.includes(Number(bar.dataset.second))) bar.dataset.second = "none";
    bar.dataset.mode ??= "both";
    level = h("input", {type: "range", id: "level", min: maps.range[1] * 0.02, max: maps.range[1],
      step: maps.range[1] / 200, "aria-label": "Level of the surface", oninput: draw});
    level.value = maps.level;
    bar.append(choice("Map", options, bar.dataset.first, value => {
      bar.dataset.first = value; choose({state: Number(value)});
    }), choice("with", [["none", "none"], ...options], bar.dataset.second, value => {
      bar.dataset.second = value; draw();
    }), choice("as", [["both", "two maps"], ["difference", "difference"]], bar.dataset.mode, value => {
      bar.dataset.mode = value; draw();
    }), h("label", {}, "Level ", level));
    draw();
  };
  when("set", build);
  when("state", () => { if (chosen.state && String(chosen.state) !== bar.dataset.first) build(); });
  stage.onkeydown = event => {
    const turn = {ArrowLeft: [-10, "y"], ArrowRight: [10, "y"], ArrowUp: [-10, "x"], ArrowDown: [10, "x"]};
    if (!(event.key in turn) || !viewer) return;
    viewer.viewer.rotate(...turn[event.key]);
    event.preventDefault();
  };
}
