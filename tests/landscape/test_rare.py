"""States of one percent, of which only some folds have a class."""

import numpy as np
import pytest

from alphacryo4d.landscape.distances import squared_distances
from alphacryo4d.landscape.embedding import classical_scaling
from alphacryo4d.landscape.grouping.clustering import group_volumes
from alphacryo4d.landscape.grouping.latent_classes import LabelTable
from alphacryo4d.landscape.grouping.rare import rare_groups

PIECES, LARGE = 10, 3
CLASSES = PIECES * LARGE + 1


def particles_with_a_rare_state(seed, *, rare=130, folds_with_it=(0, 2), repeated=0.3, batches=1):
    """Labels of three large states in ten pieces each; in some folds a class is of a rare state.

    Noise puts ``repeated`` of the particles into the same piece in every fold. Where a fold has no
    class of it, the particles of the rare state are among those of the first state; where it has
    one, 70% of them are in it, beside half as many others.
    """
    rng = np.random.default_rng(seed)
    count, rare = 12_000 * batches, rare * batches
    truth = np.where(np.arange(count) < rare, LARGE, np.arange(count) % LARGE)
    state = np.where(truth == LARGE, 0, truth)
    own, group = rng.integers(0, PIECES, count), rng.permutation(np.arange(count) % 4)
    batch = rng.permutation(np.arange(count) % batches)
    assignments = np.full((count, 4), -1)
    for fold in range(4):
        again = rng.random(count) < repeated
        label = PIECES * state + np.where(again, own, rng.integers(0, PIECES, count))
        if fold in folds_with_it:
            label[(truth == LARGE) & (rng.random(count) < 0.7)] = CLASSES - 1
            label[(state == 0) & (rng.random(count) < rare / count)] = CLASSES - 1
        rows = (4 * batch + fold) * CLASSES + label
        assignments[group != fold, fold] = rows[group != fold]
    volumes, compact = np.unique(assignments, return_inverse=True)
    folds = volumes[1:] // CLASSES
    of_volume = np.minimum(volumes[1:] % CLASSES // PIECES, LARGE)
    return compact.reshape(assignments.shape) - 1, folds, of_volume


def found(assignments, folds, labels, nearest=None):
    table = LabelTable(assignments, folds)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(folds))
    near = np.zeros((len(folds),) * 2, bool) if nearest is None else nearest
    groups = rare_groups(table.shared(), folds, labels, counts, table.batches, near)
    return [rows.tolist() for rows in groups]


def test_two_folds_suffice_for_a_rare_state():
    assignments, folds, of_volume = particles_with_a_rare_state(0)
    large = np.where(of_volume == LARGE, 0, of_volume)
    assert found(assignments, folds, large) == [np.flatnonzero(of_volume == LARGE).tolist()]
    # and where it is a state already there is nothing to say
    assert found(assignments, folds, of_volume) == []


def test_volumes_of_a_rare_state_in_two_states_are_joined():
    assignments, folds, of_volume = particles_with_a_rare_state(1)
    one, other = np.flatnonzero(of_volume == LARGE)
    labels = of_volume.copy()
    labels[one], labels[other] = 0, 1
    assert found(assignments, folds, labels) == [[one, other]]


def test_rare_groups_of_batches_are_one_where_their_volumes_are_alike():
    assignments, folds, of_volume = particles_with_a_rare_state(4, batches=2)
    rare = np.flatnonzero(of_volume == LARGE)
    large = np.where(of_volume == LARGE, 0, of_volume)
    assert found(assignments, folds, large) == [rare[:2].tolist(), rare[2:].tolist()] or found(
        assignments, folds, large
    ) == [rare[2:].tolist(), rare[:2].tolist()]
    alike = np.zeros((len(folds),) * 2, bool)
    alike[rare[0], rare[2]] = True
    assert found(assignments, folds, large, alike) == [rare.tolist()]


@pytest.mark.parametrize("repeated", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("batches", [1, 2])
def test_pieces_that_noise_makes_are_no_states(repeated, batches):
    given = particles_with_a_rare_state(2, rare=0, repeated=repeated, batches=batches)
    assignments, folds, of_volume = given
    nearest = folds[:, None] // 4 != folds // 4  # whatever is like what
    assert found(assignments, folds, of_volume, nearest) == []


def test_states_that_are_too_few_are_not_full_of_rare_ones():
    """Twenty equal states in two groups: every one of them stays together far more than these."""
    rng = np.random.default_rng(0)
    truth, group = rng.integers(0, 20, 12_000), np.arange(12_000) % 4
    label = 2 * truth[:, None] + rng.integers(0, 2, (12_000, 4))
    assignments = np.where(group[:, None] == np.arange(4), -1, 40 * np.arange(4) + label)
    folds = np.repeat(np.arange(4), 40)
    assert found(assignments, folds, np.tile(np.arange(40) // 20, 4)) == []


@pytest.mark.parametrize("asked", [None, LARGE + 1])
def test_the_rare_state_is_beside_the_others_or_among_the_number_asked(asked):
    assignments, folds, of_volume = particles_with_a_rare_state(3)
    rng = np.random.default_rng(0)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(folds))
    maps = rng.normal(size=(LARGE + 1, 4, 4, 4))
    maps[LARGE] = maps[0] + 0.3 * rng.normal(size=(4, 4, 4))
    noise = rng.normal(size=(len(folds), 4, 4, 4)) * 10 / np.sqrt(counts)[:, None, None, None]
    distances = squared_distances([maps[of_volume] + noise])
    plane = classical_scaling(distances, 2)
    grouping = group_volumes(distances, plane, counts, folds, states=asked, assignments=assignments)
    pairs = {(int(a), int(b)) for a, b in zip(grouping.labels, of_volume, strict=True)}
    assert len(pairs) == LARGE + 1 == int(grouping.labels.max()) + 1
