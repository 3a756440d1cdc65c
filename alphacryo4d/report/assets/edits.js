// Edits of states: what each costs, undo, and what to do with them.
const edits = [];
/** Whether a command edits the chosen states. */
const editable = () => Boolean(data.edit_commands[chosen.set]);
function addEdit(edit) { edits.push(edit); tell("edits"); }
function fileOfEdits() {
  return JSON.stringify({version: 1, base: chosen.set, edits}, null, 1) + "\n";
}
/** What an edit costs held-out particles, in words. */
function costOf(edit) {
  const found = theSet(), at = k => found.states.findIndex(state => state.state === k);
  if (edit.action === "merge") {
    const pairs = edit.states.flatMap((a, i) => edit.states.slice(i + 1).map(b => [a, b]));
    const known = pairs.map(([a, b]) => found.merging_loss?.[at(a)]?.[at(b)]).filter(v => v != null);
    if (known.length === pairs.length && known.length) {
      const most = Math.max(...known);
      const [a, b] = pairs[known.indexOf(most)];
      return `costs a held-out particle ${withError(most, found.merging_loss_error?.[at(a)]?.[at(b)], 3)} nats` +
        (pairs.length > 1 ? " for the worst pair" : "");
    }
    const [a, b] = [theState(edit.states[0]), theState(edit.states[1])];
    for (const [one, other] of [[a, b], [b, a]])
      if (edit.states.length === 2 && one?.merges_with === other?.state && one?.support_gain != null)
        return `costs a held-out particle ${withError(one.support_gain, one.support_error, 3)} nats`;
    return "its cost was not recorded";
  }
  if (edit.action === "drop") {
    const state = theState(edit.state);
    return `${whole(state?.particles)} particles lose their state` + (state?.support_gain == null ? ""
      : `; without it a held-out particle loses at least ${number(state.support_gain, 3)} nats`);
  }
  if (edit.action === "rename") return "costs nothing";
  if (edit.action === "split") return "held-out particles say what it gains when it is run";
  return "held-out particles say what it costs when it is run";
}
function wordsOf(edit) {
  switch (edit.action) {
    case "merge": return `merge states ${edit.states.join(" and ")}`;
    case "drop": return `drop state ${edit.state}`;
    case "rename": return `call state ${edit.state} \u201c${edit.name}\u201d`;
    case "split": return `split state ${edit.state} by a polygon of ${edit.polygon.length} corners`;
    case "add_center": return `add a centre at ${edit.center.map(v => number(v)).join(", ")}, radius ${number(edit.radius)}`;
    default: return `subset of ${edit.volumes.length} volumes`;
  }
}
function showEdits() {
  const main = section("edits", "Edits");
  const form = h("div", {class: "bar"}), list = h("ol", {class: "edits"}), then = h("div");
  const message = h("p", {class: "warn", role: "alert"});
  main.append(h("p", {class: "quiet"}, "Edits change nothing in the project by themselves: they become a file and a " +
    "command, and the result is a folder of its own."), form, message, list, then);
  const build = () => {
    const states = (theSet()?.states ?? []).map(state => [String(state.state), nameOf(state)]);
    if (!states.length) { form.replaceChildren(); return; }
    if (!editable()) {
      form.replaceChildren(h("p", {class: "quiet"}, "These states cannot be edited: they are no groups of class volumes. " +
        "Edit the votes, and reclassify them."));
      return;
    }
    let first = String(chosen.state ?? states[0][0]), second = (states.find(([k]) => k !== first) ?? states[0])[0];
    const name = h("input", {type: "text", maxlength: 80, "aria-label": "New name", id: "edit-name"});
    const button = (text, id, edit) => h("button", {type: "button", id, onclick: () => {
      const made = edit();
      message.textContent = typeof made === "string" ? made : "";
      if (typeof made !== "string") addEdit(made);
    }}, text);
    const one = choice("State", states, first, value => { first = value; });
    const two = choice("with", states, second, value => { second = value; });
    $("select", one).id = "edit-first"; $("select", two).id = "edit-second";
    form.replaceChildren(one, button("Drop", "edit-drop", () => ({action: "drop", state: Number(first)})),
      two, button("Merge", "edit-merge", () => first === second ? "Choose two different states."
        : {action: "merge", states: [Number(first), Number(second)].sort((a, b) => a - b)}),
      h("label", {}, "Name ", name), button("Rename", "edit-rename", () => name.value.trim()
        ? {action: "rename", state: Number(first), name: name.value.trim()} : "Type a name first."));
  };
  const draw = () => {
    list.replaceChildren(...edits.map((edit, i) => h("li", {}, `${wordsOf(edit)} \u2014 ${costOf(edit)} `,
      h("button", {type: "button", "aria-label": `Undo: ${wordsOf(edit)}`, onclick: () => {
        edits.splice(i, 1); tell("edits");
      }}, "Undo"))));
    then.replaceChildren();
    if (edits.length) then.append(h("div", {class: "bar"},
      h("button", {type: "button", id: "save-edits", onclick: () => download("edits.json", fileOfEdits(),
        "application/json")}, "Save edits.json"), saveButton()),
    commandLine(data.edit_commands[chosen.set], "Then, in the project folder's place:"));
  };
  let volumes = null;
  when("volumes", found => { volumes = found; extras(); });
  when("ends", () => extras());
  const more = h("div", {"aria-live": "polite"});
  main.append(more, h("div", {class: "bar"}, h("button", {type: "button", id: "save-cxc", onclick: () =>
    download("states.cxc", theSet()?.scene ?? "# no maps yet\n", "text/plain")}, "ChimeraX scene (.cxc)")));
  const extras = () => {
    more.replaceChildren();
    if (volumes?.rows.length) {
      const names = volumes.rows.map(row => landscapeHere().names[row]);
      more.append(h("div", {class: "bar"}, h("b", {}, `${names.length} volumes in the lasso`),
        editable() ? h("button", {type: "button", onclick: () => addEdit({action: "subset", volumes: names})}, "Keep as a subset") : null,
        editable() ? h("button", {type: "button", onclick: () => addCentre(volumes)}, "Add a centre here") : null,
        h("button", {type: "button", onclick: () => download("volumes.npy", npy(volumes.rows))}, "indices"),
        volumes.polygon ? h("button", {type: "button", onclick: () => download("corners.json",
          JSON.stringify({corners: volumes.polygon}), "application/json")}, "corners.json") : null));
    }
    if (view.ends.length >= 2) {
      const at = point => point.map(value => value.toFixed(3)).join(" ");
      const via = view.ends.slice(1, -1).map(point => ` --via ${at(point)}`).join("");
      more.append(commandLine(`${data.path_command} --start ${at(view.ends[0])}${via} --end ${at(view.ends.at(-1))}`,
        "A path through the points that you chose:"));
    }
  };
  when("set", () => { edits.length = 0; build(); draw(); extras(); });
  when("state", build);
  when("edits", draw);
}
function addCentre(volumes) {
  arrayOf(landscapeHere().points).then(({values}) => {
    const centre = [0, 1].map(axis => volumes.rows.reduce((sum, row) => sum + values[2 * row + axis], 0) /
      volumes.rows.length);
    const radius = Math.max(...volumes.rows.map(row => Math.hypot(values[2 * row] - centre[0],
      values[2 * row + 1] - centre[1]))) * 1.01 || 1;
    addEdit({action: "add_center", center: centre.map(v => Number(v.toFixed(4))), radius: Number(radius.toFixed(4))});
  });
}
