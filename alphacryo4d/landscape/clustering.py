"""Volumes grouped into states by what is known of them in the full space and from the folds.

Two kinds of evidence: distances between volumes, and particles that volumes of different folds
share. Distances give the starts (k-means of the principal coordinates, a volume weighing by its
particles since its noise falls with them); the shared particles choose and refine
(:mod:`alphacryo4d.landscape.latent_classes`). Without assignments the distances alone decide.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.landscape.embedding import classical_scaling
from alphacryo4d.landscape.latent_classes import LabelTable, LatentClasses, best_of_starts
from alphacryo4d.progress import Progress, no_progress

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)
DIMENSIONS = (6, 10, 15)


@dataclass(frozen=True)
class Grouping:
    """States of the volumes.

    Attributes
    ----------
    labels : (V,) int array
        From 0, without gaps.
    shares : (V, K) array or None
        Expected particles of each volume in each state, where assignments were there.
    tried : tuple of (int, float)
        Numbers of states that were tried, and the criterion of each (lower is better).
    """

    labels: Array
    shares: Array | None
    tried: tuple[tuple[int, float], ...]


def group_volumes(
    distances: Array,
    counts: Array,
    folds: Array,
    *,
    states: int | None,
    assignments: Array | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Grouping:
    """State of each volume.

    Parameters
    ----------
    distances : (V, V) array
        Squared distances of the standardised volumes.
    counts : (V,) array
        Particles per volume.
    folds : (V,) int array
        Fold of each volume (a number for every fold of every batch), from 0.
    states : int, optional
        Number of states. None finds it: with assignments the number of least Bayesian
        information criterion of the latent classes, without them the largest silhouette.
    assignments : (P, M + 1) int array, optional
        Volume row of every particle in every fold.
    seed : int
        Random seed of the starts.
    """
    coordinates = classical_scaling(distances, min(max(DIMENSIONS), len(distances) - 1))
    if assignments is None or folds.max() == 0:
        return _group_by_distance(coordinates, counts, states, seed)
    table = LabelTable(assignments, folds)

    def fit(number: int) -> LatentClasses:
        begun = starts(coordinates, counts, number, seed=seed)
        return best_of_starts(table, begun, number)

    if states is not None:
        return _grouping(fit(min(states, len(counts))), ())
    most = max(2, min(len(counts), 3 * int(np.bincount(folds).max()) // 2))
    found, tried = least_criterion(
        fit, lambda mixture: mixture.information_criterion, most, progress=progress
    )
    logger.info(
        "states: %d have the least information criterion of %s",
        found.shares.shape[1],
        ", ".join(str(number) for number, _ in tried),
    )
    return _grouping(found, tried)


def _grouping(mixture: LatentClasses, tried: tuple[tuple[int, float], ...]) -> Grouping:
    used, labels = np.unique(mixture.labels, return_inverse=True)
    if len(used) < mixture.shares.shape[1]:
        logger.warning(
            "states: %d of %d have a volume of their own", len(used), mixture.shares.shape[1]
        )
    return Grouping(labels, mixture.shares[:, used], tried)


def starts(
    coordinates: Array, counts: Array, states: int, *, seed: int, each: int = 8
) -> list[Array]:
    """States of the volumes (V,) from k-means runs in several numbers of dimensions."""
    return [
        _kmeans(coordinates[:, :dimensions], counts, states, seed=seed * each + run, runs=1)
        for dimensions in dict.fromkeys(min(d, coordinates.shape[1]) for d in DIMENSIONS)
        for run in range(each)
    ]


def _kmeans(coordinates: Array, counts: Array, states: int, *, seed: int, runs: int) -> Array:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        model = KMeans(states, n_init=runs, random_state=seed)
        labels: Array = model.fit_predict(coordinates, sample_weight=counts)
    return labels


def least_criterion(
    fit: Any, criterion: Any, most: int, *, progress: Progress = no_progress
) -> tuple[Any, tuple[tuple[int, float], ...]]:
    """Fit of least criterion over the number of states, which is narrowed down from a coarse row.

    Parameters
    ----------
    fit : callable
        Fit for a number of states.
    criterion : callable
        Number to minimise, of a fit.
    most : int
        Largest number of states.
    """
    fits: dict[int, Any] = {}

    def value(number: int) -> float:
        if number not in fits:
            fits[number] = fit(number)
            progress(len(fits), len(fits) + 4, f"{number} states")
        return float(criterion(fits[number]))

    row = [1, 2, 3, 4, 6, 9, 13, 19, 28, 41, 60, 88, 128]
    row = [number for number in row if number < most] + [most]
    rising = 0
    for place, number in enumerate(row):
        rising = rising + 1 if place and value(number) > value(row[place - 1]) else 0
        value(number)
        if rising == 2:
            break
    while True:
        best = min(fits, key=value)
        tried = sorted(fits)
        place = tried.index(best)
        gaps = [
            (low + high) // 2
            for low, high in zip(tried[:-1], tried[1:], strict=True)
            if best in (low, high) and high - low > 1
        ]
        if not gaps:
            break
        for number in gaps:
            value(number)
    for number in range(max(1, best - 2), min(most, best + 2) + 1):
        value(number)
    best = min(fits, key=value)
    return fits[best], tuple((number, value(number)) for number in sorted(fits))


def _group_by_distance(
    coordinates: Array, counts: Array, states: int | None, seed: int
) -> Grouping:
    """K-means of the principal coordinates; the number by the largest mean silhouette."""
    from sklearn.metrics import silhouette_score

    kept = coordinates[:, : DIMENSIONS[1]]
    if states is not None:
        labels = _kmeans(kept, counts, min(states, len(counts)), seed=seed, runs=20)
        return Grouping(np.unique(labels, return_inverse=True)[1], None, ())
    most = min(40, len(counts) - 1)
    fits, tried = {}, []
    for number in range(2, most + 1):
        fits[number] = _kmeans(kept, counts, number, seed=seed, runs=10)
        tried.append((number, -float(silhouette_score(kept, fits[number]))))
    best = min(tried, key=lambda entry: entry[1])[0]
    return Grouping(fits[best], None, tuple(tried))
