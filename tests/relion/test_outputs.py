"""An exit code of 0 is not enough: the files of this run must be there and finite."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.errors import ProgramError
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.relion.classify import classify_with_relion
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.relion.outputs import last_optimiser, read_run
from alphacryo4d.relion.plan import Request
from alphacryo4d.relion.version import installed_version

REQUEST = Request(levels=(2,), iterations=3)
OPTIONS = RelionOptions(ranks=1)


def write_iteration(root: Path, iteration: int, *, rows: int = 4, broken: str = "") -> None:
    """What RELION writes after an iteration of two classes; or with one fault."""
    start = f"{root}_it{iteration:03d}"
    order = list(range(rows, 0, -1))
    numbers = [3 if broken == "class" else 1 + row % 2 for row in order]
    probability = ["nan" if broken == "nan" else "0.9"] * rows
    lines = [f"{row} {k} {p}" for row, k, p in zip(order, numbers, probability, strict=True)]
    Path(f"{start}_data.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n\ndata_particles\n\nloop_\n_ac4dRow #1\n"
        "_rlnClassNumber #2\n_rlnMaxValueProbDistribution #3\n" + "\n".join(lines) + "\n\n"
    )
    write_tables(
        Path(f"{start}_model.star"),
        {
            "model_classes": {
                "rlnReferenceImage": ["a", "b"],
                "rlnEstimatedResolution": [20.0, 30.0],
            }
        },
    )
    write_tables(
        Path(f"{start}_optimiser.star"), {"optimiser_general": {"rlnCurrentIteration": iteration}}
    )
    for number in (1, 2):
        path = Path(f"{start}_class{number:03d}.mrc")
        write_volume(path, np.full((8, 8, 8), number), 4.0)
        if broken == "map" and number == 2:
            with path.open("r+b") as stream:
                stream.seek(1024)
                stream.write(np.float32(np.nan).tobytes())
        if broken == "missing" and number == 2:
            path.unlink()


def test_classes_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    write_iteration(tmp_path / "run", 3)
    run = read_run(tmp_path / "run", iteration=3, classes=2, rows=np.arange(4))
    assert run.classes.tolist() == [2, 1, 2, 1]
    assert run.resolutions == (20.0, 30.0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("nan", "probability is not finite"),
        ("map", "class002.mrc.*not finite"),
        ("missing", "class002.mrc"),
        ("class", "outside 1 to 2"),
    ],
)
def test_output_that_is_no_use_is_an_error(tmp_path: Path, broken: str, message: str) -> None:
    write_iteration(tmp_path / "run", 3, broken=broken)
    with pytest.raises(ProgramError, match=message):
        read_run(tmp_path / "run", iteration=3, classes=2, rows=np.arange(4))


def test_lost_particles_are_an_error(tmp_path: Path) -> None:
    write_iteration(tmp_path / "run", 3, rows=3)
    with pytest.raises(ProgramError, match="holds 3 particles where 4 went in"):
        read_run(tmp_path / "run", iteration=3, classes=2, rows=np.arange(4))


def test_other_particles_than_went_in_are_an_error(tmp_path: Path) -> None:
    write_iteration(tmp_path / "run", 3)
    with pytest.raises(ProgramError, match="holds row 3 of the input where row 5 went in"):
        read_run(tmp_path / "run", iteration=3, classes=2, rows=np.array([0, 1, 4, 5]))


def test_the_last_whole_iteration_is_found(tmp_path: Path) -> None:
    root = tmp_path / "run"
    assert last_optimiser(root) is None
    for iteration in (1, 2, 3):
        write_iteration(root, iteration)
    assert last_optimiser(root) == tmp_path / "run_it003_optimiser.star"
    write_iteration(root, 3, broken="map")
    assert last_optimiser(root) == tmp_path / "run_it002_optimiser.star"
    assert last_optimiser(root, before=2) == tmp_path / "run_it001_optimiser.star"


def test_an_auto_refinement_goes_on_from_its_half_sets(tmp_path: Path) -> None:
    """It has no model of the whole before it ends (as RELION 3.1.3 wrote it here)."""
    for iteration in (1, 2):
        write_iteration(tmp_path / "run", iteration)
        start = f"run_it{iteration:03d}"
        for half in (1, 2):
            shutil.copy(
                tmp_path / f"{start}_model.star", tmp_path / f"{start}_half{half}_model.star"
            )
            for number in (1, 2):
                name = f"class{number:03d}.mrc"
                shutil.copy(tmp_path / f"{start}_{name}", tmp_path / f"{start}_half{half}_{name}")
        for path in [*tmp_path.glob(f"{start}_class*"), tmp_path / f"{start}_model.star"]:
            path.unlink()
    assert last_optimiser(tmp_path / "run") == tmp_path / "run_it002_optimiser.star"
    (tmp_path / "run_it002_half2_class001.mrc").unlink()
    assert last_optimiser(tmp_path / "run") == tmp_path / "run_it001_optimiser.star"


@pytest.fixture
def fake_relion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Programs that say they are RELION 3.1.3, succeed, and write nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("relion_refine", "relion_reconstruct"):
        program = folder / name
        program.write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo "RELION version: 3.1.3"\nexit 0'
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    installed_version.cache_clear()
    yield folder
    installed_version.cache_clear()


def test_success_without_output_is_an_error(
    fake_relion: Path, noise_table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ProgramError, match=r"exit code 0, but .*reference_partial\.mrc"):
        classify_with_relion(noise_table, tmp_path / "o", REQUEST, OPTIONS)


def test_maps_of_an_older_run_are_not_taken_for_those_of_this_one(
    fake_relion: Path, noise_table: Path, tmp_path: Path
) -> None:
    work = tmp_path / "o/relion"
    work.mkdir(parents=True)
    write_iteration(work / "run", 3, rows=40)
    write_volume(work / "reference.mrc", np.ones((32, 32, 32)), 4.0)
    with pytest.raises(ProgramError, match=r"run_it003_data\.star"):
        classify_with_relion(noise_table, tmp_path / "o", REQUEST, OPTIONS, resume=True)


def test_a_failure_shows_what_relion_said(
    fake_relion: Path, noise_table: Path, tmp_path: Path
) -> None:
    (fake_relion / "relion_reconstruct").write_text("#!/bin/sh\necho 'ERROR: no memory'; exit 9")
    with pytest.raises(ProgramError, match=r"exit code 9(.|\n)*no memory"):
        classify_with_relion(noise_table, tmp_path / "o", REQUEST, OPTIONS)
