"""Sets of states taken by every command: edited by short words, reclassified, zoomed, refined."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_run import call, rerun, times

from alphacryo4d.io.star import read_tables
from alphacryo4d.particles.open import open_table
from alphacryo4d.report.stage import project_data

pytestmark = pytest.mark.slow

QUICK = ["--final-resolution", "20", "--initial-resolution", "25", "--rounds", "1", "--j", "2"]
QUICK += ["--write-poses"]


@pytest.fixture(scope="module")
def edited(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of the project with states renamed (vote-2), and these reclassified."""
    home = tmp_path_factory.mktemp("selections") / "home"
    shutil.copytree(finished, home)
    project = home / "project"
    assert call("relocate", "--i", project) == 0
    words = ["landscape", "states", "--i", project, "--name", "1=wide open", "--name", "2=closed"]
    assert call(*words, "--j", "2") == 0
    words = ["vote", "reclassify", "--i", project, "--selection", "vote-2"]
    assert call(*words, "--o", project / "reclassify-2", *QUICK) == 0
    return home


def states_of(folder: Path) -> np.ndarray:
    return open_table(folder / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]


def names_of(folder: Path) -> list[str]:
    _, texts = open_table(folder / "particles.star").read_parts([], ["ac4dStateName"])
    codes, names = texts["ac4dStateName"]
    return [names[code] for code in codes]


def test_names_stand_in_every_table(edited: Path) -> None:
    called = np.array(["none", "wide_open", "closed"])
    for name in ("vote-2", "reclassify-2"):
        folder = edited / "project" / name
        assert names_of(folder) == called[states_of(folder)].tolist()
        rows = json.loads((folder / "report.json").read_text())["per_state"]
        assert [row["name"] for row in rows] == ["wide open", "closed"]
        assert "wide open" in (folder / "summary.txt").read_text()
        assert (folder / "class001.star").is_file()
    table = read_tables(edited / "project" / "vote-2" / "states.star")["states"]
    assert list(table["ac4dStateName"]) == called[1:].tolist()


def test_the_short_way_is_that_of_edits_json(
    edited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(edited, home)
    project = home / "project"
    before = set(project.iterdir())
    words = ["landscape", "states", "--i", project, "--merge", "1+2", "--name", "1=all", "--j", "2"]
    assert call(*words, "--dry-run") == 0
    assert "merge 1 + 2: state 1 as one with 2 costs a held-out particle" in capsys.readouterr().err
    assert set(project.iterdir()) == before
    assert call(*words) == 0
    told = capsys.readouterr()
    assert told.err.index("costs a held-out") < told.err.index("voted into 1 state,")
    assert str(project / "vote-3" / "particles.star") in told.out
    done = times(project)
    assert call(*words) == 0  # the same edits of the same states: nothing to do
    assert times(project) == done
    assert json.loads((project / "edits-3.json").read_text())["edits"] == [
        {"action": "merge", "states": [1, 2]}, {"action": "rename", "state": 1, "name": "all"},
    ]  # fmt: skip
    by_hand = ["vote", "--i", project, "--edits", project / "edits-3.json", "--j", "2"]
    assert call(*by_hand, "--o", tmp_path / "by hand") == 0
    for name in ("particles.star", "states.star", "votes.npy", "class001.mrc"):
        made = (project / "vote-3" / name).read_bytes()
        assert (tmp_path / "by hand" / name).read_bytes() == made
    assert call(*by_hand) == 0
    assert not (project / "vote-4").exists()
    again = ["landscape", "states", "--i", project, "--selection", "vote-2", "--drop", "2"]
    assert call(*again, "--j", "2") == 0
    assert names_of(project / "vote-4") == np.array(["none", "wide_open"])[
        states_of(project / "vote-4")].tolist()  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--merge", "1"], "give numbers of states such as 3+4"),
        (["--drop", "x"], "give a number of a state"),
        (["--name", "2"], "give a number and a name"),
        (["--merge", "1+7"], "state 7: there are 1 to 2"),
        (["--drop", "1", "--o", "x"], "edited states go into the project"),
        (["--drop", "1", "--states", "3"], "--states: does not go with"),
        (["--drop", "1", "--selection", "resample"], "has no states.star"),
        (["--drop", "1", "--selection", "reclassify-2"], "no groups of class volumes"),
        (["--selection", "vote-2"], "goes with --merge"),
    ],
)
def test_short_words_that_make_no_sense(
    edited: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set((edited / "project").iterdir())
    assert call("landscape", "states", "--i", edited / "project", *words) in (2, 3)
    assert said in capsys.readouterr().err
    assert set((edited / "project").iterdir()) == before


@pytest.mark.parametrize("selection", ["vote-2", "reclassify-2"])
def test_zoom_and_select_take_states_by_name(edited: Path, tmp_path: Path, selection: str) -> None:
    project = edited / "project"
    words = ["landscape", "zoom", "--i", project, "--selection", selection]
    assert call(*words, "--state", "wide open", "--o", tmp_path / "zoom") == 0
    words = ["select", "--i", project, "--selection", selection, "--where", "state = 'wide open'"]
    assert call(*words, "--o", tmp_path / "select") == 0
    zoomed = (tmp_path / "zoom" / "particles.star").read_bytes()
    assert zoomed == (tmp_path / "select" / "particles.star").read_bytes()
    assert open_table(tmp_path / "zoom" / "particles.star").rows == (
        (states_of(project / selection) == 1).sum()
    )
    assert "homogeneity" in json.loads((tmp_path / "zoom" / "job.json").read_text())["results"]


def test_selections_that_are_not_there(
    edited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = edited / "project"
    for words in (
        ["landscape", "zoom", "--state", "1"],
        ["vote", "reclassify"],
        ["vote", "refine"],
        ["vote", "reconstruct"],
        ["report"],
    ):
        given = [*words, "--i", project, "--selection", "vote-9", "--o", tmp_path / "x"]
        assert call(*given) == 2
        assert "there: vote, reclassify-2, vote-2" in capsys.readouterr().err
    zoom = ["landscape", "zoom", "--i", project, "--o", tmp_path / "x"]
    assert call(*zoom, "--selection", "vote-2", "--state", "shut") == 3
    assert "names: wide open, closed" in capsys.readouterr().err
    assert call("vote", "refine", "--i", project / "vote", "--selection", "vote-2",
                "--o", tmp_path / "x") == 2  # fmt: skip


def test_refine_and_reconstruct_take_the_states_of_a_project(edited: Path, tmp_path: Path) -> None:
    project = edited / "project"
    words = ["--i", project, "--selection", "vote-2"]
    assert call("vote", "refine", *words, "--o", tmp_path / "refine") == 0
    assert "vote-2/class001.star" in (tmp_path / "refine" / "commands.txt").read_text()
    assert call("vote", "reconstruct", *words, "--o", tmp_path / "maps", "--j", "2") == 0
    made = (tmp_path / "maps" / "class001.mrc").read_bytes()
    assert made == (project / "vote-2" / "class001.mrc").read_bytes()


def test_refinement_starts_from_refined_poses(edited: Path, tmp_path: Path) -> None:
    project = edited / "project"
    words = ["vote", "refine", "--i", project, "--selection", "reclassify-2"]
    assert call(*words, "--o", tmp_path / "refine") == 0
    given = project / "reclassify-2" / "class001.star"
    assert f"--i {given} " in (tmp_path / "refine" / "refine.sh").read_text()
    names = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")
    rows = states_of(project / "reclassify-2") == 1
    refined = open_table(project / "reclassify-2" / "refined.star").read(names)
    before = open_table(edited / "data" / "particles.star").read(names)
    columns = open_table(given).read(names)
    for name in names:
        np.testing.assert_array_equal(columns[name], refined[name][rows])
    assert np.abs(columns["rlnAnglePsi"] - before["rlnAnglePsi"][rows]).max() > 0
    kept = open_table(given).read(["ac4dInputAnglePsi"])["ac4dInputAnglePsi"]
    np.testing.assert_array_equal(kept, before["rlnAnglePsi"][rows])


def test_the_page_shows_each_set_on_the_landscape(edited: Path, tmp_path: Path) -> None:
    project = edited / "project"
    data, _ = project_data(project)
    keys = [one["key"] for one in data["sets"]]
    assert keys == ["vote", "vote-2", "reclassify-2"]
    on_landscape = data["landscapes"]["landscape"]["sets"]
    np.testing.assert_array_equal(
        on_landscape["reclassify-2"]["values"], on_landscape["vote-2"]["values"]
    )
    page = tmp_path / "page.html"
    assert call("report", "--i", project, "--selection", "vote-2", "--o", page) == 0
    assert '"first":"vote-2"' in page.read_text().replace('": "', '":"')


def test_selections_survive_a_move_and_nothing_is_done_again(
    edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "other" / "place"
    shutil.copytree(edited, moved)
    project = moved / "project"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = times(project)
    assert rerun(moved) == 0
    words = ["landscape", "states", "--i", project, "--name", "1=wide open", "--name", "2=closed"]
    assert call(*words, "--j", "2") == 0
    words = ["vote", "reclassify", "--i", project, "--selection", "vote-2"]
    assert call(*words, "--o", project / "reclassify-2", *QUICK) == 0
    assert times(project) == before
    assert not (project / "vote-3").exists()
