"""States of so few particles that whatever counts particles overlooks them.

Where a fold has many more classes than there are states, most of its classes divide large states by
noise, and a rare conformation is one class among them, which some folds may not have at all. Noise
divides the particles of a state into classes that have little in common from fold to fold; the
particles of a conformation stay together. So two volumes of different folds that share many times
as many particles as independent classes of their states would are a state of their own. That ratio
is the lift of two items (Brin et al. 1997, SIGMOD, 255).
"""

from __future__ import annotations

import itertools

import numpy as np

from alphacryo4d.core.arrays import Array

LEAST_LIFT = 8.0
"""How many times as many particles are shared as by independent classes."""
LEAST_OVERLAP = 0.25
"""Shared particles as a part of either volume's, their geometric mean."""
FEWEST = 15
"""Shared particles: where independent classes would share an eighth, no chance of 1e-9."""
MOST_OF_FOLD, MOST_OF_ALL = 0.03, 0.1
"""Part of a fold's particles that a rare group has at most, and all of them together."""


def rare_groups(
    shared: Array, folds: Array, labels: Array, counts: Array, batches: Array, nearest: Array
) -> list[Array]:
    """Volumes of different folds that hold the same few particles, within one or two states.

    Where what stays together is no exception, the states are not the rare ones but too few: then
    there are none, as where states have fewer than eight classes in a fold, and in a state that is
    rare already: no two of its volumes share more than the state itself lets expect.

    Parameters
    ----------
    shared : (V, V) array
        Particles that two volumes share, symmetric; none between batches.
    folds : (V,) int array
        Fold of each volume, a number for every fold of every batch.
    labels : (V,) int array
        State of each volume, from 0.
    counts : (V,) array
        Particles of each volume.
    batches : (V,) int array
        Batch of each volume, from 0.
    nearest : (V, V) bool array
        Which volumes of another batch are like a volume: rare groups of batches are joined by it.

    Returns
    -------
    list of int arrays
        Rows of the volumes of each group, the group that shares most first.
    """
    from scipy.sparse.csgraph import connected_components

    links = np.zeros(shared.shape, bool)
    numbers = range(int(labels.max()) + 1)
    for states in itertools.combinations_with_replacement(numbers, 2):
        around = np.flatnonzero(np.isin(labels, states))
        for pair in itertools.combinations(np.unique(folds[around]), 2):
            rows, columns = (around[folds[around] == fold] for fold in pair)
            if batches[rows[0]] != batches[columns[0]]:
                continue
            here = np.ix_(rows, columns)
            one_of_each = np.add.outer(labels[rows], labels[columns]) == sum(states)
            links[here] |= _linked(shared[here]) & one_of_each
    links |= links.T
    rare = np.asarray(links.any(axis=1))
    links |= nearest & np.logical_and.outer(rare, rare)
    names = connected_components(links, directed=False)[1]
    groups = [np.flatnonzero(names == name) for name in np.unique(names[rare])]
    part = counts / np.bincount(folds, weights=counts)[folds]
    groups = [rows for rows in groups if part[rows].mean() <= MOST_OF_FOLD]
    if sum(part[rows].sum() for rows in groups) > MOST_OF_ALL * (folds.max() + 1):
        return []
    return sorted(groups, key=lambda rows: -float(shared[np.ix_(rows, rows)].sum()))


def may_hide_groups(folds: Array, states: int) -> bool:
    """Whether a fold has so many classes for each of several states that some may be of others."""
    return states > 2 and 2 * int(np.bincount(folds).max()) > LEAST_LIFT * states


def _linked(shared: Array) -> Array:
    """Pairs (a, b) bool of volumes of two folds, from the particles (a, b) that they share."""
    product = np.maximum(np.outer(shared.sum(1), shared.sum(0)), 1e-12)
    lift, overlap = shared * shared.sum() / product, shared / np.sqrt(product)
    linked: Array = (shared >= FEWEST) & (lift >= LEAST_LIFT) & (overlap >= LEAST_OVERLAP)
    return linked
