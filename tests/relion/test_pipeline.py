"""The whole method with RELION's classes on 2,000 particles: the same files as with our own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_particles import four_arms

from alphacryo4d.io.mrc import read_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.maths.fsc import shell_correlation
from alphacryo4d.particles.open import open_table

pytestmark = [pytest.mark.relion, pytest.mark.slow]
OPTIONS = ["--classes", "5", "--iter", "3", "--components", "4", "--limit-resolution", "20",
           "--states", "4", "--epochs", "1", "--j", "2", "--ranks", "1",
           "--no-realign"]  # fmt: skip
OWN = ("class_volumes.npy", "_half1_unfil.mrc", "_half2_unfil.mrc", "_fsc.csv", "relion", "log")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 particles (64 px of 3 A) of four states, with their truth."""
    return four_arms(
        tmp_path_factory.mktemp("data"), particles_per_state=500, box=64, pixel_size=3.0, snr=20.0,
        snr_box=64, atom_sigma=1.5,
    )  # fmt: skip


def run(data: Path, project: Path, engine: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "alphacryo4d", "run", "--i", str(data / "particles.star"),
         "--o", str(project), "--engine", engine, *OPTIONS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return project


@pytest.fixture(scope="module")
def projects(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("run")
    return {engine: run(data, folder / engine, engine) for engine in ("relion", "native")}


def names(project: Path) -> set[str]:
    """Final files, without those of single classes, whose number the data decide."""
    final = set()
    for path in project.rglob("*"):
        name = str(path.relative_to(project))
        if path.is_file() and not any(part in name for part in OWN) and "_class0" not in name:
            final.add(name)
    return final


def test_both_engines_give_the_same_files(projects: dict[str, Path]) -> None:
    assert names(projects["relion"]) == names(projects["native"])


def test_tables_have_the_same_columns(projects: dict[str, Path]) -> None:
    relion, native = projects["relion"], projects["native"]
    for name in ("resample/batch1/u123/run_it003_data.star", "vote/particles.star"):
        assert open_table(relion / name).columns == open_table(native / name).columns
    for name in ("resample/volumes.star", "landscape/states.star"):
        tables = [read_tables(project / name) for project in (relion, native)]
        assert [{table: list(content.columns) for table, content in one.items()} for one in tables][
            0
        ] == {table: list(content.columns) for table, content in tables[1].items()}


def test_arrays_have_the_same_shapes(projects: dict[str, Path]) -> None:
    shapes = {}
    for engine, project in projects.items():
        arrays = {
            name: np.load(project / name, mmap_mode="r")
            for name in ("resample/volumes.npy", "resample/assignments.npy",
                         "resample/heldout.npy", "resample/groups.npy", "vote/votes.npy")
        }  # fmt: skip
        shapes[engine] = {
            name: (a.shape[1:] if "volumes" in name else a.shape, a.dtype)
            for name, a in arrays.items()
        }
    assert shapes["relion"] == shapes["native"]


def test_relions_states_are_the_true_ones(projects: dict[str, Path], data: Path) -> None:
    table = open_table(projects["relion"] / "vote/particles.star")
    states = table.read(["rlnClassNumber"])["rlnClassNumber"]
    truth = np.load(data / "truth.npy")
    confusion = np.zeros((5, 5), int)
    np.add.at(confusion, (states, truth), 1)
    assert confusion[1:].max(axis=1).sum() / confusion[1:].sum() > 0.75


def test_relion_reconstructs_a_voted_state_alike(
    projects: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    """To 0.8 of Nyquist; the particles have little noise, so that they determine the map."""
    vote = projects["native"] / "vote"
    largest = max(vote.glob("class[0-9]*.star"), key=lambda path: open_table(path).rows)
    assert open_table(largest).rows > 400
    ours, voxel_size = read_volume(largest.with_suffix(".mrc"))
    subprocess.run(
        ["relion_reconstruct", "--i", str(largest), "--o", "theirs.mrc", "--ctf"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    theirs, _ = read_volume(tmp_path / "theirs.mrc")
    assert voxel_size == pytest.approx(3.0)
    assert shell_correlation(ours, theirs)[1 : int(0.8 * 32) + 1].min() > 0.99
