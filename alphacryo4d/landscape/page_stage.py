"""A page that shows points in space and turns them with the mouse; it needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.colours import NO_STATE, STATE_COLOURS
from alphacryo4d.core.files import write_text

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Embedding in space</title>
<style>
body { margin: 0; font: 14px sans-serif; background: #fff; color: #222 }
#bar { position: fixed; top: 8px; left: 12px }
#tip { position: fixed; top: 36px; left: 12px; white-space: pre }
#key { position: fixed; top: 8px; right: 12px; text-align: right }
#key span { margin-left: 8px } canvas { display: block; cursor: grab }
</style></head><body>
<div id="bar">Colour <select id="column"></select> &nbsp; drag: turn, wheel: zoom</div>
<div id="tip"></div><div id="key"></div><canvas id="view"></canvas>
<script>
"use strict";
const data = @DATA@;
const shades = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
const view = document.getElementById("view"), pen = view.getContext("2d");
const column = document.getElementById("column"), tip = document.getElementById("tip");
const key = document.getElementById("key");
let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1, held = null, spots = [];
data.columns.forEach((c, i) => column.add(new Option(c.title, i)));
function times(a, b) {
  const r = [];
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++)
    r.push(a[3*i]*b[j] + a[3*i+1]*b[3+j] + a[3*i+2]*b[6+j]);
  return r;
}
function rotate(dx, dy) {
  const c = Math.cos(dx), s = Math.sin(dx), d = Math.cos(dy), t = Math.sin(dy);
  turn = times([1,0,0, 0,d,-t, 0,t,d], times([c,0,s, 0,1,0, -s,0,c], turn));
}
function mix(share) {
  const at = Math.min(3.9999, Math.max(0, share * 4)), k = Math.floor(at), f = at - k;
  const part = h => [1, 3, 5].map(p => parseInt(h.slice(p, p + 2), 16));
  const a = part(shades[k]), b = part(shades[k + 1]);
  return `rgb(${a.map((v, i) => Math.round(v + f * (b[i] - v))).join(",")})`;
}
function colours(c) {
  key.replaceChildren();
  const note = (text, colour) => {
    const span = document.createElement("span");
    span.textContent = "\\u25CF " + text;
    span.style.color = colour;
    key.append(span);
  };
  if (c.kind === "category") {
    const names = [...new Set(c.values)];
    names.sort((a, b) => String(a).localeCompare(String(b), undefined, {numeric: true}));
    const whole = names.every(n => /^\\d+$/.test(n));
    const of = n => {
      const k = whole ? Number(n) : names.indexOf(n) + 1;
      return k > 0 ? data.palette[(k - 1) % data.palette.length] : data.none;
    };
    names.slice(0, 24).forEach(n => note(n, of(n)));
    return c.values.map(of);
  }
  const low = Math.min(...c.values), high = Math.max(...c.values);
  note(low.toPrecision(3), mix(0)); note(high.toPrecision(3), mix(1));
  return c.values.map(v => mix(high > low ? (v - low) / (high - low) : 0));
}
function draw() {
  view.width = innerWidth; view.height = innerHeight;
  const size = 0.42 * zoom * Math.min(innerWidth, innerHeight);
  const place = p => {
    const q = [0, 3, 6].map(r => turn[r]*p[0] + turn[r+1]*p[1] + turn[r+2]*p[2]);
    return [innerWidth / 2 + size * q[0], innerHeight / 2 - size * q[1], q[2]];
  };
  pen.fillStyle = pen.strokeStyle = "#888"; pen.font = "13px sans-serif";
  const origin = place([0, 0, 0]);
  [[1, 0, 0], [0, 1, 0], [0, 0, 1]].forEach((axis, i) => {
    const end = place(axis);
    pen.beginPath(); pen.moveTo(origin[0], origin[1]); pen.lineTo(end[0], end[1]); pen.stroke();
    pen.fillText("RC" + (i + 1), end[0] + 4, end[1] - 4);
  });
  const shown = colours(data.columns[column.value]);
  spots = data.points.map((p, i) => [...place(p), i]).sort((a, b) => a[2] - b[2]);
  for (const [x, y, z, i] of spots) {
    pen.beginPath(); pen.arc(x, y, 4 + 2 * z, 0, 7); pen.fillStyle = shown[i]; pen.fill();
  }
}
function point(event) {
  let best = 100, found = -1;
  for (const [x, y, , i] of spots) {
    const d = (x - event.clientX) ** 2 + (y - event.clientY) ** 2;
    if (d < best) { best = d; found = i; }
  }
  tip.textContent = found < 0 ? "" : [data.names[found],
    ...data.columns.map(c => c.title + ": " + c.values[found])].join("\\n");
}
view.onpointerdown = e => { held = [e.clientX, e.clientY]; view.setPointerCapture(e.pointerId); };
view.onpointerup = () => { held = null; };
view.onpointermove = e => {
  if (!held) { point(e); return; }
  rotate((e.clientX - held[0]) / 200, (e.clientY - held[1]) / 200);
  held = [e.clientX, e.clientY]; draw();
};
view.onwheel = e => { e.preventDefault(); zoom *= Math.exp(-e.deltaY / 800); draw(); };
column.onchange = onresize = draw;
rotate(0.6, 0.4); draw();
</script></body></html>
"""


def write_page(
    path: Path, points: Array, names: Array, columns: Sequence[tuple[str, Array, str]]
) -> Path:
    """Write the page.

    Parameters
    ----------
    points : (V, 3) array
        Embedding; centred, and scaled to a radius of 1, for the view.
    names : (V,) array
        Name of each volume, shown under the mouse.
    columns : sequence of (title, values (V,), kind)
        What can be chosen as colour; ``kind`` is ``number`` or ``category``.
    """
    centred = np.asarray(points, np.float64) - np.mean(points, axis=0)
    scaled = centred / max(float(np.linalg.norm(centred, axis=1).max()), 1e-30)
    data = {
        "points": np.round(scaled, 5).tolist(),
        "names": [str(name) for name in names],
        "palette": STATE_COLOURS,
        "none": NO_STATE,
        "columns": [
            {"title": title, "kind": kind, "values": _values(values, kind)}
            for title, values, kind in columns
        ],
    }
    text = json.dumps(data, allow_nan=False).replace("</", "<\\/")
    return write_text(path, _PAGE.replace("@DATA@", text))


def _values(values: Array, kind: str) -> list[Any]:
    if kind == "category":
        return [str(value) for value in values.tolist()]
    return [float(f"{value:.5g}") for value in values.tolist()]
