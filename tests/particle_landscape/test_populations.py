"""Populations of overlapping states."""

import numpy as np

from alphacryo4d.particle_landscape.populations import (
    placed_populations,
    state_populations,
    voted_populations,
)


def test_populations_of_overlapping_states_are_those_that_they_were_drawn_from():
    rng = np.random.default_rng(0)
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    labels = rng.choice(4, 20_000, p=truth)
    places = np.arange(4.0)
    measured = places[labels] + 0.8 * rng.standard_normal(len(labels))
    logs = -0.5 * ((measured[:, None] - places) / 0.8) ** 2 + rng.standard_normal((20_000, 1))
    populations, error = state_populations(logs, rng.integers(1, 5, 20_000))
    voted = np.bincount(logs.argmax(axis=1), minlength=4) / 20_000
    assert populations.sum() == 1 or abs(populations.sum() - 1) < 1e-9
    assert (np.abs(populations - truth) < 5 * np.maximum(error, 0.004)).all()
    assert np.abs(populations - truth).max() < 0.5 * np.abs(voted - truth).max()
    assert (error > 0).all()
    assert (error < 0.05).all()


def test_copies_of_images_make_no_error_smaller():
    rng = np.random.default_rng(3)
    seen, information, votes = chain(rng, np.full(3, 1 / 3), 3.0)
    logs, groups = -0.5 * (seen - np.array([0.0, 3.0, 6.0])) ** 2, rng.integers(1, 5, len(votes))
    twice = np.concatenate([np.arange(len(votes))] * 2)
    one, two = (
        state_populations(logs, groups),
        state_populations(logs[twice], groups[twice], twice),
    )
    np.testing.assert_allclose(two, one, rtol=1e-5)
    one = placed_populations(seen, information, votes, groups, 3)
    copied = (seen[twice], information[twice], votes[twice], groups[twice], 3, twice)
    np.testing.assert_allclose(placed_populations(*copied), one, rtol=1e-5)


def test_votes_are_shares_of_the_particles_that_have_a_state():
    np.testing.assert_allclose(voted_populations(np.array([0, 1, 1, 3]), 3), [2 / 3, 0, 1 / 3])
    np.testing.assert_array_equal(voted_populations(np.array([0, 0]), 2), [0, 0])


def chain(rng, truth, apart):
    """Particles of states in a row, seen with an error of 1, and votes, many for a neighbour."""
    labels = rng.choice(len(truth), 12_000, p=truth)
    seen = apart * labels + rng.standard_normal(len(labels))
    astray = rng.choice([-1, 0, 1], len(seen), p=[0.2, 0.6, 0.2])
    votes = np.clip(np.rint(seen / apart) + astray, 0, len(truth) - 1).astype(int) + 1
    return seen[:, None], np.ones((len(seen), 1, 1)), votes


def test_states_at_the_ends_take_no_particles_from_their_neighbours():
    """Centres of votes lie inward at the ends; with these held fast the populations are wrong."""
    rng = np.random.default_rng(1)
    truth = np.array([0.15, 0.25, 0.2, 0.25, 0.15])
    seen, information, votes = chain(rng, truth, 2.5)
    groups = rng.integers(1, 5, len(votes))
    populations, error = placed_populations(seen, information, votes, groups, 5)
    assert abs(populations.sum() - 1) < 1e-9
    assert (np.abs(populations - truth) < 3 * error).all()
    assert (error < 0.03).all()
    centres = np.array([seen[votes == k, 0].mean() for k in range(1, 6)])
    held, _ = state_populations(-0.5 * (seen - centres) ** 2, groups)
    assert np.abs(populations - truth).max() < np.abs(held - truth).max()


def test_states_that_cannot_be_placed_are_left_as_they_are():
    rng = np.random.default_rng(2)
    seen, information, votes = chain(rng, np.full(3, 1 / 3), 3.0)
    groups = rng.integers(1, 4, len(votes))
    assert placed_populations(seen, information, votes, groups, 4) is None
    astray = np.where(seen[:, 0] < 4.5, 1 + (seen[:, 0] < -1.5), 3)
    assert placed_populations(seen, information, astray, groups, 3) is None
