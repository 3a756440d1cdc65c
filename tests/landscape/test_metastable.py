"""Rare states: groups of volumes that few particles are in, and that these never leave."""

import numpy as np
import pytest

from alphacryo4d.landscape.distances import squared_distances
from alphacryo4d.landscape.embedding import classical_scaling
from alphacryo4d.landscape.grouping.clustering import (
    group_volumes,
    likeliest,
    metastable_candidates,
)
from alphacryo4d.landscape.grouping.latent_classes import LabelTable
from alphacryo4d.landscape.grouping.metastable import (
    batches_of_volumes,
    join_batches,
    metastable_number,
    pivoted_groups,
    rows_of_unit_length,
    slow_modes,
)

CLASSES = 13  # of a fold: four of each large state, one of the rare one


def rare_state(seed, *, particles=6000, rare=60, batches=1, apart=0.5):
    """Labels of three large states and a rare one, and volumes (V, 4, 4, 4).

    Noise puts seven of ten particles into the same quarter of their state in every fold; so
    halves of a large state say more of the labels than the rare state does. Its map is ``apart``
    from that of the first state, much less than the other states are.
    """
    rng = np.random.default_rng(seed)
    truth = np.where(np.arange(particles) < rare, 3, np.arange(particles) % 3)
    own, group = rng.integers(0, 4, particles), rng.permutation(np.arange(particles) % 4)
    batch = rng.permutation(np.arange(particles) % batches)
    assignments = np.full((particles, 4), -1)
    for fold in range(4):
        piece = np.where(rng.random(particles) < 0.7, own, rng.integers(0, 4, particles))
        state = np.where(rng.random(particles) < 0.01, rng.integers(0, 3, particles), truth)
        label = np.where(state == 3, 12, 4 * state + piece)
        rows = (4 * batch + fold) * CLASSES + label
        assignments[group != fold, fold] = rows[group != fold]
    folds = np.repeat(np.arange(4 * batches), CLASSES)
    states = np.tile([0] * 4 + [1] * 4 + [2] * 4 + [3], 4 * batches)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(folds))
    maps = rng.normal(size=(4, 4, 4, 4))
    maps[3] = maps[0] + apart * rng.normal(size=(4, 4, 4))
    noise = rng.normal(size=(len(folds), 4, 4, 4)) * 10 / np.sqrt(counts)[:, None, None, None]
    return assignments, folds, counts, states, squared_distances([maps[states] + noise])


def same_partition(first, second):
    pairs = len(set(zip(first.tolist(), second.tolist(), strict=True)))
    return pairs == len(set(first.tolist())) == len(set(second.tolist()))


@pytest.mark.parametrize("given", [4, None])
def test_a_state_of_one_percent_is_found(given):
    assignments, folds, counts, states, distances = rare_state(0)
    plane = classical_scaling(distances, 2)
    grouping = group_volumes(distances, plane, counts, folds, states=given, assignments=assignments)
    assert same_partition(grouping.labels, states)


def test_halves_of_a_large_state_say_more_of_the_labels_than_a_rare_state():
    assignments, folds, _, states, _ = rare_state(0)
    table = LabelTable(assignments, folds)
    halves = np.where((states == 1) & (np.arange(len(folds)) % CLASSES < 6), 3, states % 3)
    likelihoods = [table.fit(table.start(s, 4))[0].log_likelihood for s in (states, halves)]
    assert likelihoods[1] > likelihoods[0] + 50
    assert table.agreement(states) > table.agreement(halves)
    assert same_partition(likeliest(table, [halves, states]), states)


def test_states_count_alike_in_the_agreement():
    table = LabelTable(np.array([[0, 2]] * 98 + [[1, 3]] * 2), np.array([0, 0, 1, 1]))
    assert table.agreement(np.array([0, 1, 0, 1])) == pytest.approx(np.log(2))
    assert table.agreement(np.array([0, 1, 1, 0])) == pytest.approx(np.log(2))
    assert table.agreement(np.zeros(4, int)) == 0


def test_modes_are_those_of_the_chain():
    assignments, folds, *_ = rare_state(1)
    table = LabelTable(assignments, folds)
    values, modes = slow_modes(table.shared(), 6)
    right = modes / np.sqrt(table.shared().sum(1))[:, None]
    np.testing.assert_allclose(table.flow() @ right, right * values, atol=1e-10)
    np.testing.assert_allclose(modes.T @ modes, np.eye(6), atol=1e-10)
    assert values[0] == pytest.approx(1)
    assert values[3] > 0.95 > 0.8 > values[4]


def test_pivots_find_the_rare_state_without_distances():
    assignments, folds, _, states, _ = rare_state(2)
    modes = slow_modes(LabelTable(assignments, folds).shared(), 4)[1]
    assert same_partition(pivoted_groups(modes), states)
    np.testing.assert_allclose(np.linalg.norm(rows_of_unit_length(modes), axis=1), 1)


def test_diffusion_along_a_continuum_has_no_metastable_states():
    places = np.linspace(0, 1, 60)
    shared = np.exp(-((places[:, None] - places[None]) ** 2) / 0.01)
    values = slow_modes(shared, 30)[0]
    assert metastable_number(values) is None
    assert metastable_number(np.append(1.0, values)) == 2  # beside a part that never meets it
    assert metastable_number(np.array([1, 0.999, 0.99, 0.98, 0.7, 0.65, 0.6])) == 4
    assert metastable_number(np.array([1, 0.7, 0.1, 0.05])) is None


def test_batches_have_their_states_in_common():
    assignments, folds, counts, states, distances = rare_state(
        3, particles=16000, rare=200, batches=2, apart=1.0
    )
    shared = LabelTable(assignments, folds).shared()
    batches = batches_of_volumes(shared, folds)
    np.testing.assert_array_equal(batches, folds // 4)
    joined = join_batches(shared, batches, classical_scaling(distances, 6))
    np.testing.assert_allclose(joined, joined.T)
    assert joined.sum() == pytest.approx(2 * shared.sum())
    groupings = metastable_candidates(joined, counts, 4, seed=0)
    assert all(same_partition(labels, states) for labels in groupings)


def test_a_volume_that_shares_no_particle_stays_alone():
    shared = np.array([[0, 5, 0], [5, 0, 0], [0, 0, 0]])
    joined = join_batches(shared, np.zeros(3, int), np.zeros((3, 2)))
    np.testing.assert_array_equal(joined, [[0, 5, 0], [5, 0, 0], [0, 0, 1]])


def test_batches_are_no_states():
    """That particles stay in their batch is no agreement of folds on a state."""
    assignments, folds, _, states, _ = rare_state(
        3, particles=16000, rare=200, batches=2, apart=1.0
    )
    table = LabelTable(assignments, folds)
    np.testing.assert_array_equal(table.batches, folds // 4)
    assert table.agreement(folds // 4) == pytest.approx(0, abs=1e-9)
    halves = states // 2 + 2 * (folds // 4)  # two states in each batch, none in both
    assert table.agreement(halves) < table.agreement(states) - 0.3
