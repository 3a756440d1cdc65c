"""Maps from elsewhere: every particle finds its volumes again; what cannot be told is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.io.star import read_tables, write_tables
from alphacryo4d.particles.open import open_table
from alphacryo4d.resample.collect_stage import find_maps, run_collect
from alphacryo4d.resample.relion_cli import collect_command
from alphacryo4d.voting.inputs_stage import read_fold_groups

PARTICLES = 12


def image(row: int) -> str:
    return f"{row + 1:06d}@stack.mrcs"


def write_images(path: Path, rows: list[int]) -> None:
    write_tables(path, {"particles": {"rlnImageName": [image(row) for row in rows]}})


def write_map(path: Path, box: int = 16, voxel_size: float = 4.0) -> None:
    write_volume(path, np.random.default_rng(0).normal(size=(box,) * 3), voxel_size)


def make_folds(folder: Path, folds: dict[str, list[list[int]]]) -> Path:
    """A folder with a map and a table for every class of every fold."""
    folder.mkdir()
    for fold, classes in folds.items():
        for number, rows in enumerate(classes, 1):
            write_map(folder / f"{fold}_c{number}.mrc")
            write_images(folder / f"{fold}_c{number}.star", rows)
    return folder


def leave_one_out() -> dict[str, list[list[int]]]:
    """Four folds of two classes; particle p is left out by fold p % 4."""
    folds = {}
    for left_out, name in enumerate(("u234", "u134", "u124", "u123")):
        rows = [row for row in range(PARTICLES) if row % 4 != left_out]
        folds[f"{name}_b1"] = [[r for r in rows if r < 6], [r for r in rows if r >= 6]]
    return folds


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_images(tmp_path / "all.star", list(range(PARTICLES)))
    return tmp_path / "all.star"


def test_every_particle_finds_its_volumes(table: Path, tmp_path: Path) -> None:
    maps = make_folds(tmp_path / "maps", leave_one_out())
    done = CliRunner().invoke(
        collect_command,
        ["--i", str(table), "--maps", str(maps), "--o", str(tmp_path / "o")],
        catch_exceptions=False,
    )
    assert str(tmp_path / "o/volumes.npy") in done.output
    volumes = read_tables(tmp_path / "o/volumes.star")["volumes"]
    assert list(volumes["ac4dVolumeName"])[:2] == ["u123_b1_c1", "u123_b1_c2"]
    assert list(volumes["ac4dParticleCount"]) == [5, 4, 5, 4, 4, 5, 4, 5]
    assignments = np.load(tmp_path / "o/assignments.npy")
    assert assignments.shape == (PARTICLES, 4)
    for row in range(PARTICLES):
        column = 3 - row % 4
        assert assignments[row, column] == -1
        others = np.delete(assignments[row], column)
        expected = [2 * fold + (row >= 6) for fold in range(4) if fold != column]
        assert others.tolist() == expected
    assert np.load(tmp_path / "o/volumes.npy").shape == (8, 16, 16, 16)


def test_a_class_that_is_not_there_is_a_dropped_one(table: Path, tmp_path: Path) -> None:
    maps = make_folds(tmp_path / "maps", leave_one_out())
    for path in maps.glob("u123_b1_c2.*"):
        path.unlink()
    run_collect(table, maps, tmp_path / "o")
    assignments = np.load(tmp_path / "o/assignments.npy")
    assert ((assignments == -1).sum(axis=1) == 1).all()
    assert (assignments == -2).sum() == 4


def test_without_folds_a_column_stands_for_the_one_left_out(table: Path, tmp_path: Path) -> None:
    halves = [list(range(7)), list(range(7, PARTICLES))]
    maps = make_folds(tmp_path / "maps", {"first": halves, "second": halves, "third": halves})
    run_collect(table, maps, tmp_path / "o")
    assignments = np.load(tmp_path / "o/assignments.npy")
    assert assignments.shape == (PARTICLES, 4)
    assert (assignments[:, 3] == -1).all()
    assert (assignments[:, :3] >= 0).all()
    with pytest.raises(InputError, match=r"groups\.npy: batch 1, fold 1 leaves no particle out"):
        read_fold_groups(tmp_path / "o", PARTICLES)


def test_batches_are_read_from_the_names(table: Path, tmp_path: Path) -> None:
    folds: dict[str, list[list[int]]] = {}
    for name, classes in leave_one_out().items():
        for batch, keep in ((1, range(6)), (2, range(6, PARTICLES))):
            rows = [row for one in classes for row in one if row in keep]
            folds[name.replace("_b1", f"_b{batch}")] = [rows]
    run_collect(table, make_folds(tmp_path / "maps", folds), tmp_path / "o")
    groups = np.load(tmp_path / "o/groups.npy")
    assert groups[:, 0].tolist() == [1] * 6 + [2] * 6
    assert (read_fold_groups(tmp_path / "o", PARTICLES) == groups).all()


def test_boxes_are_brought_to_one(table: Path, tmp_path: Path) -> None:
    maps = make_folds(tmp_path / "maps", leave_one_out())
    write_map(maps / "u123_b1_c2.mrc", box=32, voxel_size=2.0)
    run_collect(table, maps, tmp_path / "o", box=12)
    assert np.load(tmp_path / "o/volumes.npy").shape == (8, 12, 12, 12)
    volumes = read_tables(tmp_path / "o/volumes.star")["volumes"]
    assert volumes["rlnPixelSize"][0] == pytest.approx(16 * 4.0 / 12)


def test_another_field_of_view_is_refused(table: Path, tmp_path: Path) -> None:
    maps = make_folds(tmp_path / "maps", leave_one_out())
    write_map(maps / "u123_b1_c2.mrc", box=20)
    with pytest.raises(InputError, match=r"u123_b1_c2\.mrc: covers 80 A"):
        run_collect(table, maps, tmp_path / "o")


def test_a_particle_of_two_classes_is_refused(table: Path, tmp_path: Path) -> None:
    maps = make_folds(tmp_path / "maps", leave_one_out())
    write_images(maps / "u123_b1_c2.star", [0, 8])
    with pytest.raises(InputError, match=r"u123_b1_c2\.star: row 1: .* is in u123_b1_c1\.star too"):
        run_collect(table, maps, tmp_path / "o")


def test_a_particle_from_elsewhere_is_refused(table: Path, tmp_path: Path) -> None:
    maps = make_folds(tmp_path / "maps", leave_one_out())
    write_images(maps / "u123_b1_c2.star", [99])
    with pytest.raises(InputError, match=r"000100@stack\.mrcs is not in"):
        run_collect(table, maps, tmp_path / "o")


def test_maps_without_particles_or_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no maps"):
        find_maps(tmp_path)
    write_map(tmp_path / "u123_b1_c1.mrc")
    with pytest.raises(InputError, match=r"u123_b1_c1\.star: no such file"):
        find_maps(tmp_path)
    write_map(tmp_path / "a_map.mrc")
    with pytest.raises(InputError, match="no class number"):
        find_maps(tmp_path)


def moving_blob(angle: float) -> np.ndarray:
    z, y, x = np.indices((16, 16, 16)) - 8
    fixed = np.exp(-(z**2 + (y + 2) ** 2 + x**2) / 5)
    return fixed + np.exp(-(z**2 + (y - 5 * np.sin(angle)) ** 2 + (x - 5 * np.cos(angle)) ** 2) / 3)


def test_maps_from_elsewhere_go_through_landscape_and_vote(tmp_path: Path) -> None:
    """Two states far apart, five maps of each in every fold: every particle finds its own."""
    rng = np.random.default_rng(0)
    truth = np.arange(240) % 2
    groups = rng.permutation(240) % 4
    write_images(tmp_path / "all.star", list(range(240)))
    maps = tmp_path / "maps"
    maps.mkdir()
    for left_out, name in enumerate(("u234", "u134", "u124", "u123")):
        for state in (0, 1):
            members = rng.permutation(np.flatnonzero((truth == state) & (groups != left_out)))
            for part, rows in enumerate(np.array_split(members, 5)):
                stem = f"{name}_b1_c{5 * state + part + 1:03d}"
                volume = moving_blob(3 * state + 0.1 * part) + 0.01 * rng.normal(size=(16,) * 3)
                write_volume(maps / f"{stem}.mrc", volume, 4.0)
                write_images(maps / f"{stem}.star", rows.tolist())
    commands = (
        ["resample", "collect", "--i", "all.star", "--maps", "maps", "--o", "o/resample"],
        ["landscape", "--i", "o/resample", "--o", "o/landscape", "--states", "2"],
        ["vote", "--i", "o/resample", "--landscape", "o/landscape", "--o", "o/vote",
         "--no-reconstruct", "--no-test"],
    )  # fmt: skip
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "alphacryo4d", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    states = open_table(tmp_path / "o/vote/particles.star").read(["rlnClassNumber"])
    labels = states["rlnClassNumber"]
    assert (labels > 0).mean() > 0.8
    for state in (1, 2):
        assert len(set(truth[labels == state])) == 1
        rows = open_table(tmp_path / f"o/vote/class{state:03d}.star").rows
        assert rows == (labels == state).sum()
