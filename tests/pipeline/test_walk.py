"""A user's second hour in 26 steps by the command line: change, edit, select, move, go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_run import call, rerun, times

from alphacryo4d.io.mrc import read_volume
from alphacryo4d.particles.open import open_table

pytestmark = pytest.mark.slow

RECLASSIFY = ["--final-resolution", "20", "--initial-resolution", "25", "--rounds", "1", "--j", "2"]


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Folders of a project in which a file is new, changed or gone; files of its own left out."""
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return {Path(name).parts[0] for name in names if len(Path(name).parts) > 1}


class Walk:
    """Counts the steps, and what each changed in the project."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys, self.steps = home, capsys, 0

    @property
    def project(self) -> Path:
        return self.home / "project"

    def step(self, *words: object, code: int = 0, touches: tuple[str, ...] = ()) -> str:
        """Give a command (without words: the run again); what it says on both streams."""
        self.steps += 1
        before = times(self.project)
        ended = rerun(self.home, *words[1:]) if words[:1] == ("run",) else call(*words)
        said = self.capsys.readouterr()
        assert ended == code, said.err
        assert changed(before, times(self.project)) == set(touches), f"step {self.steps}: {words}"
        return said.out + said.err


def test_twenty_six_steps(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = Walk(home, capsys)
    change_and_reclassify(walk)
    edit_and_select(walk, tmp_path)
    move_and_go_on(walk, tmp_path, monkeypatch)
    assert walk.steps == 26


def change_and_reclassify(walk: Walk) -> None:
    project = walk.project
    assert "vote" in walk.step("status", "--i", project)
    assert "unchanged" in walk.step("run")
    plan = walk.step("run", "--states", "3", "--dry-run")
    assert "redoing landscape, vote because states 2 -> 3" in plan
    walk.step("run", "--threshold", "3", touches=("vote",))
    walk.step("run", touches=("vote",))
    words = ["vote", "reclassify", "--i", project, "--o", project / "reclassify", *RECLASSIFY]
    walk.step(*words, touches=("reclassify",))
    walk.step(*words)


def edit_and_select(walk: Walk, tmp_path: Path) -> None:
    project = walk.project
    edits = project / "edits.json"
    edits.write_text(json.dumps({"edits": [{"rename": {"1": "open"}}]}))
    walk.step("vote", "--i", project, "--edits", edits, "--j", "2", touches=("vote-2",))
    merge = ["landscape", "states", "--i", project, "--merge", "1+2", "--j", "2"]
    assert "evidence against merging" in walk.step(*merge, "--dry-run")
    walk.step(*merge, touches=("vote-3",))
    where = ["select", "--i", project, "--selection", "vote-2", "--where", "state = open"]
    told = json.loads(walk.step(*where, "--dry-run", "--json").splitlines()[0])
    walk.step(*where, "--o", tmp_path / "open")
    assert open_table(tmp_path / "open" / "particles.star").rows == told["particles"] > 0
    refine = ["vote", "refine", "--i", project, "--o", tmp_path / "refine"]
    assert "refine.sh" in walk.step(*refine)
    assert "reclassify/class001.star" in (tmp_path / "refine" / "refine.sh").read_text()
    walk.step("chimerax", "--i", project, "--selection", "vote-2")
    walk.step("report", "--i", project, "--selection", "vote-3")
    assert "did you mean --selection?" in walk.step("report", "--selektion", "vote-2", code=2)


def move_and_go_on(walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk.home = walk.home.rename(tmp_path / "renamed")
    project = walk.project
    monkeypatch.chdir(project)
    assert "reclassify" in walk.step("status")
    walk.step("run")
    (tmp_path / "archive").mkdir()
    shutil.move(walk.home / "data" / "images", tmp_path / "archive" / "images")
    maps = ["vote", "reconstruct", "--i", project, "--selection", "vote-2", "--j", "2"]
    assert "alphacryo4d relocate" in walk.step(*maps, "--o", tmp_path / "maps", code=3)
    every = ("resample", "landscape", "vote", "vote-2", "vote-3", "reclassify", "deepfeature")
    walk.step("relocate", "--i", project, "--images-from", tmp_path / "archive", touches=every)
    walk.step(*maps, "--o", tmp_path / "maps")
    np.testing.assert_array_equal(
        read_volume(tmp_path / "maps" / "class001.mrc")[0],
        read_volume(project / "vote-2" / "class001.mrc")[0],
    )
    walk.step("run")
    zoom = ["landscape", "zoom", "--i", project, "--selection", "vote-2", "--state", "open"]
    walk.step(*zoom, "--o", tmp_path / "zoom")
    picked = ["select", "--i", project, "--selection", "vote-2", "--where", "state = 1"]
    assert f"--images-from {tmp_path / 'archive'}" in walk.step(*picked, "--o", tmp_path / "picked")
    opened = (tmp_path / "open" / "particles.star").read_bytes()
    assert (tmp_path / "zoom" / "particles.star").read_bytes() == opened
    walk.home = shutil.copytree(walk.home, tmp_path / "copied")
    shutil.rmtree(tmp_path / "renamed")
    monkeypatch.chdir(tmp_path)
    walk.step("relocate", "--i", walk.project, touches=every)
    walk.step("run")
