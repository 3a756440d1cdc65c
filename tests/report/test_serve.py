"""The served page: who is let in, what is run, and that nothing else is touched."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from asked import Asked
from browser_page import Opened
from small_project import write_project
from waiting import net, wait_until

from alphacryo4d.cli import root
from alphacryo4d.core.errors import InputError
from alphacryo4d.report.commands import Runner, served_commands
from alphacryo4d.report.edits import save_edits
from alphacryo4d.report.server import LONGEST_BODY
from alphacryo4d.report.stage import project_data

MERGE = {"version": 1, "base": "vote", "edits": [{"action": "merge", "states": [1, 2]}]}


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path, particles=60, states=2)


@pytest.fixture
def client(project):
    """Makes servers of the project."""
    made = []

    def make(**how):
        made.append(Asked(project, **({"allow_edits": True} | how)))
        return made[-1]

    yield make
    for asked in made:
        asked.close()


def test_the_page_comes_with_the_token_alone(client):
    asked = client()
    assert asked.get("/secret/").status_code == 200
    assert "connect-src 'self'" in asked.get("/secret/").text
    for path in ("/", "/wrong/", "/secre/", "/secret2/", "/SECRET/", "/%00/", "/state"):
        assert asked.get(path).status_code == 404, path
    assert asked.get("/secret/state").json()["job"] is None


def test_every_server_has_a_token_of_its_own_so_that_two_users_are_apart(client):
    one, other = client(token=None), client(token=None)
    assert one.server.token != other.server.token
    assert len(one.server.token) >= 40
    assert one.get(f"/{one.server.token}/state").status_code == 200
    assert other.get(f"/{one.server.token}/state").status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("localhost:9999", 200), ("[::1]:8000", 200), ("evil.org", 421),
     ("127.0.0.1.evil.org", 421), ("evil.org:8000", 421), ("", 421), ("127.0.0.1@evil.org", 421),
     ("[", 421)],
)  # fmt: skip
def test_a_foreign_host_is_refused(client, host, status):
    assert client().get("/secret/state", host=host).status_code == status


@pytest.mark.parametrize("origin", ["http://evil.org", "http://127.0.0.1:8001", "null", None])
def test_a_change_must_come_from_the_page(client, project, origin):
    headers = {"accept": "*/*"} if origin is None else {"origin": origin}
    assert client().post("/secret/edits", MERGE, **headers).status_code == 403
    assert not (project / "edits.json").exists()


def test_read_only_unless_it_is_allowed(client, project):
    asked = client(allow_edits=False)
    for what, body in (("edits", MERGE), ("run", {"name": "report"}), ("cancel", {})):
        answer = asked.post(f"/secret/{what}", body)
        assert answer.status_code == 403
        assert "read-only" in answer.json()["error"]
    assert not (project / "edits.json").exists()
    assert asked.server.runner.job is None


@pytest.mark.parametrize(
    "path",
    ["/secret/../etc/passwd", "/secret/..%2f..%2fetc/passwd", "/secret/vote/report.json",
     "/secret//etc/passwd", "/secret/%2e%2e/%2e%2e/", "/secret/edits.json", "/secret/job.json"],
)  # fmt: skip
def test_no_file_is_read_by_its_name(client, path):
    assert client().get(path).status_code == 404


def test_a_link_out_of_the_project_is_not_followed(client, project, tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_text('{"private": 1}')
    (project / "vote" / "reconstruction.json").unlink()
    (project / "vote" / "reconstruction.json").symlink_to(outside)
    answer = client().get("/secret/")
    assert answer.status_code == 400
    assert "a link out of the project" in answer.text
    assert "private" not in answer.text


def test_edits_are_not_written_through_a_link(client, project, tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_text("mine")
    (project / "edits.json").symlink_to(outside)
    assert client().post("/secret/edits", MERGE).status_code == 400
    assert outside.read_text() == "mine"


def test_very_long_input_is_refused(client, project):
    asked = client()
    assert asked.post("/secret/edits", b"[" * (LONGEST_BODY + 1)).status_code == 413
    assert asked.post("/secret/edits", b"[" * 100_000).status_code == 400
    assert asked.get("/secret/" + "a" * 5000).status_code in (404, 414)
    assert asked.get("/" + "a" * 5000 + "/").status_code == 414
    assert not (project / "edits.json").exists()


def test_edits_are_saved_as_they_were_sent(client, project):
    assert client().post("/secret/edits", MERGE).status_code == 200
    assert json.loads((project / "edits.json").read_text()) == MERGE


@pytest.mark.parametrize(
    "edit",
    [{"action": "run", "state": 1}, {"action": "merge", "states": [1]}, {"action": "drop"},
     {"action": "merge", "states": [1, "2; rm -rf /"]}, {"action": "drop", "state": True},
     {"action": "rename", "state": 1, "name": "a\nb"}, {"action": "rename", "state": 1, "name": ""},
     {"action": "rename", "state": 1, "name": "x" * 1000}, {"action": "drop", "state": -1},
     {"action": "split", "state": 1, "polygon": [[0, 0], [1, 1]]}, "merge", {"action": ["drop"]},
     {"action": "add_center", "center": [0, 1e999], "radius": 1}, {"action": "drop", "state": 1,
      "more": 1}],
)  # fmt: skip
def test_what_is_no_edit_is_refused_with_its_number(tmp_path, edit):
    with pytest.raises(InputError, match="edit 1: "):
        save_edits(tmp_path / "edits.json", {"version": 1, "edits": [edit]})
    assert not (tmp_path / "edits.json").exists()


def test_only_listed_commands_run(client):
    asked = client()
    for body in ({"name": "rm"}, {"name": ["report"]}, {"command": "ls"}, [], {},
                 {"name": "report", "more": "--o /tmp/x"}):  # fmt: skip
        assert asked.post("/secret/run", body).status_code == 400
    assert asked.server.runner.job is None


def understood(words):
    """Parse words by the program's own commands; nothing runs."""
    with contextlib.ExitStack() as opened:
        context = opened.enter_context(root.make_context("alphacryo4d", list(words)))
        while isinstance(context.command, click.Group):
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            name, command, rest = context.command.resolve_command(context, rest)
            context = opened.enter_context(command.make_context(name, rest, parent=context))


def test_every_command_exists_and_writes_inside_the_project(project):
    for words in served_commands(project).values():
        for flag in ("--i", "--o", "--landscape", "--features", "--edits"):
            if flag in words:
                place = Path(words[words.index(flag) + 1])
                assert place == project or project in place.parents
        understood(words)
    with pytest.raises(click.UsageError):
        understood(["report", "--no-such-option"])


def test_the_commands_of_the_page_are_those_of_the_program(project):
    data, _ = project_data(project)
    served = {" ".join(["alphacryo4d", *words]) for words in served_commands(project).values()}
    proposed = [one["command"] for shown_set in data["sets"] for one in shown_set["commands"]]
    assert len(proposed) >= 3
    assert set(proposed) <= served


def test_a_second_reclassification_is_offered_and_has_commands_and_a_flow_of_its_own(project):
    shutil.copytree(project / "vote", project / "vote-2")
    here, flows = str(project), []
    for second in (False, True):
        if second:
            shutil.copytree(project / "vote", project / "reclassify-2")
            report = json.loads((project / "reclassify-2" / "report.json").read_text())
            report |= {"first_selection": "vote-2", "first_states": [1, 2]}
            (project / "reclassify-2" / "report.json").write_text(json.dumps(report))
        data, _ = project_data(project)
        shown = {one["key"]: [line["command"] for line in one["commands"]] for one in data["sets"]}
        again = f"alphacryo4d vote reclassify --i {here} --selection vote-2 --o {here}/reclassify-2"
        assert (again in shown["vote-2"]) != second
        flows.append(data["particles"]["flows"])
    assert list(shown) == ["vote", "vote-2", "reclassify-2"]
    assert f"vote refine --i {here}/reclassify-2 " in " ".join(shown["reclassify-2"])
    assert flows[0] == {}
    assert flows[1]["reclassify-2"]["first"] == "vote-2"
    served = {" ".join(["alphacryo4d", *words]) for words in Runner(project).commands.values()}
    assert {again, *(line for lines in shown.values() for line in lines)} <= served


def wait(runner):
    wait_until(lambda: not runner.busy, 10, pause=0.05)
    return runner.job.told()


def test_a_command_runs_once_at_a_time_and_tells_how_it_ended(project):
    runner = Runner(project)
    runner.start("report")
    with pytest.raises(Exception, match="another command is running"):
        runner.start("report")
    assert wait(runner)["status"] == "done"
    assert (project / "report.html").is_file()
    shutil.rmtree(project / "vote")
    runner.start("local vote")
    told = wait(runner)
    runner.close()
    assert told["status"].startswith("failed (exit code ")
    assert told["line"]


def test_a_cancelled_command_stops(project, monkeypatch):
    runner = Runner(project)
    slow = ["demo", "--o", str(project / "slow")]
    monkeypatch.setattr(Runner, "commands", {"slow": slow})
    runner.start("slow")
    runner.cancel()
    assert wait(runner)["status"].startswith("cancelled")
    runner.close()
    with pytest.raises(Exception, match="no command is running"):
        runner.cancel()


@pytest.fixture
def served(project):
    """A server in a process of its own, with its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alphacryo4d", "report", "--i", str(project), "--serve",
         "--allow-edits"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    address = process.stdout.readline().strip()
    yield address, process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=net(3))


@pytest.mark.slow
def test_the_served_page_saves_edits_runs_a_command_and_shows_what_changed(
    browser, project, served
):
    address, process = served
    assert address.startswith("http://127.0.0.1:")
    opened = Opened(browser, address)
    page = opened.page
    page.click("#edit-merge")
    page.click("#send-edits")
    page.wait_for_selector("text=edits.json is saved")
    saved = json.loads((project / "edits.json").read_text())
    assert saved["edits"] == [{"action": "merge", "states": [1, 2]}]
    page.evaluate("send('run', {name: 'report'})")
    page.wait_for_selector("text=report: done", timeout=1000 * net(10))
    assert (project / "report.html").is_file()
    os.utime(project / "vote" / "job.json")
    page.wait_for_selector("#reload", state="visible")
    assert opened.faults == []
    assert {url.split("/")[2] for url in opened.requests if url.startswith("http")} == {
        address.split("/")[2]
    }
    peak = Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(peak) < 1_000_000
    page.close()
