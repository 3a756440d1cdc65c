from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tables import make_images, modern_table

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.pipeline.options import DEMO
from alphacryo4d.pipeline.submit import submit_run
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.elements_stage import prepare_folds, run_element
from alphacryo4d.resample.options import ResampleOptions, analysis_box
from alphacryo4d.resample.plan_stage import ResamplePlan
from alphacryo4d.resample.subsets import (
    assign_groups,
    fold_rows,
    group_rows,
    require_classes,
    require_filled,
)


@given(
    particles=st.integers(20, 3000),
    batch_size=st.integers(15, 900),
    folds=st.sampled_from([3, 5, 7]),
)
def test_every_particle_is_in_exactly_m_folds(particles: int, batch_size: int, folds: int) -> None:
    groups = assign_groups(
        particles, batch_size=batch_size, folds=folds, rng=np.random.default_rng(1)
    )
    batches = -(-particles // batch_size)
    used = np.zeros(particles, dtype=int)
    for batch in range(1, batches + 1):
        for left_out in range(1, folds + 2):
            used[fold_rows(groups, batch, left_out)] += 1
    assert (used == folds).all()


@given(particles=st.integers(50, 3000), batch_size=st.integers(20, 900))
def test_batches_and_groups_are_equal_within_one(particles: int, batch_size: int) -> None:
    groups = assign_groups(particles, batch_size=batch_size, folds=3, rng=np.random.default_rng(2))
    batches = np.bincount(groups[:, 0])[1:]
    assert batches.max() <= batch_size
    assert np.ptp(batches) <= 1
    for batch in range(1, len(batches) + 1):
        sizes = [len(group_rows(groups, batch, group)) for group in range(1, 5)]
        assert max(sizes) - min(sizes) <= 1


def test_groups_are_random_and_reproducible() -> None:
    first, again, other = (
        assign_groups(1000, batch_size=10_000, folds=3, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert (first[:, 1] == other[:, 1]).mean() == pytest.approx(0.25, abs=0.06)


def test_too_few_particles_are_refused() -> None:
    with pytest.raises(InputError, match="3 particles cannot fill 4 groups"):
        assign_groups(3, batch_size=100, folds=3, rng=np.random.default_rng(0))


@pytest.mark.parametrize("folds", [0, 1, 2, 4])
def test_even_or_small_m_is_refused(folds: int) -> None:
    with pytest.raises(UsageError, match="odd and at least 3"):
        ResampleOptions(folds=folds)


def test_analysis_box_holds_the_resolution_with_a_margin() -> None:
    assert analysis_box("auto", 64, 2.625, 15.0) == 32  # the benchmark: 168 A box, 15 A data
    assert analysis_box("auto", 64, 2.625, 4.0) == 64
    assert analysis_box("full", 65, 2.625, 15.0) == 65
    assert analysis_box("40", 64, 2.625, 15.0) == 40
    with pytest.raises(UsageError, match="multiple of 4"):
        analysis_box("33", 64, 2.625, 15.0)


def test_more_classes_than_particles_can_fill_are_refused_with_the_most_that_fit() -> None:
    groups = assign_groups(480, batch_size=1000, folds=3, rng=np.random.default_rng(0))
    require_filled(groups, (18,), 20)
    with pytest.raises(InputError, match="360 particles.*cannot fill 40 classes.*at most 18 fit"):
        require_filled(groups, (5, 8), 20)
    require_classes(40, (5, 8), 1)
    with pytest.raises(InputError, match="at most 39 fit"):
        require_classes(39, (5, 8), 1)


def test_folds_of_a_job_array_are_refused_before_any_is_submitted(tmp_path: Path) -> None:
    make_images(tmp_path / "a.mrcs", 80)
    names = [f"{number}@{tmp_path}/a.mrcs" for number in range(1, 81)]
    table = modern_table(tmp_path / "p.star", names)

    def wanted(classes: int) -> list[int]:
        options = ResampleOptions(), ClassifyOptions(classes=classes), RelionOptions()
        return prepare_folds(table, tmp_path / "out", ResamplePlan(*options, seed=0))

    with pytest.raises(InputError, match="60 particles.*cannot fill 4 classes.*at most 3 fit"):
        wanted(4)
    assert wanted(3) == [0, 1, 2, 3]
    too_many = replace(DEMO, classify=ClassifyOptions(classes=4))
    with pytest.raises(InputError, match="60 particles.*at most 3 fit"):
        submit_run(
            table, tmp_path / "project", too_many, ClusterOptions(), seed=0, words=["run"],
            dry_run=True,
        )  # fmt: skip
    assert not (tmp_path / "project").exists()


def test_folds_of_a_job_array_take_what_was_decided_when_they_were_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path / "a.mrcs", 80)
    names = [f"{number}@{tmp_path}/a.mrcs" for number in range(1, 81)]
    table, folder = modern_table(tmp_path / "p.star", names), tmp_path / "out"
    plan = ResamplePlan(ResampleOptions(), ClassifyOptions(classes=2), RelionOptions(), seed=0)

    class Taken(Exception):
        pass

    def take(engine: str, particles: object, plan: ResamplePlan, **_: object) -> None:
        raise Taken(plan.classify.normalise)

    monkeypatch.setattr("alphacryo4d.resample.elements_stage.make_engine", take)
    monkeypatch.setattr("alphacryo4d.particles.views.fitting", lambda *_: "micrograph")
    assert prepare_folds(table, folder, plan) == [0, 1, 2, 3]
    monkeypatch.setattr("alphacryo4d.particles.views.fitting", lambda *_: "deviation")
    with pytest.raises(Taken, match="micrograph"):
        run_element(table, folder, plan, 1)
    assert prepare_folds(table, folder, plan) == [0, 1, 2, 3]
    with pytest.raises(Taken, match="micrograph"):
        run_element(table, folder, plan, 1)
