// Plots by plotly.js and maps by 3Dmol.js: both lie in the page as text and start when needed.
const started = {};
function start(id) {
  if (!started[id]) {
    const program = h("script");
    program.textContent = document.getElementById(id).textContent;
    document.head.append(program);
    started[id] = true;
  }
}
const drawn = new Map();
/** Draw a plot into an element, or draw it again; `make()` gives traces and layout. */
function plot(element, words, make) {
  start("plotly");
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", words);
  drawn.set(element, make);
  return redraw(element);
}
function redraw(element) {
  const [traces, layout] = drawn.get(element)();
  const axis = {gridcolor: css("--line"), linecolor: css("--quiet"), zerolinecolor: css("--line"),
    tickcolor: css("--quiet")};
  const full = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: {family: "system-ui, sans-serif", size: 12, color: css("--text")},
    margin: {l: 56, r: 16, t: 12, b: 46}, hoverlabel: {namelength: -1},
    legend: {orientation: "h", y: 1.02, yanchor: "bottom"}, ...layout,
    xaxis: {...axis, ...layout.xaxis}, yaxis: {...axis, ...layout.yaxis},
  };
  return Plotly.react(element, traces, full, {
    displaylogo: false, responsive: true, scrollZoom: layout.zoom ?? false,
    modeBarButtonsToRemove: layout.lasso ? ["select2d", "autoScale2d"]
      : ["select2d", "lasso2d", "autoScale2d"],
  });
}
when("theme", () => { for (const element of drawn.keys()) if (element.isConnected) redraw(element); });
