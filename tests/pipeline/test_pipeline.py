"""The whole method: one command from particles to states, also after being killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_page import Opened, pixels
from waiting import net, wait_until

from alphacryo4d.particles.open import open_table
from alphacryo4d.report.commands import Runner
from alphacryo4d.report.edits import save_edits
from alphacryo4d.report.stage import project_data

OPTIONS = ["--classes", "5", "--iter", "4", "--states", "4", "--epochs", "2", "--reclassify"]
OPTIONS += ["--components", "4", "--j", "2"]
SAME = (".npy", ".star", ".mrc", ".csv", ".npz", ".toml")


def start(data: Path, project: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alphacryo4d", "run", "--i", str(data / "particles.star")]
    return subprocess.Popen(
        [*command, "--o", str(project), *OPTIONS, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=net(75))
    assert process.returncode == 0, err
    return out, err


def wait_for(record: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: record.is_file() or process.poll() is not None, 60)


def contents(project: Path) -> dict[str, bytes]:
    """Bytes of every final file that holds no time."""
    return {
        str(path.relative_to(project)): path.read_bytes().replace(str(project).encode(), b"PROJECT")
        for path in sorted(project.rglob("*"))
        if path.suffix in SAME and "checkpoint" not in path.name
    }


@pytest.fixture(scope="module")
def finished(easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project that was never disturbed, and what it said."""
    project = tmp_path_factory.mktemp("run") / "project"
    out, _ = finish(start(easy_data, project))
    return project, out


@pytest.mark.parametrize("stage", ["vote", "reclassify"])
def test_states_are_the_true_ones(finished: tuple[Path, str], easy_data: Path, stage: str) -> None:
    project, _ = finished
    table = open_table(project / stage / "particles.star")
    states = table.read(["rlnClassNumber"])["rlnClassNumber"]
    truth = np.load(easy_data / "truth.npy")
    assert len(states) == len(truth)
    confusion = np.zeros((5, 5), dtype=int)
    np.add.at(confusion, (states, truth), 1)
    assert confusion[0].sum() < 0.1 * len(truth)
    assert set(confusion[1:].argmax(axis=1)) == {1, 2, 3, 4}
    assert confusion[1:].max(axis=1).sum() / confusion[1:].sum() > 0.95


def test_voted_and_voted_out_add_up(finished: tuple[Path, str], easy_data: Path) -> None:
    project, _ = finished
    vote = project / "vote"
    rows = open_table(vote / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]
    in_states = [open_table(path).rows for path in sorted(vote.glob("class[0-9]*.star"))]
    assert sum(in_states) + (rows == 0).sum() == open_table(easy_data / "particles.star").rows
    source = set((easy_data / "particles.star").read_bytes().splitlines())
    for path in vote.glob("class[0-9]*.star"):
        assert {line for line in path.read_bytes().splitlines() if b"@" in line} <= source


def test_stdout_names_files_that_exist(finished: tuple[Path, str]) -> None:
    _, out = finished
    assert out
    assert all(Path(line).is_file() for line in out.splitlines())


def test_the_page_of_a_run_is_drawn_by_a_browser(finished: tuple[Path, str], browser: Any) -> None:
    project, out = finished
    page_file = project / "report.html"
    assert str(page_file) == out.splitlines()[-1]
    opened = Opened(browser, page_file.as_uri())
    page = opened.page
    assert page.locator(".switch button").all_inner_texts() == ["Votes", "Reclassification"]
    for name in ("Votes", "Reclassification"):
        page.click(f".switch >> text={name}")
        page.wait_for_function("document.querySelectorAll('.card').length === 4")
        assert page.inner_text("#answer").startswith("4 states")
        assert page.locator(".strip canvas").count() >= 4 * 6
    assert "poses off by about" in page.inner_text("#answer")
    seen = pixels(page, "#stage")
    high, wide = seen.shape[:2]
    middle = seen[:, (wide - high) // 2 : (wide + high) // 2]  # the box of the map fits the height
    assert (np.abs(middle - seen[2, 2]).max(axis=-1) > 0.1).mean() > 0.02
    page.close()
    assert opened.faults == []
    assert opened.fetched == []


def test_edits_run_from_the_served_page(finished: tuple[Path, str], tmp_path: Path) -> None:
    project = Path(shutil.copytree(finished[0], tmp_path / "project"))
    merge = {"version": 1, "base": "vote", "edits": [{"action": "merge", "states": [1, 2]}]}
    save_edits(project / "edits.json", merge)
    runner = Runner(project)
    runner.start("edits")
    assert runner.job is not None
    assert runner.job.process.wait(timeout=net(15)) == 0, list(runner.job.lines)
    runner.close()
    data, _ = project_data(project)
    votes, _, edited = data["sets"]
    assert [one["label"] for one in data["sets"]] == ["Votes", "Reclassification", "Selection 2"]
    assert len(edited["states"]) == 3
    assert all(state["resolution"] for state in edited["states"])
    together = sum(state["particles"] for state in votes["states"][:2])
    assert edited["states"][0]["particles"] >= together


def test_the_same_command_again_does_nothing(finished: tuple[Path, str], easy_data: Path) -> None:
    project, out = finished
    before = contents(project)
    again, said = finish(start(easy_data, project))
    assert "already done" in said
    assert again == out
    assert contents(project) == before


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_the_same(
    finished: tuple[Path, str], easy_data: Path, tmp_path: Path
) -> None:
    project, rng = tmp_path / "project", np.random.default_rng()
    stages = ("resample", "deepfeature", "landscape", "vote", "reclassify")
    for number, stage in enumerate(stages):
        process = start(easy_data, project)
        record = project / stage / "job.json"
        wait_for(record, process)
        time.sleep(rng.uniform(0, (4, 6, 1, 0.5, 3)[number]))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:  # it was quicker than the signal
            assert json.loads(record.read_text())["status"] == "done"
    finish(start(easy_data, project))
    expected, after = contents(finished[0]), contents(project)
    assert sorted(after) == sorted(expected)
    assert [name for name in after if after[name] != expected[name]] == []
    assert not list(project.rglob(".ac4d-*"))


def test_an_interrupted_run_says_how_to_go_on(easy_data: Path, tmp_path: Path) -> None:
    process = start(easy_data, tmp_path / "project")
    record = tmp_path / "project" / "resample" / "job.json"
    wait_for(record, process)
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=net(5))
    assert process.returncode == 143
    assert "the same command goes on" in said
    assert json.loads(record.read_text())["status"] == "interrupted"
