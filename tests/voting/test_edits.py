"""Edits of states: what each does, what it costs, and that nothing is overwritten."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from alphacryo4d.core import record
from alphacryo4d.core.contents import record_contents
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.files import save_array
from alphacryo4d.io.star import read_tables
from alphacryo4d.landscape.options import StatesOptions
from alphacryo4d.particles.open import open_table
from alphacryo4d.pipeline.editing import selection_for
from alphacryo4d.voting.cli import vote
from alphacryo4d.voting.edits import inside_polygon, parse_edits, short_edits
from alphacryo4d.voting.edits_stage import base_of
from alphacryo4d.voting.inputs_stage import read_heldout
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.report import complete_report
from alphacryo4d.voting.stage import run_vote

PLAIN = {"test": False, "reconstruct": False}


def write(root: Path, *edits: dict, base: str = "vote") -> Path:
    path = root / "edits.json"
    path.write_text(json.dumps({"version": 1, "base": base, "edits": list(edits)}))
    return path


def edited(project: Any, *edits: dict, name: str = "vote-2", base: str = "vote") -> Path:
    options = VoteOptions(edits=write(project.root, *edits, base=base), **PLAIN)
    run_vote(project.resample, project.landscape, project.root / name, options=options)
    return project.root / name


@pytest.fixture
def voted(project: Any) -> Any:
    run_vote(
        project.resample, project.landscape, project.root / "vote", options=VoteOptions(**PLAIN)
    )
    return project


def volume_states(folder: Path) -> np.ndarray:
    return np.load(folder / "volume_states.npy")


def of_particles(folder: Path) -> np.ndarray:
    return open_table(folder / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]


def by_rule(project: Any) -> np.ndarray:
    distance = np.linalg.norm(project.points[:, None] - project.centers[None], axis=2)
    inside = np.where(distance < project.radii, distance, np.inf)
    return np.where(np.isfinite(inside.min(1)), inside.argmin(1) + 1, 0)


def test_merging_joins_the_votes_and_keeps_the_first_selection(voted: Any) -> None:
    first = (voted.root / "vote" / "particles.star").read_bytes()
    folder = edited(voted, {"action": "merge", "states": [1, 3]})
    assert np.array_equal(volume_states(folder), np.array([0, 1, 2, 1])[by_rule(voted)])
    assert (voted.root / "vote" / "particles.star").read_bytes() == first
    votes = np.load(voted.root / "vote" / "votes.npy")
    joined = np.column_stack([votes[:, 0] + votes[:, 2], votes[:, 1]])
    assert np.array_equal(np.load(folder / "votes.npy"), joined)
    history = json.loads((folder / "edits.json").read_text())["history"]
    assert "held-out folds tell these states apart" in history[0]["heldout"][0]
    before, after = of_particles(voted.root / "vote"), of_particles(folder)
    assert history[0]["particles"]["are voted in"] == ((before == 0) & (after > 0)).sum()


def test_numbers_are_those_before_the_edits(voted: Any) -> None:
    folder = edited(
        voted,
        {"action": "drop", "state": 1},
        {"action": "rename", "state": 3, "name": "wide open"},
        {"action": "rename", "state": 2, "name": "closed"},
    )
    assert np.array_equal(volume_states(folder), np.array([0, 0, 1, 2])[by_rule(voted)])
    assert list(read_tables(folder / "states.star")["states"]["ac4dStateName"]) == [
        "closed", "wide_open",
    ]  # fmt: skip
    rows = json.loads((folder / "report.json").read_text())["per_state"]
    assert [row["name"] for row in rows] == ["closed", "wide open"]
    assert "wide open" in (folder / "summary.txt").read_text()
    assert (folder / "class001.star").is_file()


def test_split_centre_and_subset(voted: Any) -> None:
    points, states = voted.points, by_rule(voted)
    x = float(np.median(points[states == 2, 0]))
    folder = edited(
        voted, {"action": "split", "state": 2, "polygon": [[x, -9], [99, -9], [99, 9], [x, 9]]}
    )
    expected = np.where((states == 2) & (points[:, 0] > x), 4, states)
    labels = volume_states(folder)
    assert set(zip(expected.tolist(), labels.tolist(), strict=True)) <= {
        (0, 0), (1, 1), (2, 2), (3, 3), (4, 4),
    }  # fmt: skip
    far = points[states == 3].mean(0) + 1.0
    folder = edited(
        voted, {"action": "add_center", "center": far.tolist(), "radius": 2.0}, name="vote-3"
    )
    distance = np.linalg.norm(points - far, axis=1)
    assert ((volume_states(folder) == 4) <= (distance < 2.0)).all()
    kept = [int(row) for row in np.flatnonzero(states > 0)[::2]]
    folder = edited(voted, {"action": "subset", "volumes": kept}, name="vote-4")
    assert set(np.flatnonzero(volume_states(folder))) == set(kept)


def test_edited_states_can_be_edited_again(voted: Any) -> None:
    edited(voted, {"action": "merge", "states": [1, 2]}, {"rename": {"1": "both"}})
    folder = edited(voted, {"drop": 2}, name="vote-3", base="vote-2")
    assert np.array_equal(volume_states(folder), np.array([0, 1, 1, 0])[by_rule(voted)])
    rows = json.loads((folder / "report.json").read_text())["per_state"]
    assert [row["name"] for row in rows] == ["both"]
    options = VoteOptions(edits=write(voted.root, {"drop": 1}), **PLAIN)
    assert selection_for(voted.root, voted.landscape, options) == voted.root / "vote-4"


def test_the_command_takes_a_project_and_numbers_the_selection(voted: Any) -> None:
    path = write(voted.root, {"action": "drop", "state": 2})
    words = ["--i", str(voted.root), "--edits", str(path), "--no-test", "--no-reconstruct"]
    done = CliRunner().invoke(vote, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert str(voted.root / "vote-2" / "particles.star") in done.output


def test_edits_that_failed_take_the_same_number_again(
    voted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = VoteOptions(edits=write(voted.root, {"drop": 2}), **PLAIN)
    second = voted.root / "vote-2"
    second.mkdir()
    for name in (".lock", ".ac4d-job.abc.json"):  # of a run that was killed when it had begun
        (second / name).touch()
    assert selection_for(voted.root, voted.landscape, options) == second
    with monkeypatch.context() as patch:
        patch.setattr(record, "same_content", lambda entry, path: path.name != "edits.json")
        with pytest.raises(InputError, match="changed while vote-2 was made from it"):
            run_vote(voted.resample, voted.landscape, second, options=options)
    assert selection_for(voted.root, voted.landscape, options) == second
    run_vote(voted.resample, voted.landscape, second, options=options)
    assert selection_for(voted.root, voted.landscape, options) == second
    other = VoteOptions(edits=write(voted.root, {"drop": 1}), **PLAIN)
    assert selection_for(voted.root, voted.landscape, other) == voted.root / "vote-3"


def test_a_summary_that_was_not_written_is_made_good(voted: Any) -> None:
    """A full disk between report.json and summary.txt: the next run writes the second."""
    folder = voted.root / "vote"
    made = {"note": "", "states": [{"state": 1, "resolution_masked": 8.0}]}
    (folder / "reconstruction.json").write_text(json.dumps(made))
    before = (folder / "summary.txt").read_text()
    complete_report(folder)
    whole = (folder / "summary.txt").read_text()
    assert "resolution" in whole
    (folder / "summary.txt").write_text(before)
    complete_report(folder)
    assert (folder / "summary.txt").read_text() == whole


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"action": "merge", "states": [2, 2]}, "two different states"),
        ({"action": "drop", "state": 9}, "state 9: there are 1 to 3"),
        ({"action": "split", "state": 1, "polygon": [[50, 50], [51, 50], [51, 51]]}, "0 of its"),
        ({"action": "add_center", "center": [99, 99], "radius": 1}, "no volume within 1"),
        ({"action": "add_center", "center": [0], "radius": 1}, r"a centre is \[x, y\]"),
        ({"action": "explode", "state": 1}, "explode is none of merge, drop"),
        ({"action": "split", "state": 1}, "split needs polygon"),
        ({"action": "subset", "volumes": ["u1_b1_c1"]}, "no volume u1_b1_c1"),
        ({"action": ["merge"], "states": [1, 2]}, r"\['merge'\] is none of merge, drop"),
        ({"subset": [["u1"]]}, r"no volume \['u1'\]"),
        ({"subset": [True]}, "no volume True"),
        ({"rename": {"²": "x"}}, "state ²: there are 1 to 3"),
        ({"drop": True}, "state True: there are 1 to 3"),
    ],
)
def test_edits_that_make_no_sense_are_refused(voted: Any, edit: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        edited(voted, edit)


def test_digits_that_are_no_numbers_are_refused() -> None:
    for asked in ((["²+3"], [], []), ([], ["²"], []), ([], [], ["²=open"])):
        with pytest.raises(UsageError, match="²"):
            short_edits(*asked)
    with pytest.raises(UsageError, match="--states ²: a number"):
        StatesOptions(states="²")


def test_files_that_are_no_edits_are_refused() -> None:
    for text, said in (("{", "not valid JSON"), ("[]", "is needed"), ('{"edits": []}', "no edits"),
                       ('{"version": 2, "edits": [1]}', "version 2")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            parse_edits(text, "edits.json")


def test_inside_of_a_polygon_that_is_not_convex() -> None:
    corners = [[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]]
    points = np.array([[2, 0.5], [2, 3], [0.5, 2], [5, 1]])
    assert inside_polygon(points, corners).tolist() == [True, False, True, False]


def test_a_file_of_edits_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Such as names of states with umlauts in an editor's own encoding."""
    path = tmp_path / "edits.json"
    path.write_text('{"edits": [{"rename": {"1": "geöffnet"}}]}', encoding="latin-1")
    with pytest.raises(InputError, match=r"edits\.json: not text in UTF-8"):
        base_of(path, tmp_path / "landscape")


def test_held_out_volumes_that_were_damaged_are_refused(tmp_path: Path) -> None:
    """Edits are judged by them before any is done; one flipped bit was a traceback."""
    path = save_array(tmp_path / "heldout.npy", np.arange(5, dtype=np.int32))
    record = {"stage": "resample", "status": "done", "outputs": [path.name]}
    record_contents(tmp_path, record, [path.name])
    (tmp_path / "job.json").write_text(json.dumps(record))
    assert read_heldout(tmp_path, 5) is not None
    held = bytearray(path.read_bytes())
    held[-1] ^= 64
    path.write_bytes(held)
    with pytest.raises(InputError, match=r"heldout\.npy: holds something else than `resample`"):
        read_heldout(tmp_path, 5)
