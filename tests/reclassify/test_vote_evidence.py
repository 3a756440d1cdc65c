"""Agreement, held-out agreement and batch bias against brute force and known cases."""

import numpy as np

from alphacryo4d.reclassify import evidence


def test_fold_agreement_equals_brute_force():
    rng = np.random.default_rng(2)
    assignments = rng.integers(0, 12, (300, 4)).astype(np.int32)
    assignments[np.arange(300), rng.integers(0, 4, 300)] = -1
    states = rng.integers(0, 4, 12).astype(np.int32)
    agreement = evidence.fold_agreement(assignments, states, 3)
    for k in range(3):
        for i in range(4):
            for j in range(4):
                rows = [
                    row for row in assignments
                    if row[i] >= 0 and row[j] != -1 and states[row[i]] == k + 1
                ]  # fmt: skip
                share = np.mean([row[j] >= 0 and states[row[j]] == k + 1 for row in rows])
                assert np.isclose(agreement[k, i, j], share)


def test_heldout_agreement_of_a_coin_is_chance():
    rng = np.random.default_rng(0)
    states = rng.integers(0, 4, 60_000)
    heldout = rng.integers(0, 6, 60_000)
    agreement, chance = evidence.heldout_agreement(states, heldout, np.array([1, 1, 1, 2, 2, 3]), 3)
    np.testing.assert_allclose(agreement, chance, atol=0.02)
    np.testing.assert_allclose(chance, [1 / 2, 1 / 3, 1 / 6], atol=0.01)


def test_heldout_agreement_of_a_truth_is_one():
    states = np.array([1, 2, 3, 0])
    agreement, _ = evidence.heldout_agreement(
        states, np.array([0, 1, 2, 0]), np.array([1, 2, 3]), 3
    )
    assert agreement.tolist() == [1, 1, 1]


def test_voted_out_share_counts_those_who_gave_a_vote():
    votes = np.array([[3, 0], [1, 1], [0, 2], [1, 0]], np.uint8)
    share = evidence.voted_out_share(votes, np.array([1, 0, 2, 0]))
    np.testing.assert_allclose(share, [2 / 3, 1 / 2])


def test_batch_bias_is_zero_for_equal_and_one_for_separate_batches():
    batches = np.repeat([1, 2], 100)
    equal = np.tile(np.repeat([1, 2], 50), 2)
    assert evidence.batch_bias(equal, batches, 2)[1] < 1e-12
    shares, cramer = evidence.batch_bias(batches, batches, 2)
    assert np.isclose(cramer, 1)
    np.testing.assert_allclose(shares, [[0, 1, 0], [0, 0, 1]])
