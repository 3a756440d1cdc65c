// The particle landscape: figures of the stage, and its states and components as tables.
function showParticleSpace() {
  const told = data.particle_space;
  if (!told) return;
  const main = section("particle-landscape", "Particle landscape", h("p", {}, told.sentence));
  for (const one of told.figures) main.append(h("figure", {}, h("img", {src: one.image, alt: one.title}),
    h("figcaption", {class: "quiet"}, `${one.title} (${one.file})`)));
  const table = (title, columns, digits) => {
    const names = Object.keys(columns);
    if (!names.length || !columns[names[0]].length) return null;
    const rows = columns[names[0]].map((_, i) => names.map(name => columns[name][i]));
    const words = value => typeof value !== "number" ? value ?? "\u2013"
      : Number.isInteger(value) ? String(value) : number(value, digits);
    return h("details", {}, h("summary", {}, title), h("div", {class: "scroll"}, h("table", {},
      h("thead", {}, h("tr", {}, names.map(name => h("th", {}, name.replaceAll("_", " "))))),
      h("tbody", {}, rows.map(row => h("tr", {}, row.map(value => h("td", {}, words(value)))))))));
  };
  main.append(...[table("States of the density", told.density_states, 3), table("Barriers along the path (90% intervals)",
    told.barriers, 2), table("Components", told.components, 3)].filter(one => one));
}
