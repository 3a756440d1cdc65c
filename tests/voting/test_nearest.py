"""Distance-based assignment against brute force over the copies."""

import numpy as np
import pytest

from alphacryo4d.voting.nearest import assign_nearest


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    points = rng.uniform(0, 10, (40, 2))
    centers = rng.uniform(0, 10, (5, 2))
    assignments = rng.integers(0, 40, (500, 4)).astype(np.int32)
    assignments[rng.random(assignments.shape) < 0.1] = -2
    assignments[np.arange(500), rng.integers(0, 4, 500)] = -1
    return assignments, points, centers


def by_hand(assignments, points, centers, cutoff):
    states = []
    for row in assignments:
        best, state = np.inf, 0
        for volume in row[row >= 0]:
            for k, center in enumerate(centers, 1):
                distance = np.hypot(*(points[volume] - center))
                if distance < best:
                    best, state = distance, k
        states.append(state if best <= cutoff else 0)
    return states


@pytest.mark.parametrize("cutoff", [None, 1.0, 0.2])
def test_states_equal_brute_force(data, cutoff):
    assignments, points, centers = data
    out = np.empty((500, 5), np.uint8)
    election = assign_nearest(assignments, points, centers, cutoff=cutoff, out=out)
    expected = by_hand(assignments, points, centers, np.inf if cutoff is None else cutoff)
    np.testing.assert_array_equal(election.states, expected)


def test_confidence_is_the_share_of_copies_that_agree(data):
    assignments, points, centers = data
    out = np.empty((500, 5), np.uint8)
    election = assign_nearest(assignments, points, centers, out=out)
    kept = election.states > 0
    own = out[np.flatnonzero(kept), election.states[kept] - 1]
    np.testing.assert_allclose(election.confidence[kept], own / 3)
    assert (own >= 1).all()


def test_a_particle_whose_classes_were_all_dropped_has_no_state():
    out = np.empty((1, 1), np.uint8)
    assignments = np.array([[-2, -1, -2, -2]], np.int32)
    election = assign_nearest(assignments, np.zeros((1, 2)), np.zeros((1, 2)), out=out)
    assert election.states[0] == 0
