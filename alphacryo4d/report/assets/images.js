// Grey and coloured images on canvases, each with words for those who cannot see it.

/** Canvas of an image of bytes; `map` is "grey" or "colour". */
function picture(values, width, height, words, map = "grey") {
  const canvas = h("canvas", {width, height, role: "img", "aria-label": words, title: words});
  paint(canvas, values, map);
  return canvas;
}
function paint(canvas, values, map = "grey") {
  const image = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < values.length; i++) {
    const [r, g, b] = map === "grey" ? [values[i], values[i], values[i]] : table[values[i]];
    image.data.set([r, g, b, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
const table = Array.from({length: 256}, (_, i) => shade(i / 255));
/** Part of an array of images: the one at the given indices. */
function part(array, ...indices) {
  let start = 0, size = array.values.length;
  indices.forEach((index, axis) => { size /= array.shape[axis]; start += index * size; });
  return array.values.subarray(start, start + size);
}
/** Counts as bytes, the largest 255. */
function scaled(counts) {
  const most = Math.max(1, ...counts);
  return Uint8Array.from(counts, count => 255 * Math.sqrt(count / most));
}
