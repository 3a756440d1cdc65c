import numpy as np
import pytest

from alphacryo4d.assessment.score import (
    keep_most_certain,
    perfect_votes,
    score_classes,
    volume_labels,
)
from alphacryo4d.core.errors import InputError


def test_the_class_of_a_state_is_the_largest_among_those_labelled_with_it():
    truth = np.repeat([1, 2], [100, 100])
    labels = np.concatenate([np.repeat([5, 6, 7], [60, 30, 10]), np.repeat([7, 5], [80, 20])])
    score = score_classes(labels, truth)
    assert score.classes.tolist() == [5, 7]
    np.testing.assert_allclose(score.precision, [60 / 80, 80 / 90])
    np.testing.assert_allclose(score.recall, [0.6, 0.8])
    assert (score.states_found, score.kept) == (2, 1.0)


def test_a_state_without_class_counts_as_zero():
    truth = np.repeat([1, 2, 3], [50, 50, 10])
    labels = np.repeat([1, 2, 2], [50, 50, 10])
    score = score_classes(labels, truth)
    assert score.states_found == 2
    assert score.mean_precision == pytest.approx((1 + 50 / 60 + 0) / 3)
    assert score.mean_recall == pytest.approx(2 / 3)


def test_less_than_a_tenth_of_a_state_is_not_found():
    truth = np.repeat([1, 2], [100, 100])
    labels = np.zeros(200, int)
    labels[:9], labels[100:110] = 1, 2
    score = score_classes(labels, truth)
    assert score.found.tolist() == [False, True]
    assert score.precision.tolist() == [0, 1]
    assert score.recall.tolist() == [0, 0.1]
    assert score.kept == pytest.approx(19 / 200)


def test_voted_out_particles_lower_recall_and_not_precision():
    truth = np.repeat([1, 2], [100, 100])
    labels = truth.copy()
    labels[::2] = 0
    score = score_classes(labels, truth)
    assert (score.mean_precision, score.mean_recall, score.kept) == (1.0, 0.5, 0.5)


def test_nothing_kept_scores_zero():
    score = score_classes(np.zeros(10, int), np.repeat([1, 2], 5))
    assert (score.mean_precision, score.states_found, score.kept) == (0.0, 0, 0.0)


def test_scores_agree_with_counting_by_hand():
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, 3000)
    labels = np.where(rng.random(3000) < 0.6, truth, rng.integers(0, 8, 3000))
    score = score_classes(labels, truth)
    for k, state in enumerate(range(1, 6)):
        best = (0, 0.0, 0.0)
        for number in range(1, 8):
            members = truth[labels == number]
            sizes = [(members == other).sum() for other in range(1, 6)]
            if len(members) and np.argmax(sizes) + 1 == state:
                hits = (members == state).sum()
                best = max(best, (hits, hits / len(members), hits / (truth == state).sum()))
        found = best[2] >= 0.1
        assert score.precision[k] == pytest.approx(best[1] if found else 0)
        assert score.recall[k] == pytest.approx(best[2] if found else 0)


def test_other_numbers_of_particles_are_refused():
    with pytest.raises(InputError, match="same|both"):
        score_classes(np.ones(3, int), np.ones(4, int))


def test_precision_of_volumes_is_weighted_by_particles():
    truth = np.array([1, 1, 1, 2, 2, 2])
    assignments = np.array([[0, -1], [0, 2], [-1, 2], [0, 3], [1, 3], [-2, 3]])
    labels, precision = volume_labels(assignments, truth)
    assert labels.tolist() == [1, 2, 1, 2]
    assert precision == pytest.approx((2 + 1 + 2 + 3) / 9)


def test_votes_with_true_labels_need_more_than_half():
    truth = np.array([1, 1, 2, 2])
    assignments = np.array([[0, 2, 4, -1], [0, 3, -1, 6], [1, 3, 5, -1], [-1, 3, 5, -2]])
    assert volume_labels(assignments, truth)[0].tolist() == [1, 2, 1, 2, 1, 2, 1]
    assert perfect_votes(assignments, truth).tolist() == [1, 1, 2, 2]
    assert perfect_votes(np.array([[0, -2, -2, -1]]), np.array([1])).tolist() == [0]


def test_the_least_certain_particles_go_first():
    labels = np.array([3, 1, 2, 1])
    assert keep_most_certain(labels, [0.9, 0.2, 0.5, 0.4], 0.5).tolist() == [3, 0, 2, 0]
