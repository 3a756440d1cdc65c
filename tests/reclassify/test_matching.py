"""Folds that number the same states their own way."""

import numpy as np
import pytest

from alphacryo4d.ml3d.mixture import LatentParticles
from alphacryo4d.ml3d.mixture_search import split_and_merge
from alphacryo4d.reclassify.changing import say_anew, say_moves
from alphacryo4d.reclassify.matching import coarse, match_by_volumes, match_folds
from alphacryo4d.reclassify.state_mixture import mixture_of_labels

K = 5


def fold_result(labels, numbers, rng):
    """Result of a fold that numbers state k ``numbers[k]``; its figures tell which state it is."""
    old = np.argsort(numbers)
    return {
        "labels": numbers[labels],
        "heldout": numbers[rng.integers(0, K, 10)],
        "posteriors": np.tile(old, (10, 1)).astype(float),
        "split_gains": np.tile(old, (2, 1)).astype(float),
        "lost": 10.0 * old[:, None] + old,
        "lost_squares": 100.0 * old[:, None] + old,
        "weights": old.astype(float),
        "volumes": np.tile(old[:, None, None, None], (1, 3, 3, 3)) + rng.normal(size=(K, 3, 3, 3)),
    }


def folds_of(truth, rng, error=0.2):
    rows, results, numbers = [], [], []
    for fold in range(4):
        mine = np.flatnonzero(np.arange(len(truth)) % 4 != fold)
        labels = np.where(rng.random(len(mine)) < error, rng.integers(0, K, len(mine)), truth[mine])
        rows.append(mine)
        numbers.append(rng.permutation(K))
        results.append(fold_result(labels, numbers[-1], rng))
    return rows, results, numbers


def test_states_of_all_folds_get_the_numbers_of_the_seeds():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, 800)
    rows, results, numbers = folds_of(truth, rng)
    seeds = np.where(rng.random(800) < 0.5, truth, -1)
    before = [result["heldout"].copy() for result in results]
    for fold, matched in enumerate(match_folds(results, rows, seeds)):
        assert (matched["labels"] == truth[rows[fold]]).mean() > 0.75
        np.testing.assert_array_equal(matched["weights"], np.arange(K))
        np.testing.assert_array_equal(matched["posteriors"][0], np.arange(K))
        np.testing.assert_array_equal(matched["split_gains"][1], np.arange(K))
        np.testing.assert_array_equal(matched["lost"], 10 * np.arange(K)[:, None] + np.arange(K))
        np.testing.assert_array_equal(numbers[fold][matched["heldout"]], before[fold])


def test_folds_are_alike_where_seeds_say_nothing_of_two_states():
    """Seeds have the states 0 and 1 as one, and 2 in two random parts."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, K, 1200)
    seeds = np.array([0, 0, 2, 3, 4])[truth]
    seeds[(truth == 2) & (rng.random(1200) < 0.5)] = 1
    rows, results, _ = folds_of(truth, rng)
    first, *others = match_folds(results, rows, seeds)
    for other in others:
        np.testing.assert_array_equal(other["weights"], first["weights"])
    assert set(first["weights"][3:]) == {3, 4}


def test_states_of_another_batch_are_matched_by_their_volumes():
    rng = np.random.default_rng(2)
    volumes = rng.normal(size=(K, 6, 6, 6)) + 2
    order = rng.permutation(K)
    other = 3.0 * volumes[order] + 0.5 * rng.normal(size=volumes.shape)
    np.testing.assert_array_equal(match_by_volumes(other, volumes), order)


def test_coarse_volumes_keep_what_is_coarse():
    """A wave that the coarse grid holds is sampled there; a finer one is gone."""
    x = np.arange(40) / 40
    wave = np.cos(2 * np.pi * 3 * x)[:, None, None] * np.ones((40, 40, 40))
    fine = np.cos(2 * np.pi * 17 * x)[None, :, None] * np.ones((40, 40, 40))
    volume = coarse((wave + fine)[None])[0]
    expected = np.cos(2 * np.pi * 3 * np.arange(25) / 25)[:, None, None]
    np.testing.assert_allclose(volume, np.broadcast_to(expected, volume.shape), atol=1e-5)


def overlapping(rng, count=6000):
    """Particles of four points; labels that put two into one and cut another one in two."""
    points = np.array([[3.0, 0], [1.5, 0], [-1.0, 1.5], [-2.0, -1.5]])
    truth = rng.integers(0, 4, count)
    z = points[truth] + 0.3 * rng.standard_normal((count, 2))
    information = np.tile(6.0 * np.eye(2), (count, 1, 1))
    projected = 6.0 * z + np.sqrt(6.0) * rng.standard_normal((count, 2))
    wrong = np.array([0, 0, 1, 3])[truth]
    wrong[(truth == 3) & (rng.random(count) < 0.5)] = 2
    return (
        points,
        truth,
        LatentParticles(information, projected),
        np.eye(4, dtype=np.float32)[wrong],
    )


def test_labels_that_join_two_states_do_not_bind_the_mixture():
    points, truth, particles, start = overlapping(np.random.default_rng(3))
    bound, none = mixture_of_labels(particles, start, split_merge=False, seed=0)
    free, moves = mixture_of_labels(particles, start, split_merge=True, seed=0)
    assert not none
    assert moves
    assert free.value > bound.value + 0.02
    apart = np.linalg.norm(free.points[:, None] - points, axis=2)
    assert apart.min(axis=0).max() < 0.2
    labels = particles.posteriors(free.points).argmax(axis=1)
    assert sum(np.bincount(truth[labels == k]).max() for k in range(4)) / len(truth) > 0.9


def test_shares_after_a_search_are_those_of_its_points():
    _, _, particles, start = overlapping(np.random.default_rng(4))
    members = start.sum(axis=0) + 1.0
    particles.proportions = members / members.sum()
    particles.set_scatter(0.09 * np.eye(2))
    points, _ = split_and_merge(particles, np.array([[2.0, 0], [-1, 1], [-2, -2], [-2, -1]]))
    assert np.isclose(particles.proportions.sum(), 1)
    np.testing.assert_allclose(
        particles.proportions, particles.posteriors(points).mean(axis=0), atol=0.01
    )


def row_of_states(rng, count=6000):
    """Four states in a row; across it every state scatters as far, which a third of them show."""
    truth = rng.integers(0, 4, count)
    z = np.stack([1.2 * truth - 1.8, 1.2 * rng.standard_normal(count)], axis=1)
    known = np.stack([np.full(count, 30.0), np.where(rng.random(count) < 0.33, 30, 0.01)], axis=1)
    projected = known * z + np.sqrt(known) * rng.standard_normal((count, 2))
    return truth, z, LatentParticles(known[:, :, None] * np.eye(2), projected)


def share_right(particles, points, truth):
    labels = particles.posteriors(points).argmax(axis=1)
    return sum(np.bincount(truth[labels == k]).max() for k in range(4)) / len(truth)


def test_labels_of_what_varies_within_every_state_are_left():
    rng = np.random.default_rng(6)
    truth, z, particles = row_of_states(rng)
    across = np.digitize(z[:, 1] + 0.3 * rng.standard_normal(6000), [-1, 0, 1])
    start = np.eye(4, dtype=np.float32)[across]
    bound, _ = mixture_of_labels(particles, start, split_merge=False, seed=0)
    assert share_right(particles, bound.points, truth) < 0.75
    free, moves = mixture_of_labels(particles, start, split_merge=True, anew=True, seed=0)
    assert share_right(particles, free.points, truth) > 0.95
    assert free.scatter[0, 0] < 0.02
    assert free.scatter[1, 1] == pytest.approx(1.44, rel=0.1)
    (line,) = say_moves("batch 1 fold 1", np.array(moves))
    assert line.startswith("batch 1 fold 1: states are found anew")


def test_true_labels_stay():
    truth, _, particles = row_of_states(np.random.default_rng(7))
    start = np.eye(4, dtype=np.float32)[truth]
    mixture, moves = mixture_of_labels(particles, start, split_merge=True, anew=True, seed=0)
    assert not moves
    assert share_right(particles, mixture.points, truth) > 0.95
    assert (particles.posteriors(mixture.points).argmax(axis=1) == truth).mean() > 0.95


def test_moves_are_told_by_what_the_states_were_at_first():
    moves = np.array([[7, 8, 1, 0.5], [8, 3, 7, 0.1]])
    first, second = say_moves("batch 1 fold 2", moves)
    assert "states 8 and 9 are merged and state 2 is split" in first
    assert "states half of 2 and 4 are merged" in second
    assert "state 8+9 is split: 0.1000 nats" in second


def test_folds_that_find_their_states_anew_are_named_once_a_round(caplog):
    caplog.set_level("INFO")
    anew, other, none = np.array([[-1, -1, -1, 0.2]]), np.array([[0, 1, 2, 0.1]]), np.empty((0, 4))
    say_anew(1, {(1, 0): anew, (1, 1): other, (1, 2): np.vstack([anew, other]), (1, 3): none})
    say_anew(2, {(1, 0): none, (1, 1): anew})
    say_anew(3, {(1, 0): none, (1, 1): other})
    say_anew(4, {(batch, fold): anew for batch in (1, 2) for fold in range(4)})
    assert caplog.messages == [
        "round 1: folds 1, 3 found their states anew, without the labels of the votes",
        "round 2: fold 2 found its states anew, without the labels of the votes",
        "round 4: 8 of 8 folds found their states anew, without the labels of the votes",
    ]
