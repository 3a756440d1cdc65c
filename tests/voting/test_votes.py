"""Votes against a count by hand, particle by particle."""

import math
from collections import Counter

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.voting.options import VoteOptions, votes_needed
from alphacryo4d.voting.votes import count_votes


def count_by_hand(assignments, volume_states, needed, folds):
    """States, top votes and entropy by the definition, with dictionaries."""
    states, tops, entropies = [], [], []
    for row in assignments:
        votes = [int(volume_states[v]) if v >= 0 else 0 for v in row if v != -1]
        assert len(votes) == folds
        counts = Counter(vote for vote in votes if vote > 0)
        top = max(counts.values(), default=0)
        leaders = [state for state, n in counts.items() if n == top]
        states.append(leaders[0] if top >= needed and len(leaders) == 1 else 0)
        tops.append(top)
        shares = [n / folds for n in Counter(votes).values()]
        entropies.append(-sum(p * math.log(p) for p in shares))
    return np.array(states), np.array(tops), np.array(entropies)


@pytest.fixture
def votes_of_many():
    rng = np.random.default_rng(3)

    def make(particles, folds, volumes, states):
        assignments = rng.integers(0, volumes, (particles, folds + 1)).astype(np.int32)
        assignments[rng.random(assignments.shape) < 0.05] = -2
        assignments[np.arange(particles), rng.integers(0, folds + 1, particles)] = -1
        return assignments, rng.integers(0, states + 1, volumes).astype(np.int32)

    return make


@pytest.mark.parametrize(("folds", "needed"), [(3, 2), (3, 1), (3, 3), (7, 4), (7, 2), (5, 3)])
def test_counts_equal_a_count_by_hand(votes_of_many, folds, needed):
    assignments, volume_states = votes_of_many(2000, folds, 30, 4)
    out = np.empty((2000, 4), np.uint8)
    election = count_votes(assignments, volume_states, 4, needed=needed, out=out)
    states, tops, entropies = count_by_hand(assignments, volume_states, needed, folds)
    np.testing.assert_array_equal(election.states, states)
    np.testing.assert_array_equal(election.votes, tops)
    np.testing.assert_allclose(election.confidence, tops / folds, rtol=1e-6)
    np.testing.assert_allclose(election.entropy, entropies, atol=1e-6)
    assert out.sum(axis=1).max() <= folds


def test_blocks_do_not_change_the_counts(votes_of_many, monkeypatch):
    assignments, volume_states = votes_of_many(1000, 3, 30, 4)
    whole, parts = np.empty((1000, 4), np.uint8), np.empty((1000, 4), np.uint8)
    one = count_votes(assignments, volume_states, 4, needed=2, out=whole)
    monkeypatch.setattr("alphacryo4d.voting.votes.blocks.__defaults__", (37,))
    many = count_votes(assignments, volume_states, 4, needed=2, out=parts)
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(one.states, many.states)
    np.testing.assert_array_equal(one.entropy, many.entropy)


def test_a_tie_is_voted_out():
    assignments = np.array([[0, 1, -2, -1]], np.int32)
    out = np.empty((1, 2), np.uint8)
    election = count_votes(assignments, np.array([1, 2]), 2, needed=1, out=out)
    assert election.states[0] == 0
    assert election.votes[0] == 1


def test_dropped_and_outside_volumes_cast_empty_votes():
    assignments = np.array([[0, -2, 1, -1]], np.int32)
    out = np.empty((1, 1), np.uint8)
    election = count_votes(assignments, np.array([1, 0]), 1, needed=2, out=out)
    assert out[0, 0] == 1
    assert election.states[0] == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [([0, 0, 0, 0], "left out"), ([0, -1, -1, 0], "left out"), ([0, 9, -1, 0], "does not exist")],
)
def test_faulty_assignments_are_refused_with_their_row(row, message):
    assignments = np.array([[0, 0, 0, -1], row], np.int32)
    with pytest.raises(InputError, match=f"particle 2.*{message}"):
        count_votes(assignments, np.array([1]), 1, needed=2, out=np.empty((2, 1), np.uint8))


@pytest.mark.parametrize(
    ("text", "folds", "needed"),
    [("1/2", 3, 2), ("1/2", 4, 3), ("2/3", 3, 3), ("0.5", 7, 4), ("2/3", 7, 5), ("3", 3, 3),
     ("1", 3, 1), ("0", 3, None), ("0.0", 3, 1), ("4", 3, None), ("1.0", 3, None),
     ("x", 3, None), ("1/0", 3, None), ("nan", 3, None), ("-0.1", 3, None)],
)  # fmt: skip
def test_threshold(text, folds, needed):
    if needed is None:
        with pytest.raises(UsageError):
            votes_needed(text, folds)
    else:
        assert votes_needed(text, folds) == needed


def test_options_refuse_what_makes_no_sense():
    for wrong in ({"assign": "both"}, {"threshold": "2"[::-1] + "x"}, {"cutoff": -1.0}):
        with pytest.raises(UsageError):
            VoteOptions(**wrong)
