// With `report --serve`: buttons that run commands, progress, and the page made anew.
const server = data.server ?? null;
function runButton(command) {
  if (!server?.commands?.some(one => command === one.command)) return null;
  return h("button", {type: "button", class: "run", "data-command": command, onclick: () =>
    send("run", {name: server.commands.find(one => one.command === command).name})}, "Run");
}
function saveButton() {
  if (!server?.allow_edits) return null;
  return h("button", {type: "button", id: "send-edits", onclick: () =>
    send("edits", JSON.parse(fileOfEdits()))}, "Save in the project");
}
async function send(what, body) {
  const answer = await fetch(what, {method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body)});
  const told = await answer.json().catch(() => ({}));
  say(answer.ok ? told.message ?? "" : `Refused: ${told.error ?? answer.status}`);
  watch();
}
function say(text) {
  if (!text) return;
  $("#progress-text").textContent = text;
  $("#progress").hidden = false;
}
let watching = null;
async function watch() {
  clearTimeout(watching);
  try {
    const told = await (await fetch("state")).json();
    $("#progress-bar").hidden = $("#cancel").hidden = !told.job;
    if (told.job) {
      say(`${told.job.name}: ${told.job.status}. ${told.job.line}`);
      $("#cancel").hidden = told.job.status !== "running";
      $("#progress-bar").value = told.job.share ?? 0;
    }
    if (told.stamp !== server.stamp) {
      say("The project has changed.");
      $("#reload").hidden = false;
      if (!edits.length && document.visibilityState === "visible" && told.job?.status !== "running") location.reload();
    }
    watching = setTimeout(watch, told.job?.status === "running" ? 1000 : 4000);
  } catch {
    say("The server is gone; this page goes on as it is.");
  }
}
function showServer() {
  if (!server) return;
  document.body.insertBefore(h("div", {id: "progress", hidden: true, role: "status"},
    h("span", {id: "progress-text"}), h("progress", {id: "progress-bar", max: 1}),
    h("button", {type: "button", id: "cancel", onclick: () => send("cancel", {})}, "Cancel"),
    h("button", {type: "button", id: "reload", hidden: true, onclick: () => location.reload()}, "Show it")), $("#main"));
  watch();
}
