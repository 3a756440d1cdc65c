"""Populations of overlapping states."""

import numpy as np

from alphacryo4d.particle_landscape.populations import state_populations, voted_populations


def test_populations_of_overlapping_states_are_those_that_they_were_drawn_from():
    rng = np.random.default_rng(0)
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    labels = rng.choice(4, 20_000, p=truth)
    places = np.arange(4.0)
    measured = places[labels] + 0.8 * rng.standard_normal(len(labels))
    logs = -0.5 * ((measured[:, None] - places) / 0.8) ** 2 + rng.standard_normal((20_000, 1))
    found, error = state_populations(logs, rng.integers(1, 5, 20_000))
    voted = np.bincount(logs.argmax(axis=1), minlength=4) / 20_000
    assert found.sum() == 1 or abs(found.sum() - 1) < 1e-9
    assert (np.abs(found - truth) < 5 * np.maximum(error, 0.004)).all()
    assert np.abs(found - truth).max() < 0.5 * np.abs(voted - truth).max()
    assert (error > 0).all()
    assert (error < 0.05).all()


def test_votes_are_shares_of_the_particles_that_have_a_state():
    np.testing.assert_allclose(voted_populations(np.array([0, 1, 1, 3]), 3), [2 / 3, 0, 1 / 3])
    np.testing.assert_array_equal(voted_populations(np.array([0, 0]), 2), [0, 0])
