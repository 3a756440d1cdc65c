"""Classification by the real RELION: right classes, nothing lost, resumable."""

import json
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.particles.open import open_table
from alphacryo4d.relion.classify import Classified, classify_with_relion
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.relion.plan import Request, dry_run_text, parts_of

pytestmark = pytest.mark.relion
DIRECT = Request(levels=(2,), iterations=6, limit_resolution=10.0, particle_diameter=110.0)
OPTIONS = RelionOptions(ranks=1)


@pytest.fixture(scope="module")
def direct(two_states: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Classified]:
    folder = tmp_path_factory.mktemp("direct")
    return folder, classify_with_relion(two_states / "particles.star", folder, DIRECT, OPTIONS)


def test_two_states_are_told_apart(direct: tuple[Path, Classified]) -> None:
    labels = direct[1].labels
    odd = np.arange(len(labels)) % 2 == 1
    right = ((labels == 2) == odd).mean()
    assert max(right, 1 - right) > 0.9


def test_the_data_table_holds_every_row_as_it_came(
    direct: tuple[Path, Classified], two_states: Path
) -> None:
    folder, result = direct
    lines = (folder / "run_it006_data.star").read_text().splitlines()
    before = [x for x in (two_states / "particles.star").read_text().splitlines() if "@" in x]
    after = [line for line in lines if "@" in line]
    assert len(after) == len(before)
    assert all(new.startswith(old) for new, old in zip(after, before, strict=True))
    classes = open_table(folder / "run_it006_data.star").read(["rlnClassNumber"])
    assert np.array_equal(classes["rlnClassNumber"], result.labels)


def test_maps_and_model_table_describe_the_classes(direct: tuple[Path, Classified]) -> None:
    folder, result = direct
    model = read_tables(folder / "run_it006_model.star")["model_classes"]
    assert list(model["rlnClassNumber"]) == [1, 2]
    assert list(model["ac4dParticleCount"]) == np.bincount(result.labels)[1:].tolist()
    assert (model["rlnEstimatedResolution"] < 60).all()
    for name in model["rlnReferenceImage"]:
        volume, voxel_size = read_volume(folder / name)
        assert volume.shape == (32, 32, 32)
        assert voxel_size == pytest.approx(4.0)


def test_only_the_last_iteration_is_kept(direct: tuple[Path, Classified]) -> None:
    maps = sorted(path.name for path in (direct[0] / "relion").glob("run_it*.mrc"))
    assert maps == ["run_it006_class001.mrc", "run_it006_class002.mrc"]


def test_a_finished_run_is_not_repeated(direct: tuple[Path, Classified], two_states: Path) -> None:
    folder, before = direct
    log = (folder / "relion/run.log").read_bytes()
    again = classify_with_relion(
        two_states / "particles.star", folder, DIRECT, OPTIONS, resume=True
    )
    assert (folder / "relion/run.log").read_bytes() == log
    assert np.array_equal(again.labels, before.labels)


def test_an_interrupted_run_goes_on_after_its_last_whole_iteration(
    two_states: Path, tmp_path: Path
) -> None:
    table = two_states / "particles.star"
    short = Request(levels=(2,), iterations=3, limit_resolution=10.0, particle_diameter=110.0)
    classify_with_relion(table, tmp_path, short, OPTIONS)
    work = tmp_path / "relion"
    record = json.loads((work / "run.json").read_text())
    command = ["6" if old == "3" else old for old in record["command"]]
    (work / "run.json").write_text(json.dumps({"state": "started", "command": command}))
    torn = work / "run_it004_optimiser.star"
    torn.write_text((work / "run_it003_optimiser.star").read_text()[:200])
    result = classify_with_relion(table, tmp_path, DIRECT, OPTIONS, resume=True)
    log = (work / "run.log").read_text()
    assert "--continue" in log.splitlines()[-1] or "run_it003_optimiser.star" in log
    assert log.count("$ relion_refine --o") == 1
    assert result.outputs[0] == tmp_path / "run_it006_data.star"


@pytest.mark.slow
def test_a_hierarchy_numbers_its_classes_by_their_parents(two_states: Path, tmp_path: Path) -> None:
    request = Request(levels=(2, 3), iterations=2, limit_resolution=10.0, particle_diameter=110.0)
    result = classify_with_relion(
        two_states / "particles.star", tmp_path, request, RelionOptions(ranks=3)
    )
    assert set(result.labels) <= set(range(1, 7))
    assert [c.parent for c in result.classes] == [(c.number - 1) // 3 + 1 for c in result.classes]
    assert sum(c.particles for c in result.classes) == 240
    assert [c.map.name for c in result.classes] == [
        f"run_it002_class{c.number:03d}.mrc" for c in result.classes
    ]
    assert "relion_refine_mpi" in (tmp_path / "relion/run.log").read_text()


def test_a_dry_run_prints_every_command_and_writes_nothing(tmp_path: Path) -> None:
    request = Request(levels=(5, 8), mask=Path("mask.mrc"))
    lines = dry_run_text(tmp_path / "fold", request, OPTIONS, threads=2).splitlines()
    assert len(lines) == 1 + 1 + 5
    assert lines[0].startswith("relion_reconstruct ")
    assert all("--skip_align" in line and "--solvent_mask mask.mrc" in line for line in lines[1:])
    assert sum(" --K 8 " in line for line in lines) == 5
    assert not list(tmp_path.iterdir())


def test_some_rows_of_a_table_can_be_classified(two_states: Path, tmp_path: Path) -> None:
    rows = np.flatnonzero(np.arange(240) % 4 != 0)
    request = Request(levels=(2,), iterations=1, limit_resolution=12.0)
    result = classify_with_relion(
        two_states / "particles.star", tmp_path, request, OPTIONS, rows=rows
    )
    names = open_table(tmp_path / "run_it001_data.star").read(["rlnImageName"])["rlnImageName"]
    assert [int(name.split("@")[0]) - 1 for name in names] == rows.tolist()
    assert len(result.labels) == 180
    assert set(result.labels) <= {1, 2}


def test_a_gpu_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="skip_align"):
        classify_with_relion(tmp_path / "gone.star", tmp_path, DIRECT, OPTIONS, gpu="0")


def test_too_few_particles_for_the_classes_are_refused(noise_table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few for 5 classes"):
        classify_with_relion(noise_table, tmp_path / "o", Request(levels=(5, 8)), OPTIONS)
    assert [parts_of(n, 8) for n in (9, 35, 1000)] == [1, 3, 8]


def test_a_mask_that_does_not_fit_is_refused_before_relion_starts(
    two_states: Path, tmp_path: Path
) -> None:
    request = Request(levels=(2,), mask=two_states / "state0.mrc")
    with pytest.raises(InputError, match="from 0 to 1"):
        classify_with_relion(two_states / "particles.star", tmp_path / "o", request, OPTIONS)
    assert not (tmp_path / "o").exists()


def test_an_output_folder_that_relion_would_mangle_is_refused(
    two_states: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="mangle"):
        classify_with_relion(
            two_states / "particles.star", tmp_path / "$(touch x)", DIRECT, OPTIONS
        )
    assert not list(tmp_path.rglob("*.mrc"))
