"""The likelihood test on cases that can be computed by hand."""

import numpy as np
import pytest

from alphacryo4d.voting.losses import Losses, by_image, mean_and_error
from alphacryo4d.voting.report import add_support
from alphacryo4d.voting.support import measure_support


def mixture(points, centers, weights):
    """Evidence and posteriors of 1D normals of unit width."""
    logs = -0.5 * (points[:, None] - centers[None]) ** 2 + np.log(weights)
    top = logs.max(axis=1, keepdims=True)
    total = np.exp(logs - top).sum(axis=1, keepdims=True)
    return (top + np.log(total))[:, 0], np.exp(logs - top) / total


def test_merging_a_state_equals_the_smaller_mixture():
    points = np.random.default_rng(0).normal(0, 2, 1000)
    centers, weights = np.array([-2.0, 0.5, 3.0]), np.array([0.5, 0.3, 0.2])
    evidence, posteriors = mixture(points, centers, weights)
    fewer, _ = mixture(points, centers[:2], np.array([0.5, 0.5]))
    support = measure_support(evidence, np.zeros(1000), posteriors, weights)
    assert support.partner[2] == 1
    assert np.isclose(support.state_gain[2], (evidence - fewer).mean())


def test_a_copy_of_a_state_is_not_supported():
    rng = np.random.default_rng(2)
    points = rng.choice([-1.0, 1.0], 5000) + rng.standard_normal(5000)
    weights = np.array([0.25, 0.25, 0.5])
    evidence, posteriors = mixture(points, np.array([-1.0, -1.0, 1.0]), weights)
    support = measure_support(evidence, -0.5 * points**2, posteriors, weights)
    assert support.supported.tolist() == [False, False, True]
    assert support.partner[:2].tolist() == [1, 0]


def test_two_populations_are_found_and_one_is_not():
    rng = np.random.default_rng(1)
    centers, weights = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    for points, real in (
        (rng.choice(centers, 5000) + rng.standard_normal(5000), True),
        (rng.standard_normal(5000), False),
    ):
        evidence, posteriors = mixture(points, centers, weights)
        consensus = -0.5 * points**2
        support = measure_support(evidence, consensus, posteriors, weights)
        assert support.real is real
        assert support.supported.tolist() == [real, real]


def test_losses_of_merging_are_means_over_the_particles():
    rng = np.random.default_rng(0)
    lost = rng.uniform(1, 2, (500, 3, 3))
    sums, squares = lost.sum(axis=0), np.square(lost).sum(axis=0)
    losses = Losses.of(sums, squares, 500)
    losses.tested[0, 2] = losses.tested[2, 0] = 0
    evidence = rng.normal(size=500)
    support = measure_support(
        evidence, evidence - 1, np.full((500, 3), 1 / 3), np.ones(3), losses=losses
    )
    figures = support.merging_figures()
    assert figures["merging_loss"][0][1] == pytest.approx(lost[:, 0, 1].mean(), abs=1e-6)
    error = lost[:, 1, 2].std() / np.sqrt(500)
    assert figures["merging_loss_error"][1][2] == pytest.approx(error, abs=1e-6)
    assert figures["merging_loss"][0][2] is None
    assert figures["merging_loss"][1][1] is None
    assert support.state_gain[0] == pytest.approx(figures["merging_loss"][0][1], abs=1e-6)


def test_a_state_that_no_fold_has_beside_another_is_not_tested():
    rng = np.random.default_rng(0)
    lost = rng.uniform(1, 2, (500, 3, 3))
    sums, squares = lost.sum(axis=0), np.square(lost).sum(axis=0)
    losses = Losses.of(sums, squares, 500)
    losses.tested[2] = losses.tested[:, 2] = 0
    evidence = rng.normal(size=500)
    support = measure_support(
        evidence, evidence - 1, np.full((500, 3), 1 / 3), np.ones(3), losses=losses
    )
    assert np.isnan(support.state_gain).tolist() == [False, False, True]
    report = {"per_state": [{"state": k} for k in (1, 2, 3)], "particles": 500}
    add_support(report, support)
    assert [one.get("supported") for one in report["per_state"]] == [True, True, None]
    assert "Not supported" not in report["verdict"]


def test_a_pair_of_states_is_judged_by_the_particles_it_was_tested_on():
    """States 0 and 1 in four folds of 1,000, state 2 in one of them: 0.1 nats and 0.3 nats."""
    lost = np.where(np.add.outer(np.arange(3), np.arange(3)) >= 2, 0.3, 0.1)
    losses = Losses.none(3)
    for fold in range(4):
        present = np.arange(3 if fold == 0 else 2)
        pairs = np.ix_(present, present)
        losses.add((1000 * lost[pairs], 1000 * 2 * lost[pairs] ** 2), present, 1000)
    evidence = np.random.default_rng(0).normal(size=4000)
    support = measure_support(
        evidence, evidence - 1, np.full((4000, 3), 1 / 3), np.ones(3), losses=losses
    )
    assert support.partner[:2].tolist() == [1, 0]
    np.testing.assert_allclose(support.state_gain, [0.1, 0.1, 0.3])
    np.testing.assert_allclose(
        support.state_error, [0.1 / 4000**0.5, 0.1 / 4000**0.5, 0.3 / 1000**0.5]
    )
    np.testing.assert_array_equal(support.tested, [4000, 4000, 1000])
    few = Losses(
        losses.sums / 40, losses.squares / 40, losses.tested / 40, losses.images / 40
    )  # state 2: 7.5 nats
    support = measure_support(
        evidence[:100], evidence[:100] - 1, np.full((100, 3), 1 / 3), np.ones(3), losses=few
    )
    assert not support.supported[2]


def test_copies_of_an_image_are_no_further_evidence():
    """Every image three times, in any order: gains and errors are those of the images alone."""
    rng = np.random.default_rng(3)
    points = rng.choice([-1.0, 1.0], 400) + rng.standard_normal(400)
    centers, weights = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    lost = rng.normal(
        0.06, 0.3, (400, 2, 2)
    )  # 24 nats of 400 images: one state too many is in doubt
    order = rng.permutation(1200)
    images = np.tile(np.arange(400), 3)[order]

    def tested(points, lost, copies):
        evidence, posteriors = mixture(points, centers, weights)
        losses, squares = Losses.none(2), np.square(by_image(lost, copies)).sum(axis=0)
        losses.add((lost.sum(axis=0), squares), np.arange(2), len(points), copies)
        figures = evidence, -0.5 * points**2, posteriors, weights
        return [
            measure_support(*figures, losses=losses, images=copies),
            measure_support(*figures, images=copies),
        ]

    alone = tested(points, lost, None)
    thrice = tested(np.tile(points, 3)[order], np.tile(lost, (3, 1, 1))[order], images)
    for one, three in zip(alone, thrice, strict=True):
        assert (three.particles, three.independent) == (1200, 400)
        assert three.error == pytest.approx(one.error)
        np.testing.assert_allclose(three.state_gain, one.state_gain)
        np.testing.assert_allclose(three.state_error, one.state_error)
        np.testing.assert_array_equal(three.supported, one.supported)
        assert three.real == one.real
    few = measure_support(np.full(30, 1.0), np.zeros(30), np.ones((30, 1)), np.ones(1))
    assert few.real  # 30 nats of 30 images; the same of 10 images, three times each, are 10
    seen = np.repeat(np.arange(10), 3)
    copied = (np.full(30, 1.0), np.zeros(30), np.ones((30, 1)), np.ones(1))
    assert not measure_support(*copied, images=seen).real
    values = rng.standard_normal(30)
    sums = np.array([values[seen == k].sum() for k in range(10)])
    np.testing.assert_allclose(by_image(values, seen), sums)
    assert mean_and_error(values, seen)[1] == pytest.approx(sums.std() * 10**0.5 / 30)
