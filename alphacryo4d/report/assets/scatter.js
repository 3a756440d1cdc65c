// Points of particles on a canvas. Plotly's WebGL needs seconds for a pan of 200,000 points where
// no graphics card is present; writing pixels takes a few milliseconds anywhere.

/** Points inside a polygon (even-odd rule), as matplotlib.path tells it.

    The edges are sorted into bands of y, so that a point meets those of its own band alone. */
function insidePolygon(points, polygon) {
  const n = polygon.length, bands = 256, found = [];
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of polygon) {
    x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
  }
  const band = y => Math.min(bands - 1, Math.max(0, Math.floor((y - y0) / (y1 - y0 || 1) * bands)));
  const edges = Array.from({length: bands}, () => []);
  for (let a = 0, b = n - 1; a < n; b = a++) {
    const [ax, ay] = polygon[a], [bx, by] = polygon[b];
    if (ay === by) continue;
    const last = band(Math.max(ay, by));
    for (let k = band(Math.min(ay, by)); k <= last; k++) edges[k].push(ax, ay, bx, by);
  }
  const sorted = edges.map(list => Float64Array.from(list));
  for (let i = 0; i < points.length / 2; i++) {
    const x = points[2 * i], y = points[2 * i + 1];
    if (!(x >= x0 && x <= x1 && y >= y0 && y <= y1)) continue;
    const mine = sorted[band(y)];
    let inside = false;
    for (let e = 0; e < mine.length; e += 4) {
      const ay = mine[e + 1], by = mine[e + 3];
      if ((ay > y) !== (by > y) && x < (mine[e + 2] - mine[e]) * (y - ay) / (by - ay) + mine[e])
        inside = !inside;
    }
    if (inside) found.push(i);
  }
  return found;
}

class Scatter {
  /** `points` (x, y, x, y ...), `colours(i)` gives [r, g, b] or null for hidden. */
  constructor(points, words) {
    this.points = points;
    this.canvas = h("canvas", {class: "scatter", tabindex: "0", role: "img", "aria-label": words,
      id: "scatter"});
    this.colours = null;
    this.density = false;
    this.selected = null;
    this.polygon = null;
    this.lasso = false;
    this.reset();
    this.listen();
  }
  reset() {
    let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < this.points.length; i += 2) {
      const x = this.points[i], y = this.points[i + 1];
      if (Number.isNaN(x)) continue;
      if (x < x0) x0 = x; if (x > x1) x1 = x; if (y < y0) y0 = y; if (y > y1) y1 = y;
    }
    this.centre = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.extent = [x1 - x0, y1 - y0];
    this.zoom = null;
  }
  fit() {
    const box = this.canvas.getBoundingClientRect();
    const dense = Math.min(devicePixelRatio || 1, 2);
    const [w, ht] = [Math.max(50, Math.round(box.width * dense)), Math.max(50, Math.round(box.height * dense))];
    if (this.canvas.width !== w || this.canvas.height !== ht) {
      this.canvas.width = w; this.canvas.height = ht; this.image = null;
    }
    this.zoom ??= 0.92 * Math.min(w / (this.extent[0] || 1), ht / (this.extent[1] || 1));
  }
  place(x, y) {
    return [this.canvas.width / 2 + (x - this.centre[0]) * this.zoom,
      this.canvas.height / 2 - (y - this.centre[1]) * this.zoom];
  }
  data(event) {
    const box = this.canvas.getBoundingClientRect();
    const px = (event.clientX - box.left) * this.canvas.width / box.width;
    const py = (event.clientY - box.top) * this.canvas.height / box.height;
    return [this.centre[0] + (px - this.canvas.width / 2) / this.zoom,
      this.centre[1] - (py - this.canvas.height / 2) / this.zoom];
  }
  draw() {
    this.fit();
    const {width, height} = this.canvas, pen = this.canvas.getContext("2d");
    this.image ??= new ImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill(0);
    if (this.density) this.drawDensity(pixels, width, height);
    else this.drawPoints(pixels, width, height);
    pen.putImageData(this.image, 0, 0);
    if (this.polygon?.length > 1) {
      pen.beginPath();
      this.polygon.forEach(([x, y], i) => {
        const [px, py] = this.place(x, y);
        if (i) pen.lineTo(px, py); else pen.moveTo(px, py);
      });
      pen.closePath();
      pen.strokeStyle = css("--text"); pen.lineWidth = 2; pen.setLineDash([6, 4]); pen.stroke();
      pen.setLineDash([]);
    }
  }
  drawPoints(pixels, width, height) {
    const {points, colours, zoom} = this, count = points.length / 2;
    const size = count > 50000 ? 1 : count > 8000 ? 2 : 4;
    const ax = width / 2 - this.centre[0] * zoom, ay = height / 2 + this.centre[1] * zoom;
    for (let i = 0; i < count; i++) {
      const colour = colours[i];
      if (!colour) continue;
      const px = (ax + points[2 * i] * zoom) | 0, py = (ay - points[2 * i + 1] * zoom) | 0;
      if (!(px >= 0 && py >= 0 && px + size <= width && py + size <= height)) continue;
      for (let r = 0; r < size; r++) for (let c = 0; c < size; c++)
        pixels[(py + r) * width + px + c] = colour;
    }
  }
  drawDensity(pixels, width, height) {
    const {points, colours, zoom} = this, count = points.length / 2, cell = 3;
    const across = Math.ceil(width / cell), sums = new Uint32Array(across * Math.ceil(height / cell));
    let most = 1;
    for (let i = 0; i < count; i++) {
      if (!colours[i]) continue;
      const px = width / 2 + (points[2 * i] - this.centre[0]) * zoom;
      const py = height / 2 - (points[2 * i + 1] - this.centre[1]) * zoom;
      if (!(px >= 0 && py >= 0 && px < width && py < height)) continue;
      const at = ((py / cell) | 0) * across + ((px / cell) | 0);
      if (++sums[at] > most) most = sums[at];
    }
    const shades = Array.from({length: 256}, (_, i) => pack(shade(i / 255)));
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const value = sums[((y / cell) | 0) * across + ((x / cell) | 0)];
      if (value) pixels[y * width + x] = shades[Math.round(255 * Math.log1p(value) / Math.log1p(most))];
    }
  }
  listen() {
    let held = null;
    this.canvas.onpointerdown = event => {
      this.canvas.setPointerCapture(event.pointerId);
      if (this.lasso || event.shiftKey) this.polygon = [this.data(event)];
      else held = [event.clientX, event.clientY];
    };
    this.canvas.onpointermove = event => {
      if (held) {
        const ratio = this.canvas.width / this.canvas.getBoundingClientRect().width / this.zoom;
        this.centre[0] -= (event.clientX - held[0]) * ratio;
        this.centre[1] += (event.clientY - held[1]) * ratio;
        held = [event.clientX, event.clientY];
        this.draw();
      } else if (this.polygon && event.buttons) { this.polygon.push(this.data(event)); this.draw(); }
    };
    this.canvas.onpointerup = () => {
      held = null;
      if (this.polygon?.length > 2) this.select(this.polygon); else this.polygon = null;
    };
    this.canvas.addEventListener("wheel", event => {
      event.preventDefault();
      const [x, y] = this.data(event), factor = Math.exp(-event.deltaY / 500);
      this.zoom *= factor;
      this.centre = [x + (this.centre[0] - x) / factor, y + (this.centre[1] - y) / factor];
      this.draw();
    }, {passive: false});
    this.canvas.onkeydown = event => {
      const step = 40 / this.zoom;
      const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step]};
      if (event.key in moves) {
        this.centre = this.centre.map((value, axis) => value + moves[event.key][axis]);
      } else if (event.key === "+" || event.key === "=") this.zoom *= 1.25;
      else if (event.key === "-") this.zoom /= 1.25;
      else if (event.key === "0") this.reset();
      else if (event.key === "Escape") { this.polygon = null; this.selected = null; tell("lasso", null); }
      else return;
      event.preventDefault();
      this.draw();
    };
  }
  select(polygon) {
    this.polygon = polygon;
    this.selected = insidePolygon(this.points, polygon).filter(i => this.colours[i]);
    this.draw();
    tell("lasso", {rows: this.selected, polygon});
  }
}
/** Colour as the bytes of a pixel. */
const pack = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
