"""The resample stage on simulated particles: files, counts, agreement with the truth."""

from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core import files
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.errors import InputError, TimeLimitReached
from alphacryo4d.core.job import read_job, recorded_inputs
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_header, read_volume, write_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.open import open_table
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.resample.components_stage import run_components
from alphacryo4d.resample.consensus_stage import run_consensus
from alphacryo4d.resample.fold_stage import read_fold
from alphacryo4d.resample.gather_stage import gather_folds
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.stage import run_resample
from alphacryo4d.resample.steps_stage import run_classify, run_shuffle, run_split

CLASSIFY = ClassifyOptions(classes="4", components=4, iterations=8)
SPLIT = ResampleOptions(batch_size=450)


@pytest.fixture(scope="module")
def done(easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished stage of two batches."""
    output = tmp_path_factory.mktemp("project") / "resample"
    run_resample(
        easy_data / "particles.star",
        output,
        options=SPLIT,
        classify=CLASSIFY,
        seed=5,
        flags=RunFlags(threads=2),
    )
    return output


def test_every_particle_has_m_classes(done: Path) -> None:
    assignments = np.load(done / files.ASSIGNMENTS_NPY)
    groups = np.load(done / files.GROUPS_NPY)
    assert assignments.dtype == groups.dtype == np.int32
    assert assignments.shape == (800, 4)
    left_out = assignments == files.LEFT_OUT
    assert (left_out.sum(axis=1) == 1).all()
    assert np.array_equal(left_out.argmax(axis=1) + 1, groups[:, 1])


def test_volumes_are_named_counted_and_in_order(done: Path) -> None:
    table = read_tables(done / files.VOLUMES_STAR)["volumes"]
    volumes = np.load(done / files.VOLUMES_NPY)
    assignments = np.load(done / files.ASSIGNMENTS_NPY)
    assert volumes.dtype == np.float32
    assert volumes.shape == (len(table), 32, 32, 32)
    assert list(table["ac4dVolumeName"][:2]) == ["u234_b1_c001", "u234_b1_c002"]
    counts = np.bincount(assignments[assignments >= 0], minlength=len(table))
    assert np.array_equal(table["ac4dParticleCount"], counts)
    for row, image in enumerate(table["rlnReferenceImage"]):
        header = read_header(done / image)
        assert header.shape == (32, 32, 32)
        assert header.voxel_size == pytest.approx(5.0)
        density, _ = read_volume(done / image)
        inside = np.corrcoef(density.ravel(), volumes[row].ravel())[0, 1]
        assert inside > 0.8  # the same class, once from all shells, once as it was classified


def test_classes_are_the_true_states(done: Path, easy_data: Path) -> None:
    truth = np.load(easy_data / "truth.npy")
    assignments = np.load(done / files.ASSIGNMENTS_NPY)
    heldout = np.load(done / files.HELDOUT_NPY)
    table = np.zeros((assignments.max() + 1, 5), dtype=int)
    for column in assignments.T:
        used = column >= 0
        np.add.at(table, (column[used], truth[used]), 1)
    assert table.max(axis=1).sum() / table.sum() > 0.95
    assert (table.argmax(axis=1)[heldout] == truth).mean() > 0.95


def test_heldout_particles_are_judged_by_the_fold_that_never_saw_them(done: Path) -> None:
    table = read_tables(done / files.VOLUMES_STAR)["volumes"]
    groups, heldout = np.load(done / files.GROUPS_NPY), np.load(done / files.HELDOUT_NPY)
    assert np.array_equal(np.asarray(table["ac4dFold"])[heldout], groups[:, 1])
    assert np.array_equal(np.asarray(table["ac4dBatch"])[heldout], groups[:, 0])


def test_fold_tables_hold_input_rows_byte_for_byte(done: Path, easy_data: Path) -> None:
    source = set((easy_data / "particles.star").read_bytes().splitlines())
    for path in (done / "batch1" / "batch1.star", done / "batch2" / "union123.star"):
        rows = [line for line in path.read_bytes().splitlines() if b"@" in line]
        assert len(rows) == open_table(path).rows
        assert set(rows) <= source


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_whatever_the_threads(
    done: Path, easy_data: Path, tmp_path: Path
) -> None:
    run_resample(
        easy_data / "particles.star",
        tmp_path / "again",
        options=SPLIT,
        classify=CLASSIFY,
        seed=5,
        flags=RunFlags(threads=1),
    )
    for name in (files.ASSIGNMENTS_NPY, files.HELDOUT_NPY, files.VOLUMES_NPY):
        assert (tmp_path / "again" / name).read_bytes() == (done / name).read_bytes()


def test_small_classes_are_dropped(done: Path, caplog: pytest.LogCaptureFixture) -> None:
    groups = np.load(done / files.GROUPS_NPY)
    before = {
        name: (done / name).read_bytes()
        for name in (files.VOLUMES_STAR, files.VOLUMES_NPY, files.ASSIGNMENTS_NPY, "heldout.npy")
    }
    sizes = [
        item.particles
        for batch in (1, 2)
        for left_out in (1, 2, 3, 4)
        for item in read_fold(
            files.fold_folder(done, batch, left_out, 4),
            8,
            particles=int(((groups[:, 0] == batch) & (groups[:, 1] != left_out)).sum()),
        ).classes
    ]
    limit = sorted(sizes)[len(sizes) // 2]
    try:
        gather_folds(done, groups, folds=4, iteration=8, minimum_class_size=limit, box=16)
        kept = np.load(done / files.VOLUMES_NPY)
        assignments = np.load(done / files.ASSIGNMENTS_NPY)
        assert len(kept) == sum(size >= limit for size in sizes)
        assert kept.shape[1:] == (16, 16, 16)
        dropped = sum(size for size in sizes if size < limit)
        assert (assignments == files.DROPPED).sum() == dropped
        assert np.bincount(assignments[assignments >= 0]).min() >= limit
        with pytest.raises(InputError, match="no class has 100000 particles"):
            gather_folds(done, groups, folds=4, iteration=8, minimum_class_size=100_000, box=16)
    finally:
        for name, content in before.items():
            (done / name).write_bytes(content)


@pytest.mark.slow
def test_a_time_limit_stops_between_folds_and_continue_finishes(
    done: Path, easy_data: Path, tmp_path: Path
) -> None:
    def run(flags: RunFlags) -> None:
        run_resample(
            easy_data / "particles.star",
            tmp_path / "cut",
            options=SPLIT,
            classify=CLASSIFY,
            seed=5,
            flags=flags,
        )

    with pytest.raises(TimeLimitReached):
        run(RunFlags(deadline=Deadline(0)))
    assert read_job(tmp_path / "cut")["status"] == "stopped"
    run(RunFlags(resume=True))
    name = files.ASSIGNMENTS_NPY
    assert (tmp_path / "cut" / name).read_bytes() == (done / name).read_bytes()


def test_one_classification_of_one_table(easy_data: Path, tmp_path: Path) -> None:
    table = easy_data / "particles.star"
    options = ClassifyOptions(classes="2x2", components=4, iterations=4)
    run_classify(
        table,
        tmp_path / "class3d",
        options=ResampleOptions(),
        classify=options,
        relion=_no_relion(),
    )
    data = open_table(tmp_path / "class3d" / "run_it004_data.star")
    assert data.rows == 800
    numbers = np.unique(data.read(["rlnClassNumber"])["rlnClassNumber"])
    assert set(numbers) <= {1, 2, 3, 4}
    result = read_fold(tmp_path / "class3d", 4, particles=800)
    assert [(item.number, item.parent) for item in result.classes] == [
        (number, 1 + (number - 1) // 2) for number in numbers
    ]
    run_classify(
        table,
        tmp_path / "class3d",
        options=ResampleOptions(),
        classify=ClassifyOptions(classes="2", components=2, iterations=2),
        relion=_no_relion(),
    )
    assert [path.name for path in (tmp_path / "class3d").glob("*_data.star")] == [
        "run_it002_data.star"
    ]


def _no_relion() -> object:
    return RelionOptions()


def classify(table: Path, output: Path, count: int, **changes: object) -> None:
    run_classify(
        table, output, options=ResampleOptions(), relion=_no_relion(),
        classify=ClassifyOptions(classes=f"{count}", **changes),
    )  # fmt: skip


def components(table: Path, output: Path, count: int, mask: Path | None = None) -> None:
    wanted = ClassifyOptions(components=count)
    run_components(table, output, classify=wanted, relion=RelionOptions(mask=mask))


def consensus(table: Path, output: Path, count: int) -> None:
    wanted = ConsensusOptions(engine="native", iterations=count)
    run_consensus(table, output, consensus=wanted, relion=_no_relion())


@pytest.mark.parametrize(
    ("command", "step", "checkpoint"),
    [
        (classify, "steps_stage.make_engine", "checkpoint.npz"),
        (components, "components_stage.prepare_rows", "checkpoint.npz"),
        (consensus, "consensus_stage.align_natively", ".consensus.npz"),
    ],
)
def test_a_checkpoint_of_other_options_is_none_to_go_on_from(
    easy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command, step, checkpoint
) -> None:
    found = []

    def begin(*_: object, **__: object) -> None:
        found.append((tmp_path / checkpoint).exists())
        (tmp_path / checkpoint).touch()
        raise TimeLimitReached("over")

    monkeypatch.setattr(f"alphacryo4d.resample.{step}", begin)
    for count in (4, 4, 5, 5):
        with pytest.raises(TimeLimitReached):
            command(easy_data / "particles.star", tmp_path, count)
    assert found == [False, True, False, True]
    assert any(path.suffix == ".mrcs" for path in recorded_inputs(tmp_path))


def test_runs_of_relion_of_another_table_are_not_taken(
    easy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("relion/particles.star", "relion/run.json", "relion/class001/run.json", "relion/mine")

    def begin(*_: object, **__: object) -> None:
        found.append([name for name in names if (tmp_path / name).is_file()])
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        raise TimeLimitReached("over")

    found: list[list[str]] = []
    monkeypatch.setattr("alphacryo4d.resample.steps_stage.make_engine", begin)
    for count in (4, 4, 5):
        with pytest.raises(TimeLimitReached):
            classify(easy_data / "particles.star", tmp_path, count)
    assert found == [[], list(names), ["relion/mine"]]


def test_the_mask_of_components_is_on_record(
    easy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object, **__: object) -> None:
        raise TimeLimitReached("over")

    monkeypatch.setattr("alphacryo4d.resample.components_stage.prepare_rows", begin)
    mask = write_volume(tmp_path / "mask.mrc", np.ones((32, 32, 32), np.float32), 5.0)
    with pytest.raises(TimeLimitReached):
        components(easy_data / "particles.star", tmp_path / "o", 4, mask)
    assert mask in recorded_inputs(tmp_path / "o")


def test_one_classification_has_the_voxels_asked_for(
    easy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = []

    def begin(_: str, particles, *__: object, **___: object) -> None:
        grids.append(particles.grid)
        raise TimeLimitReached("over")

    monkeypatch.setattr("alphacryo4d.resample.steps_stage.make_engine", begin)
    with pytest.raises(TimeLimitReached):
        classify(easy_data / "particles.star", tmp_path, 4, voxel_size=10.0)
    assert grids == [(16, 10.0)]


def test_split_and_shuffle_write_tables(easy_data: Path, tmp_path: Path) -> None:
    table = easy_data / "particles.star"
    run_split(table, tmp_path / "split", options=ResampleOptions(folds=5, batch_size=500))
    tables = sorted(path.name for path in (tmp_path / "split" / "batch2").iterdir())
    assert tables == ["batch2.star", *sorted(f"union{digits}.star" for digits in
                      ("12345", "12346", "12356", "12456", "13456", "23456"))]  # fmt: skip
    run_shuffle(table, tmp_path / "shuffle", options=ResampleOptions())
    parts = [open_table(tmp_path / "shuffle" / f"sub{group}.star").rows for group in (1, 2, 3, 4)]
    assert parts == [200] * 4
    assert open_table(tmp_path / "shuffle" / "union123.star").rows == 600
