"""States that merge and split: synthetic likelihoods whose states are known."""

import numpy as np
import pytest

from alphacryo4d.reclassify.changing import SplitGain, apply_changes, plan_changes
from alphacryo4d.reclassify.splitting import (
    Latent,
    matched_sides,
    split_state,
    try_splits,
    without_scatter,
)
from alphacryo4d.voting.support import Support

Q = 3


def particles(rng, points, count, strength=4.0):
    """Particles drawn at points (K, q), each with a precision of its own; and their points."""
    labels = rng.integers(0, len(points), count)
    roots = rng.standard_normal((count, Q, Q))
    curvature = strength * roots @ roots.transpose(0, 2, 1) / Q + 0.2 * np.eye(Q)
    noise = np.linalg.cholesky(curvature) @ rng.standard_normal((count, Q, 1))
    slope = np.einsum("nij,nj->ni", curvature, points[labels]) + noise[..., 0]
    return Latent(slope, curvature), labels


def test_likelihoods_without_scatter_are_those_of_a_sample():
    rng = np.random.default_rng(0)
    latent, _ = particles(rng, np.zeros((1, Q)), 1)
    root = rng.standard_normal((Q, Q))
    scatter = 0.3 * root @ root.T
    without = without_scatter(latent.slope, latent.curvature, scatter)
    drawn = np.linalg.cholesky(scatter) @ rng.standard_normal((Q, 300_000))
    points = np.array([[0.0, 0, 0], [1.0, -0.5, 0.3]])
    expected = [np.log(np.exp(latent.of(point + drawn.T)).mean()) for point in points]
    np.testing.assert_allclose(np.diff(without.of(points)[0]), np.diff(expected), atol=0.01)


def test_a_state_that_holds_two_is_cut_between_them():
    rng = np.random.default_rng(1)
    points = np.array([[1.0, 0.5, 0.0], [-1.0, -0.5, 0.2]])
    latent, labels = particles(rng, points, 2000)
    split = split_state(latent, points.mean(axis=0), np.ones(2000))
    order = np.argsort(-split.points[:, 0])
    np.testing.assert_allclose(split.points[order], points, atol=0.15)
    right = (split.sides(latent) > 0) == (labels == order[1])
    assert max(right.mean(), 1 - right.mean()) > 0.85


@pytest.mark.parametrize(("apart", "wanted"), [(1.0, True), (0.0, False)])
def test_left_out_particles_ask_for_a_split_only_where_there_are_two(apart, wanted):
    rng = np.random.default_rng(2)
    points = np.array([[apart, 0, 0], [-apart, 0, 0]])
    fold, _ = particles(rng, points, 1500)
    left, _ = particles(rng, points, 500)
    whole = points.mean(axis=0, keepdims=True)
    _, gains = try_splits(whole, np.ones((1500, 1)), fold, np.ones((500, 1)), left)
    assert SplitGain.of(gains, 500).supported[0] == wanted
    latent = Latent(np.tile(left.slope, (2, 1)), np.tile(left.curvature, (2, 1, 1)))
    copies = np.tile(np.arange(500), 2)
    _, twice = try_splits(whole, np.ones((1500, 1)), fold, np.ones((1000, 1)), latent, copies)
    one, two = SplitGain.of(gains, 500), SplitGain.of(twice, 1000, 500)
    np.testing.assert_allclose((two.gain, two.error), (one.gain, one.error))
    assert two.supported[0] == wanted


def test_halves_of_folds_are_matched_whatever_their_order():
    rng = np.random.default_rng(3)
    truth = rng.random(400) < 0.4
    sides = np.where(truth, 1.0, -1.0)[:, None] * np.array([1, -1, 1, -1])
    sides = sides + 0.8 * rng.standard_normal((400, 4))
    sides[np.arange(400), rng.integers(0, 4, 400)] = np.nan
    one = np.zeros(400, int)
    matched = matched_sides(sides, np.zeros((400, 4), int), one, one)
    right = (matched == truth).mean()
    assert max(right, 1 - right) > 0.9


def test_halves_of_every_state_and_batch_are_matched_on_their_own():
    """The signs of the folds differ from state to state and from batch to batch."""
    rng = np.random.default_rng(4)
    states, batches, truth = rng.integers(0, 3, 900), rng.integers(1, 3, 900), rng.random(900) < 0.5
    signs = rng.choice([-1.0, 1.0], (3, 3, 4))
    sides = np.where(truth, 1.0, -1.0)[:, None] * signs[states, batches] * 2
    labels = np.tile(states[:, None], 4)
    wrong = rng.random((900, 4)) < 0.1  # in another state in this fold, whose halves say nothing
    labels[wrong] = (labels[wrong] + 1) % 3
    sides[wrong] *= -1
    matched = matched_sides(sides, labels, states, batches)
    for state in range(3):
        for batch in (1, 2):
            mine = (states == state) & (batches == batch)
            right = (matched == truth)[mine].mean()
            assert max(right, 1 - right) > 0.99


def support_of(state_gain, partner):
    gain = np.array(state_gain)
    return Support(1.0, 0.01, gain, np.full(len(gain), 0.001), np.array(partner), 5000)


def gains_of(values):
    return SplitGain(np.array(values), np.full(len(values), 0.001), 5000)


def test_a_state_that_is_not_needed_is_merged_and_another_one_split():
    support = support_of([0.5, -0.01, 0.5, 0.5], [2, 0, 0, 0])
    gains = gains_of([0.9, 0.0, 0.0, 0.2])
    assert plan_changes(support, gains, merge=True, split_too=False).splitting.size == 0
    plan = plan_changes(support, gains, merge=True, split_too=True)
    np.testing.assert_array_equal(plan.leaving, [1])
    np.testing.assert_array_equal(plan.splitting, [3])  # state 0 gets new particles first
    states = np.array([1, 2, 3, 4, 4, 0, 2])
    second = np.array([True, True, True, True, False, True, False])
    changed, kept = apply_changes(plan, states, np.array([1, 2, 3, 4]), second)
    np.testing.assert_array_equal(kept, [1, 3, 4, 5])
    np.testing.assert_array_equal(changed, [1, 1, 2, 4, 3, 0, 1])
    # state 5 was merged away in a round before: its number does not come back
    _, kept = apply_changes(plan, states, np.array([1, 2, 3, 4]), second, used=5)
    np.testing.assert_array_equal(kept, [1, 3, 4, 6])


def test_all_supported_splits_are_made_where_they_are_asked_for():
    support = support_of([0.5, 0.5], [1, 0])
    split = gains_of([0.1, 0.0])
    plan = plan_changes(support, split, merge=False, split_too=True)
    np.testing.assert_array_equal(plan.splitting, [0])
    assert plan_changes(support, split, merge=True, split_too=False).nothing
    # without real states nothing is split
    noise = Support(-1.0, 0.01, support.state_gain, support.state_error, support.partner, 5000)
    assert plan_changes(noise, split, merge=True, split_too=True).nothing
