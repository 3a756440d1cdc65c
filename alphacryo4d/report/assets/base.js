"use strict";
// Elements, arrays, colours, numbers, and who wants to know of what.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);

/** Element with properties and children; strings become text, never markup. */
function h(tag, properties = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "rect", "g", "circle", "title"].includes(tag);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "checked") element.checked = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return element;
}

const kinds = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array,
};
const decoded = new Map();

/** Values and shape of an array of the page, decoded when it is first asked for. */
function arrayOf(name) {
  if (!decoded.has(name)) decoded.set(name, decode(name));
  return decoded.get(name);
}
async function decode(name) {
  const element = [...document.querySelectorAll("script.array")].find(e => e.dataset.name === name);
  const text = atob(element.textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  element.textContent = "";
  return {
    values: new kinds[element.dataset.kind](buffer),
    shape: element.dataset.shape.split(",").map(Number),
  };
}

// What is chosen, and who wants to know
const chosen = {set: null, state: null, volume: null, other: null};
const listeners = {};
function when(event, listener) { (listeners[event] ??= []).push(listener); }
function tell(event, detail) { for (const listener of listeners[event] ?? []) listener(detail); }
function choose(values) {
  Object.assign(chosen, values);
  for (const name of Object.keys(values)) tell(name, values[name]);
}
const theSet = () => data.sets.find(one => one.key === chosen.set);
const labelOf = key => data.sets.find(one => one.key === key)?.label ?? key;
const theState = number => theSet()?.states.find(one => one.state === number);
const nameOf = state => state.name ? `${state.state} ${state.name}` : `State ${state.state}`;

// Colours that colour-blind people can tell apart (Okabe and Ito; Tol's muted), always with numbers
const palette = data.palette;
const stateColour = k => k > 0 ? palette[(k - 1) % palette.length] : "#888888";
const ramp = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369",
  "#e1cc55", "#fee838"];
const rgb = text => [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16));
/** Colour of a share between 0 and 1 on the scale cividis, as [r, g, b]. */
function shade(share) {
  const at = Math.min(ramp.length - 1.0001, Math.max(0, share * (ramp.length - 1)));
  const i = Math.floor(at), f = at - i, a = rgb(ramp[i]), b = rgb(ramp[i + 1]);
  return a.map((value, axis) => Math.round(value + f * (b[axis] - value)));
}
const scale = ramp.map((colour, i) => [i / (ramp.length - 1), colour]);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const number = (value, digits = 2) =>
  value === null || value === undefined || Number.isNaN(value) ? "\u2013" : value.toFixed(digits);
const whole = value => value === null || value === undefined ? "\u2013"
  : Math.round(value).toLocaleString("en-US");
const percent = value => value === null || value === undefined ? "\u2013"
  : `${(100 * value).toFixed(0)}%`;
const withError = (value, error, digits = 2) =>
  error === null || error === undefined ? number(value, digits)
    : `${number(value, digits)} \u00b1 ${number(error, digits)}`;

/** Give a file to the user. */
function download(name, content, type = "application/octet-stream") {
  const link = h("a", {href: URL.createObjectURL(new Blob([content], {type})), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
/** Whole numbers as a file of numpy. */
function npy(values) {
  let head = `{'descr': '<i8', 'fortran_order': False, 'shape': (${values.length},), }`;
  head = head.padEnd(Math.ceil((head.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + head.length + 8 * values.length);
  bytes.set([0x93, 78, 85, 77, 80, 89, 1, 0, head.length & 255, head.length >> 8]);
  for (let i = 0; i < head.length; i++) bytes[10 + i] = head.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setBigInt64(10 + head.length + 8 * i, BigInt(value), true));
  return bytes;
}
/** A command to copy, and with a server a button that runs it. */
function commandLine(command, why) {
  const copy = h("button", {type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(command); } catch {
      getSelection().selectAllChildren(code); document.execCommand("copy");
    }
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  }}, "Copy");
  const code = h("code", {tabindex: "0"}, command);
  return h("div", {class: "command"}, why ? h("p", {}, why) : null,
    h("div", {class: "line"}, code, copy, runButton(command)));
}
function section(id, title, ...children) {
  const found = h("section", {id, "aria-labelledby": `${id}-title`},
    h("h2", {id: `${id}-title`}, title), ...children);
  $("#main").append(found);
  return found;
}
function choice(label, options, value, onchange) {
  const select = h("select", {onchange: () => onchange(select.value)},
    options.map(([key, text]) => h("option", {value: key}, text)));
  select.value = value;
  return h("label", {class: "choice"}, `${label} `, select);
}
