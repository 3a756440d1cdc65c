"""Volumes grouped into states by what is known of them in the full space and from the folds.

Two kinds of evidence: distances between volumes, and particles that volumes of different folds
share. K-means gives candidate groupings, from the plane and from the principal coordinates, plain
and with every volume drawn towards the volumes of other folds that hold its particles; the slow
modes of the particles' moves between folds give more
(:mod:`alphacryo4d.landscape.grouping.metastable`), with states of few particles.
Of those whose states the folds agree on, rare and large states alike, the one of highest
likelihood is taken (:func:`likeliest`).

The number of states is that of the latent classes with the least information criterion
(:mod:`alphacryo4d.landscape.grouping.latent_classes`), or the number below it from which on
states gain much less (:func:`elbow`); or that of the metastable states, where it is larger. States
of very few particles come on top, or take the place of others where the number is given
(:mod:`alphacryo4d.landscape.grouping.rare`). Without assignments the distances alone decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.landscape.embedding import classical_scaling
from alphacryo4d.landscape.grouping.latent_classes import LabelTable
from alphacryo4d.landscape.grouping.metastable import (
    join_batches,
    pivoted_groups,
    rows_of_unit_length,
    slow_modes,
)
from alphacryo4d.landscape.grouping.number_of_states import _number_of_states
from alphacryo4d.landscape.grouping.rare import may_hide_groups, rare_groups
from alphacryo4d.landscape.grouping.starts import DIMENSIONS, _kmeans

logger = logging.getLogger(__name__)
DRAWN = (0.0, 0.4, 0.7)


@dataclass(frozen=True)
class Grouping:
    """States of the volumes.

    Attributes
    ----------
    labels : (V,) int array
        From 0, without gaps.
    agreement : float
        Information that the state in one fold gives on that in another, in nats; NaN without
        assignments.
    tried : tuple of (int, float)
        Numbers of states that were tried, and the criterion of each (lower is better).
    """

    labels: Array
    agreement: float
    tried: tuple[tuple[int, float], ...]


def group_volumes(
    distances: Array,
    embedding: Array,
    counts: Array,
    folds: Array,
    *,
    states: int | None,
    assignments: Array | None = None,
    copies: Array | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Grouping:
    """State of each volume.

    Parameters
    ----------
    distances : (V, V) array
        Squared distances of the standardised volumes.
    embedding : (V, 2) array
        The plane of the landscape.
    counts : (V,) array
        Particles per volume: the weight of a volume, since its noise falls with them.
    folds : (V,) int array
        Fold of each volume (a number for every fold of every batch), from 0.
    states : int, optional
        Number of states. None finds it: with assignments from latent classes
        (:func:`elbow`), without them by the largest silhouette.
    assignments : (P, M + 1) int array, optional
        Volume row of every particle in every fold.
    copies : (P,) int array, optional
        Image of every particle, where some are copies of one.
    seed : int
        Random seed of the starts.
    """
    coordinates = classical_scaling(distances, min(max(DIMENSIONS), len(distances) - 1))
    if assignments is None or folds.max() == 0:
        return _group_by_distance(coordinates, counts, states, seed)
    table = LabelTable(assignments, folds, copies)
    tried: tuple[tuple[int, float], ...] = ()
    asked = states is not None
    if states is None:
        states, tried = _number_of_states(table, coordinates, counts, folds, seed, progress)
    shared = join_batches(table.shared(), table.batches, coordinates[:, : DIMENSIONS[0]])

    def grouped(number: int) -> Array:
        number = min(number, len(counts))
        groupings = candidates(coordinates, embedding, counts, table.flow(), number, seed=seed)
        return likeliest(
            table, groupings + metastable_candidates(shared, counts, number, seed=seed)
        )

    def rare_beside(labels: Array) -> list[Array]:
        nearest = (shared > 0) & (table.batches[:, None] != table.batches)
        return rare_groups(table.shared(), folds, labels, counts, table.batches, nearest)

    labels, rare = _large_and_rare(grouped, rare_beside, folds, states, asked=asked)
    labels = _with_groups(labels, rare, counts)
    return Grouping(labels, table.agreement(labels), tried)


def _large_and_rare(
    grouped: Callable[[int], Array],
    rare_beside: Callable[[Array], list[Array]],
    folds: Array,
    states: int,
    *,
    asked: bool,
) -> tuple[Array, list[Array]]:
    """Large states (V,), and rare groups beside them; as many as were asked for in all."""
    labels = grouped(states)
    rare = rare_beside(labels)
    if not asked:
        return labels, rare
    if not rare and may_hide_groups(folds, states):
        # with as many states as there are, one may hold the rare volumes and part of a large state
        rare = rare_beside(grouped(states - 1))
    rare = rare[: max(0, states - 2)]
    return (grouped(states - len(rare)) if rare else labels), rare


def _with_groups(labels: Array, groups: list[Array], counts: Array) -> Array:
    """States (V,) where some groups of volumes are states of their own."""
    labels, last = labels.copy(), int(labels.max())
    for number, rows in enumerate(groups, last + 1):
        logger.info(
            "states: %d volumes of %d particles in the mean hold the same few particles of larger "
            "states: a state of their own", len(rows), counts[rows].mean(),
        )  # fmt: skip
        labels[rows] = number
    return np.asarray(np.unique(labels, return_inverse=True)[1])


def likeliest(table: LabelTable, groupings: list[Array], *, finalists: int = 4) -> Array:
    """States (V,) of the highest likelihood that lose none which the folds agree on.

    Where states are hard to tell apart, many groupings agree about equally and the likelihood
    ranks them better. But it counts particles: halves of a large state, which noise tells apart
    alike in all folds, can be likelier than a rare state. They mix, which costs the agreement of
    K states about 1 / K nats; no more than half of that is given away.

    Parameters
    ----------
    groupings : list of (V,) int arrays
        States of the volumes to start from, all with the same number of states.
    finalists : int
        Groupings from which the mixture is fitted to the end, beside the one of best agreement.
    """
    agreements = [table.agreement(labels) for labels in groupings]
    best = int(np.argmax(agreements))
    chosen = np.unique(groupings[best], return_inverse=True)[1]
    states = int(chosen.max()) + 1
    first = [table.fit(table.start(labels, states), iterations=12) for labels in groupings]
    order = np.argsort([-mixture.log_likelihood for mixture, _ in first], kind="stable")
    highest = -np.inf
    for number in dict.fromkeys([best, *order[:finalists].tolist()]):
        mixture, _ = table.fit(first[number][1])
        refined = np.unique(mixture.labels, return_inverse=True)[1]
        kept = table.agreement(refined) > agreements[best] - 0.5 / states
        if kept and mixture.log_likelihood > highest:
            chosen, highest = refined, mixture.log_likelihood
    return chosen


def candidates(
    coordinates: Array,
    embedding: Array,
    counts: Array,
    flow: Array,
    states: int,
    *,
    seed: int,
) -> list[Array]:
    """Groupings (V,) of the volumes from several views of them.

    Parameters
    ----------
    coordinates : (V, D) array
        Principal coordinates.
    embedding : (V, 2) array
        The plane.
    flow : (V, V) array
        Share of each volume's particles in the volumes of other folds.
    """
    groupings = [
        _kmeans(embedding, counts if run % 2 else None, states, seed=8 * seed + run, runs=3)
        for run in range(8)
    ]
    for dimensions in dict.fromkeys(min(d, coordinates.shape[1]) for d in DIMENSIONS):
        plain = coordinates[:, :dimensions]
        for drawn in DRAWN:
            view = (1 - drawn) * plain + drawn * (flow @ plain)
            groupings += [
                _kmeans(view, counts, states, seed=8 * seed + run, runs=3) for run in range(2)
            ]
    return groupings


def metastable_candidates(shared: Array, counts: Array, states: int, *, seed: int) -> list[Array]:
    """Groupings (V,) of the volumes by the slow modes of moves between them.

    Parameters
    ----------
    shared : (V, V) array
        Particles that two volumes share; at least one in every row.
    """
    modes = slow_modes(shared, states)[1]
    view = rows_of_unit_length(modes)
    groupings = [_kmeans(view, counts, states, seed=8 * seed + run, runs=3) for run in range(4)]
    return [pivoted_groups(modes), *groupings]


def _group_by_distance(
    coordinates: Array, counts: Array, states: int | None, seed: int
) -> Grouping:
    """K-means of the principal coordinates; the number by the largest mean silhouette."""
    from sklearn.metrics import silhouette_score

    kept = coordinates[:, : DIMENSIONS[1]]
    if states is not None:
        labels = _kmeans(kept, counts, min(states, len(counts)), seed=seed, runs=20)
        return Grouping(np.unique(labels, return_inverse=True)[1], np.nan, ())
    most = min(40, len(counts) - 1)
    fits, tried = {}, []
    for number in range(2, most + 1):
        fits[number] = _kmeans(kept, counts, number, seed=seed, runs=10)
        tried.append((number, -float(silhouette_score(kept, fits[number]))))
    best = min(tried, key=lambda entry: entry[1])[0]
    return Grouping(fits[best], np.nan, tuple(tried))
