// Training and provenance.
async function showTraining() {
  const told = data.training, main = section("training", "Training");
  if (!told) { main.append(h("p", {class: "quiet"}, "No network was trained.")); return; }
  const curves = h("div", {class: "plot"}), examples = h("div", {class: "examples"});
  main.append(h("div", {class: "columns"}, curves, examples));
  const {epoch, ...rest} = told.history;
  const titles = {error: "training volumes", held_out_error: "held-out volumes", validation_error: "held-out volumes"};
  const wanted = Object.entries(rest).filter(([name, values]) => titles[name] && values.every(value => value > 0));
  plot(curves, "Training curves", () => [wanted.map(([name, values], i) => ({x: epoch ?? values.map((_, j) => j + 1),
    y: values, mode: "lines", name: titles[name], line: {color: palette[i]}})),
  {xaxis: {title: {text: "Epoch"}}, yaxis: {title: {text: "Mean squared error"}, type: "log", dtick: "D2", tickformat: "~e"},
    shapes: told.mean_volume_error ? [{type: "line", xref: "paper", x0: 0, x1: 1,
      y0: told.mean_volume_error, y1: told.mean_volume_error, line: {dash: "dot", color: css("--quiet")}}] : []}]);
  if (told.mean_volume_error) examples.append(h("p", {class: "quiet"}, "Dotted: error of predicting the mean " +
    `volume. The network's held-out error is ${number(told.ratio)} of it.`));
  for (const one of told.examples ?? []) {
    const array = await arrayOf(one.images);
    examples.append(h("div", {}, h("b", {}, one.title), told.rows.map((row, i) =>
      picture(part(array, i), one.edge, one.edge, `${one.title}, central slice of volume ${row}`))));
  }
}
function showProvenance() {
  const told = data.provenance, main = section("provenance", "Provenance");
  const words = value => value === null || value === undefined ? "\u2013"
    : typeof value === "object" ? JSON.stringify(value) : String(value);
  main.append(h("div", {class: "scroll"}, h("table", {}, h("thead", {}, h("tr", {},
    ["Stage", "Status", "Version", "Seed", "Began", "Took (s)", "Peak memory (GB)", "Host"].map(t => h("th", {}, t)))),
  h("tbody", {}, told.stages.map(one => h("tr", {}, [one.folder, one.status, one.version, one.seed,
    one.started, one.seconds, one.peak_memory_gb, one.host].map(value => h("td", {}, words(value)))))))));
  for (const one of told.stages) main.append(h("details", {}, h("summary", {}, `${one.folder}: command, options, programs`),
    h("div", {class: "line"}, h("code", {}, words(one.command))),
    one.changed.length ? h("table", {}, h("thead", {}, h("tr", {}, ["Option", "Value", "Default"].map(t => h("th", {}, t)))),
      h("tbody", {}, one.changed.map(o => h("tr", {}, [o.option, o.value, o.default].map(v => h("td", {}, words(v)))))))
      : h("p", {class: "quiet"}, "All options as by default."),
    h("p", {class: "quiet"}, `Inputs: ${one.inputs.join(", ")}. Programs: ${words(one.programs)}`)));
  if (told.missing_inputs.length) main.append(h("p", {class: "warn"}, `No longer there: ${told.missing_inputs.join(", ")}`));
  main.append(h("h3", {}, "How to cite"), h("ul", {}, told.cite.map(one => h("li", {}, `${one.text} (${one.why})`))));
}
