"""Particles by any criterion: the rows are the right ones, byte for byte."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from small_particles import table_head

from alphacryo4d.core.contents import record_contents
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.star import write_tables
from alphacryo4d.particles.open import open_table
from alphacryo4d.selection.cli import select
from alphacryo4d.selection.expression import Columns, Texts, choose
from alphacryo4d.selection.stage import choose_particles, run_select

COUNT, FOLDS, VOLUMES = 60, 4, 8
HEADER = table_head(
    "rlnImageName rlnMicrographName rlnDefocusU rlnDefocusV rlnOpticsGroup",
    "300.000000 2.700000 0.100000 2.625000 16",
)


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    groups = np.column_stack([np.ones(COUNT, int), rng.permutation(COUNT) % FOLDS + 1])
    assignments = rng.integers(0, 2, (COUNT, FOLDS)) + 2 * np.arange(FOLDS)
    own = groups[:, 1] - 1
    heldout = assignments[np.arange(COUNT), own].astype(np.int32)
    assignments[np.arange(COUNT), own] = -1
    return {
        "groups": groups.astype(np.int32),
        "assignments": assignments.astype(np.int32),
        "heldout": heldout,
        "state": rng.integers(0, 3, COUNT),
        "votes": rng.integers(1, 4, COUNT),
        "defocus": np.round(rng.uniform(5000, 30000, COUNT), 1),
        "volume_states": np.array([1, 2] * (VOLUMES // 2)),
        "energy": rng.random(VOLUMES),
        "points": rng.random((VOLUMES, 2)),
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, known: dict) -> Path:
    root = tmp_path_factory.mktemp("select")
    for folder in ("resample", "landscape", "vote"):
        (root / "project" / folder).mkdir(parents=True)
    table = root / "particles.star"
    rows = [
        f"{i + 1:06d}@a.mrcs   mic_{i % 7:02d}.mrc {known['defocus'][i]} "
        f"{known['defocus'][i] + 100} 1"
        for i in range(COUNT)
    ]
    table.write_text(HEADER + "\n".join(rows) + "\n\n")
    home = root / "project"
    for name in ("groups", "assignments", "heldout"):
        np.save(home / "resample" / f"{name}.npy", known[name])
    (home / "resample" / "job.json").write_text(json.dumps({"inputs": [{"path": str(table)}]}))
    np.save(home / "landscape" / "embedding.npy", known["points"])
    np.save(home / "landscape" / "energy.npy", known["energy"])
    np.save(home / "landscape" / "volume_states.npy", known["volume_states"])
    write_tables(
        home / "vote" / "states.star",
        {"states": {"ac4dState": [1, 2], "ac4dStateName": ["closed", "wide_open"]}},
    )
    open_table(table).write_with_columns(
        home / "vote" / "particles.star",
        {
            "rlnClassNumber": known["state"].astype(np.int32),
            "ac4dVotes": known["votes"].astype(np.int32),
            "ac4dConfidence": np.round(known["votes"] / 3, 6),
        },
    )
    return home


def mean_of(known: dict, values: np.ndarray) -> np.ndarray:
    inside = known["assignments"] >= 0
    return np.where(inside, values[known["assignments"]], 0).sum(1) / inside.sum(1)


def micrographs() -> np.ndarray:
    return np.arange(COUNT) % 7


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("state in 1,2", lambda k: k["state"] > 0),
        ("state = 1 and confidence >= 0.66", lambda k: (k["state"] == 1) & (k["votes"] >= 2)),
        ("state = 'wide open'", lambda k: k["state"] == 2),
        ("not (state = 1 or votes = 3)", lambda k: (k["state"] != 1) & (k["votes"] != 3)),
        ("not state = 1 or votes = 3", lambda k: (k["state"] != 1) | (k["votes"] == 3)),
        ("micrograph ~ 'mic_0[0-2]*'", lambda k: micrographs() <= 2),
        ("micrograph in mic_03.mrc, mic_05.mrc", lambda k: np.isin(micrographs(), [3, 5])),
        ("micrograph != mic_03.mrc", lambda k: micrographs() != 3),
        ("defocus < 15000", lambda k: k["defocus"] + 50 < 15000),
        ("rlnDefocusV > 15000", lambda k: k["defocus"] + 100 > 15000),
        ("row in 3-9,20", lambda k: np.isin(np.arange(COUNT), [*range(3, 10), 20])),
        ("group = 2", lambda k: k["groups"][:, 1] == 2),
        ("heldout", lambda k: (k["volume_states"][k["heldout"]] == k["state"])),
        ("energy < 0.5", lambda k: mean_of(k, k["energy"]) < 0.5),
        ("x > 0.5 and y <= 0.5", lambda k: (mean_of(k, k["points"][:, 0]) > 0.5)
         & (mean_of(k, k["points"][:, 1]) <= 0.5)),
    ],
)  # fmt: skip
def test_criteria_choose_the_right_rows(project: Path, known: dict, where: str, expected) -> None:
    assert np.array_equal(choose_particles(project, where).rows, expected(known))


def test_rows_and_polygons_come_from_files(project: Path, known: dict, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([5, 2, 40]))
    found = choose_particles(project, f"rows {tmp_path / 'rows.npy'}").rows
    assert np.flatnonzero(found).tolist() == [2, 5, 40]
    corners = tmp_path / "corners.json"
    corners.write_text(json.dumps({"corners": [[0, 0], [0.5, 0], [0.5, 2], [0, 2]]}))
    found = choose_particles(project, f"inside {corners}").rows
    assert np.array_equal(found, mean_of(known, known["points"][:, 0]) < 0.5)


def test_rows_are_written_byte_for_byte_with_their_origin(project: Path, tmp_path: Path) -> None:
    made = run_select(project, tmp_path / "o", where="votes >= 2 and state > 0")
    source = project.parent / "particles.star"
    wanted = choose_particles(project, "votes >= 2 and state > 0").rows
    lines = [line for line in source.read_bytes().splitlines() if b"@" in line]
    kept = [line for line in made[0].read_bytes().splitlines() if b"@" in line]
    assert kept == [line for line, keep in zip(lines, wanted, strict=True) if keep]
    record = json.loads((tmp_path / "o" / "select.json").read_text())
    assert record["particles"] == wanted.sum()
    assert record["where"] == "votes >= 2 and state > 0"
    run_select(project, tmp_path / "o", where="votes >= 3 and state > 0")
    assert json.loads((tmp_path / "o" / "select.json").read_text())["particles"] < wanted.sum()


def test_a_table_alone_is_enough_for_its_own_columns(project: Path) -> None:
    table = project.parent / "particles.star"
    assert choose_particles(table, "micrograph = mic_01.mrc").rows.sum() == 9


def test_a_dry_run_counts_and_writes_nothing(project: Path, tmp_path: Path) -> None:
    words = ["--i", str(project), "--where", "row < 7", "--dry-run"]
    done = CliRunner().invoke(select, words, catch_exceptions=False)
    assert done.stdout == f"7 of {COUNT}\n"
    done = CliRunner().invoke(select, [*words, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout) == {"particles": 7, "of": COUNT}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("confidense > 1", "did you mean confidence"),
        ("state =", "a value after state = is missing"),
        ("(state = 1", "not closed"),
        ("state = 1 votes = 2", "`votes` is not expected"),
        ("state", "not compared"),
        ("micrograph < 3", "holds texts"),
        ("votes = many", "many is none"),
        ("state ~ 1", "~ is for texts"),
        ("and state = 1", "a column is missing before `and`"),
        ("'open", "cannot be read"),
    ],
)
def test_criteria_that_cannot_be_read_are_refused(project: Path, where: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose_particles(project, where)


def test_a_column_that_the_table_lacks_is_named(project: Path) -> None:
    with pytest.raises(UsageError, match="posterior: it is rlnMaxValue.* lacks it; .*micrograph"):
        choose_particles(project.parent / "particles.star", "posterior > 0.5")
    with pytest.raises(UsageError, match=r"no column posterio.*optics"):
        choose_particles(project.parent / "particles.star", "posterio > 0.5")


def test_a_damaged_array_is_named_before_anything_is_counted(project: Path, tmp_path: Path) -> None:
    """A bit that flips in ``assignments.npy`` gave a number of a volume that there is not."""
    copied = Path(shutil.copytree(project, tmp_path / "copied"))
    path = copied / "resample" / "assignments.npy"
    record = json.loads((path.parent / "job.json").read_text())
    record |= {"stage": "resample", "status": "done", "outputs": [path.name], "command": "again"}
    record_contents(path.parent, record, [path.name])
    (path.parent / "job.json").write_text(json.dumps(record))
    choose_particles(copied, "energy < 0.5")
    held = bytearray(path.read_bytes())
    held[-2] ^= 64
    path.write_bytes(held)
    with pytest.raises(InputError, match=r"assignments\.npy: holds something else"):
        choose_particles(copied, "energy < 0.5")


def test_a_stack_that_was_replaced_is_no_matter_of_a_selection(
    project: Path, tmp_path: Path
) -> None:
    """Which reads no image; the commands that do say what is wrong."""
    home = shutil.copytree(project.parent, tmp_path / "copy") / project.name
    record = {
        "inputs": [{"path": str(home.parent / name)} for name in ("particles.star", "a.mrcs")]
    }
    record["inputs"][1]["size"] = 999
    (home / "resample" / "job.json").write_text(json.dumps(record))
    (home.parent / "a.mrcs").write_bytes(b"other")
    run_select(home, tmp_path / "o", where="state = 1")
    assert json.loads((tmp_path / "o" / "job.json").read_text())["status"] == "done"


def test_missing_files_and_empty_selections_are_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        choose_particles(project, "rows nothing.npy")
    with pytest.raises(InputError, match="no particle"):
        run_select(project, tmp_path / "o", where="votes > 9")
    with pytest.raises(InputError, match="--selection names a folder"):
        choose_particles(project, "state = 1", "vote-9")


def test_a_million_rows_need_no_more_than_a_few_arrays() -> None:
    count = 1_000_000
    texts = Texts(np.arange(count, dtype=np.int32) % 100, [f"mic_{i}" for i in range(100)])
    numbers = np.arange(count, dtype=np.float64)
    columns = Columns(
        lambda name: texts if name == "mic" else numbers,
        lambda name: numbers > 5,
        lambda name: numbers > 5,
        lambda name, word: None,
    )
    found = choose("mic ~ 'mic_1*' and not value < 500000", columns)
    assert found.sum() == 11 * 5000


def add_reclassification(home: Path, table: Path, known: dict) -> None:
    """States 0, 1, 2 as 2, 1, 0."""
    folder = home / "reclassify"
    folder.mkdir()
    other = {"rlnClassNumber": 2 - known["state"].astype(np.int32)}
    open_table(table).write_with_columns(folder / "particles.star", other)
    (folder / "report.json").write_text("{}")


def test_states_are_those_of_the_reclassification_where_there_is_one(
    project: Path, tmp_path: Path, known: dict, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    home = tmp_path / "project"
    shutil.copytree(project, home)
    assert choose_particles(home, "state = 1").selection == "vote"
    assert "states of the votes (vote)" in caplog.messages
    add_reclassification(home, project.parent / "particles.star", known)
    (home / "zoomed").mkdir()  # particles of a zoom: no set of states
    shutil.copy(home / "reclassify" / "particles.star", home / "zoomed")
    caplog.clear()
    chosen = choose_particles(home, "state = 2")
    assert chosen.selection == "reclassify"
    np.testing.assert_array_equal(chosen.rows, known["state"] == 0)
    assert caplog.messages[0] == (
        "states of the reclassification (reclassify); --selection takes vote"
    )
    chosen = choose_particles(home, "state = 2", "vote")
    np.testing.assert_array_equal(chosen.rows, known["state"] == 2)
    caplog.clear()
    choose_particles(home, "defocus > 0")  # asks for no states
    assert len(caplog.messages) == 1


def test_the_same_selection_keeps_its_states_when_others_come(
    project: Path, tmp_path: Path, known: dict
) -> None:
    home = tmp_path / "project"
    shutil.copytree(project, home)
    for where in ("state = 2", "defocus > 0"):
        run_select(home, tmp_path / where[:5], where=where)
    add_reclassification(home, project.parent / "particles.star", known)
    for where in ("state = 2", "defocus > 0"):
        written = (tmp_path / where[:5] / "particles.star").stat().st_mtime_ns
        run_select(home, tmp_path / where[:5], where=where)
        assert (tmp_path / where[:5] / "particles.star").stat().st_mtime_ns == written
    assert choose_particles(home, "state = 2").selection == "reclassify"
