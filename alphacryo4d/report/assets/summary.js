// First screen: the answer, the signs it rests on, and what to do next.
const marks = {good: ["\u2713", "good"], warn: ["!", "warning"], off: ["\u2013", "not known"]};

function showBar() {
  const sets = h("div", {class: "switch", role: "group", "aria-label": "Which answer"},
    data.sets.map(one => h("button", {type: "button", "data-set": one.key, "aria-pressed": "false",
      onclick: () => choose({set: one.key, state: null})}, one.label)));
  const theme = h("button", {type: "button", id: "theme", onclick: () => {
    const dark = document.documentElement.dataset.theme
      ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
    tell("theme");
  }}, "Light / dark");
  const links = ["States", "Landscape", "Maps", "Particles", "Training", "Edits", "Provenance"]
    .map(title => h("a", {href: `#${title.toLowerCase()}`}, title));
  document.body.insertBefore(
    h("nav", {"aria-label": "Page"}, sets, h("div", {class: "links"}, links), theme), $("#main"));
  when("set", key => {
    for (const button of sets.children)
      button.setAttribute("aria-pressed", String(button.dataset.set === key));
    if (theSet()) $("#answer").textContent = theSet().sentence;
  });
}
function showSummary() {
  const signs = h("ul", {class: "signs"});
  const commands = h("div");
  const first = h("section", {id: "summary", "aria-label": "Summary"}, signs,
    h("details", {open: true}, h("summary", {}, "What to do next"), commands),
    h("p", {class: "quiet"}, `${data.folder}, page of ${data.made}, AlphaCryo4D ${data.version}`));
  $("#main").append(first);
  when("set", () => {
    const found = theSet();
    if (!found) return;
    signs.replaceChildren(...found.signs.map(sign => h("li", {class: sign.level},
      h("span", {class: "mark", "aria-label": marks[sign.level][1], role: "img"},
        marks[sign.level][0]),
      h("div", {}, h("b", {}, sign.title), h("span", {}, sign.text)))));
    commands.replaceChildren(...found.commands.map(one => commandLine(one.command, one.why)));
  });
}
