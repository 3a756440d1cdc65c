"""When rounds end: by the likelihood of the images where poses are free, else by the gain."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import simulated

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.core.errors import InputError
from alphacryo4d.reclassify import convergence_stage
from alphacryo4d.reclassify.convergence_stage import LEAST_RISE, _Past
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.reclassify.results_stage import FoldFit, Round
from alphacryo4d.reclassify.rounds_stage import Rounds
from alphacryo4d.reclassify.stage import run_reclassify


def made_up(mean, *, free):
    nothing = np.zeros(0)
    fits = {(1, fold): FoldFit(nothing, nothing, free and fold == 1, None) for fold in (0, 1)}
    likelihood = mean + np.tile([-1.0, 1.0], 200)
    return Round(*[nothing] * 5, likelihood, fits=fits)


def after_one(*, free, gain=5.0, changed=0.4, voted=300):
    past = _Past()
    first = made_up(0.0, free=free)
    assert past.objection(first, gain, changed, voted, 0.5) == ""
    past.take(first, gain, changed, voted)
    return past


@pytest.mark.parametrize(("rise", "stays", "settled"), [(-0.3, False, True), (0.4, True, False)])
def test_rounds_of_free_poses_go_on_while_images_get_more_likely(rise, stays, settled):
    past = after_one(free=True)
    assert not past.settled
    this_round = made_up(rise, free=True)
    # neither a smaller gain over the consensus nor many changes speak against it
    assert (past.objection(this_round, 4.0, 0.9, 300, 0.5) == "") == stays
    assert f"{rise:.3f}" in past.words
    if stays:
        past.take(this_round, 4.0, 0.9, 300)
        assert past.settled == settled
        assert past.objection(made_up(rise + LEAST_RISE / 2, free=True), 4.0, 0.1, 304, 0.5) == ""
        past.take(made_up(rise, free=True), 4.0, 0.1, 300)
        assert past.settled


def test_free_poses_are_good_enough_where_hardly_a_particle_changed():
    assert after_one(free=True, changed=0.006).settled
    assert not after_one(free=True, changed=0.02).settled


@pytest.mark.parametrize(
    ("gain", "voted", "rise", "stays"),
    [
        (6.0, 300, -0.05, True),
        (5.0, 300, -0.05, False),
        (6.0, 300, -0.15, False),
        (5.0, 302, -0.05, False),
        (5.0, 304, -0.05, True),
        (5.0, 304, -0.15, False),
    ],
)
def test_gain_or_agreement_count_where_the_likelihood_hardly_falls(gain, voted, rise, stays):
    this_round = made_up(rise, free=True)
    objection = after_one(free=True).objection(this_round, gain, 0.4, voted, 0.5)
    assert (objection == "") == stays


@pytest.mark.parametrize(
    ("gain", "changed", "why"),
    [(6.0, 0.3, ""), (5.0, 0.3, "no larger"), (6.0, 0.8, "drift")],
)
def test_rounds_of_measured_poses_go_on_while_states_gain(gain, changed, why):
    past = after_one(free=False)
    assert past.settled
    objection = past.objection(made_up(-9.0, free=False), gain, changed, 300, 0.5)
    assert why in objection
    assert bool(objection) == bool(why)
    assert past.rise is None


def test_states_that_merge_may_cost_a_little():
    past = after_one(free=True)
    plan = SimpleNamespace(price=0.5, splitting=np.zeros(0), leaving=np.zeros(1, int))
    past.expect(plan)
    assert past.objection(made_up(-0.3, free=True), 1.0, 0.9, 300, 0.5) == ""
    assert past.objection(made_up(-0.6, free=True), 1.0, 0.9, 300, 0.5) != ""


def test_fewer_states_may_be_as_likely():
    """With poses that were measured, fewer states stay unless images are less likely by it."""
    for rise, leaving, stays in ((0.0, 1, True), (0.0, 0, False), (-0.3, 1, False)):
        past = after_one(free=False)
        past.expect(SimpleNamespace(price=0.0, splitting=np.zeros(0), leaving=np.zeros(leaving)))
        objection = past.objection(made_up(rise, free=False), past.floor - 0.001, 0.1, 300, 0.5)
        assert (objection == "") == stays


def rounds_of(monkeypatch, voted, *, free):
    """States of rounds that vote so, instead of a classification; the rounds, and their inputs."""
    made = [made_up(float(k), free=free) for k in range(len(voted))]
    for one in made:
        one.support = SimpleNamespace(gain=5.0, error=0.1, real=True)
        one.split = SimpleNamespace()
    elections = [SimpleNamespace(states=states, kept=int((states > 0).sum())) for states in voted]
    rounds = SimpleNamespace(
        run_round=lambda turn, states, count: made[turn - 1], go_on_from=lambda this_round: None
    )
    plan = SimpleNamespace(nothing=True)
    monkeypatch.setattr(convergence_stage, "Rounds", lambda job, inputs: rounds)
    monkeypatch.setattr(convergence_stage, "elect", lambda *_: (None, elections.pop(0)))
    monkeypatch.setattr(convergence_stage, "plan_changes", lambda *_, **__: plan)
    groups, fit = np.ones((400, 2), int), SimpleNamespace(move=free)
    return made, SimpleNamespace(options=ReclassifyOptions(), groups=groups, fit=fit)


def test_the_last_round_says_how_many_particles_changed_and_how_many_may(monkeypatch):
    first = np.repeat([1, 2], 200)
    made, inputs = rounds_of(monkeypatch, [np.roll(first, 62)], free=False)
    best, _, log = convergence_stage.run_rounds(None, inputs, first)
    assert best is made[0]
    assert log[-1] == "round 1: 31.0% changed, not more than 50%: no further round"


def test_the_last_count_says_why_it_is_another_one(monkeypatch):
    """Its held-out folds weigh states by their particles; those of the rounds do not."""
    first = np.repeat([1, 2], 200)
    made, inputs = rounds_of(monkeypatch, [first], free=False)
    made[0].heldout, made[0].weighted = first - 1, np.where(np.arange(400) < 2, 1, first - 1)
    best, _, log = convergence_stage.run_rounds(None, inputs, first)
    assert log[-1].endswith("2 particles with another state in the fold that left it out")
    assert np.array_equal(best.heldout, best.weighted)


@pytest.mark.parametrize("second", [False, True])
def test_states_that_fall_together_are_no_result(monkeypatch, second):
    """In the first round this is said, in a later one the round before stays."""
    first = np.repeat([1, 2], 200)
    voted = [np.roll(first, 10), np.zeros(400, int)] if second else [np.zeros(400, int)]
    made, inputs = rounds_of(monkeypatch, voted, free=True)
    if not second:
        with pytest.raises(InputError, match=r"0 of 400.*--no-refine-poses"):
            convergence_stage.run_rounds(None, inputs, first)
        made, inputs = rounds_of(monkeypatch, voted, free=False)
        with pytest.raises(
            InputError, match=r"0 of 400.*poses of the table; votes of fewer states"
        ):
            convergence_stage.run_rounds(None, inputs, first)
        return
    best, kept, log = convergence_stage.run_rounds(None, inputs, first)
    assert best is made[0]
    assert kept.tolist() == [1, 2]
    assert "the round before stays" in log[-1]


def test_poses_of_a_consensus_get_a_second_round(tmp_path, caplog):
    """Eight states of a hinge from three seeds; the report says what the round was worth."""
    data = SimulateOptions(
        particles_per_state=80, box=32, pixel_size=6.5, snr=0.2, snr_box=32, poses="consensus"
    )
    run_simulate(["small-hinge"], tmp_path, options=data, seed=8)
    first = (np.load(tmp_path / "truth.npy") - 1) // 3 + 1
    rng = np.random.default_rng(2)
    simulated.write_project(tmp_path, tmp_path / "particles.star", first, rng)
    options = ReclassifyOptions(
        final_resolution=14.5, initial_resolution=18.0, reconstruct=False, split_merge=False
    )
    with caplog.at_level("INFO"):
        run_reclassify(tmp_path, tmp_path / "reclassify", options=options)
    assert "`alphacryo4d run --realign`" in caplog.text
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert sum("fitted to the images" in line for line in report["log"]) == 8
    assert any(line.startswith("round 2: held-out log-likelihood rose") for line in report["log"])
    assert report["support"]["states_supported"] is True


def test_folds_of_an_earlier_version_are_fitted_again(tmp_path):
    """They lack the volumes that the next round goes on from."""
    archive = tmp_path / "folds" / "round1_b1_f1.npz"
    archive.parent.mkdir()
    np.savez(archive, labels=[1])
    fitted = []

    def fold(*place):
        fitted.append(place[:2])
        return {"labels": np.array([2]), "cubes": np.zeros(3)}

    rounds = object.__new__(Rounds)
    rounds.job = SimpleNamespace(
        folder=tmp_path, completed=lambda name: True, complete=lambda name, paths: None
    )
    rounds._fold = fold
    for _ in range(2):
        kept = rounds._kept(1, 1, 0, None, 2, SimpleNamespace(one=nullcontext))
        assert kept["labels"].tolist() == [2]
        assert "cubes" not in kept
    assert fitted == [(1, 0)]
    assert "cubes" in np.load(archive)
