"""How many states there are: latent classes, the elbow of their likelihoods, metastable states."""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.words import plural
from alphacryo4d.landscape.grouping.latent_classes import LabelTable, LatentClasses, best_of_starts
from alphacryo4d.landscape.grouping.metastable import (
    metastable_number,
    slow_modes,
)
from alphacryo4d.landscape.grouping.starts import starts

logger = logging.getLogger(__name__)


def _number_of_states(
    table: LabelTable,
    coordinates: Array,
    counts: Array,
    folds: Array,
    seed: int,
    progress: Progress,
) -> tuple[int, tuple[tuple[int, float], ...]]:
    fits: dict[int, LatentClasses] = {}

    def fit(number: int) -> LatentClasses:
        if number not in fits:
            tried = starts(coordinates, counts, number, seed=seed)
            fits[number] = best_of_starts(table, tried, number)
        return fits[number]

    classes = int(np.bincount(folds).max())
    most = max(2, min(len(counts), 3 * classes // 2))
    # as many states as classes are found whatever the classes are
    limit = int(0.85 * classes)
    least = most
    tried: tuple[tuple[int, float], ...] = ()
    for penalty in table.penalties():
        criterion = functools.partial(LatentClasses.criterion, penalty=penalty)
        least, tried = least_criterion(fit, criterion, most, progress=progress)
        if least <= limit:
            break
    last = min(least, limit) + 2
    likelihoods = []
    for number in range(1, last + 1):
        likelihoods.append(fit(number).log_likelihood)
        progress(number, last, "where the gain ends")
    turn = elbow(np.array(likelihoods), min(least, limit))
    lasting = _metastable_number(table, limit)
    number = max(turn or least, lasting or 0)
    logger.info(
        "states: %d are taken; %d have the least information criterion, each one after %s explains "
        "much less of the labels, %s are metastable",
        *(number, least, turn or "none", lasting or "none"),
    )
    return number, tried


def _metastable_number(table: LabelTable, most: int) -> int | None:
    """Number of metastable states up to ``most``, the largest of all batches; None: no gap."""
    shared, batches = table.shared(), table.batches
    numbers = []
    for batch in range(int(batches.max()) + 1):
        rows = np.flatnonzero((batches == batch) & shared.any(1))
        values, _ = slow_modes(shared[np.ix_(rows, rows)], most + 1)
        numbers.append(metastable_number(values) or 0)
    return max(numbers) or None


def elbow(log_likelihoods: Array, most: int, *, sharpness: float = 1.8) -> int | None:
    """Number of states after which the likelihood gains much less a state.

    Every fold sees the same noise of a particle, so that classes finer than the states repeat in
    all folds: such a split gains little, but with many particles more than any information
    criterion asks. What tells it from a state is that the gains drop together once all states are
    there. A smooth decline, in which the gain of the k-th state falls like ``k^-1.5``, is no drop;
    gains are made to fall throughout first, since a fit may miss its best.

    Parameters
    ----------
    log_likelihoods : (K,) array
        Of mixtures of 1, 2, ... K states.
    most : int
        Largest number that may be the answer; two more must be in the array.
    sharpness : float
        How many times the mean gain of two states must exceed that of the next two, beyond the
        smooth decline.

    Returns
    -------
    int or None
        The number of the sharpest drop; None where there is none.
    """
    from sklearn.isotonic import isotonic_regression

    gains = isotonic_regression(np.diff(log_likelihoods), increasing=False)
    gains = np.maximum(gains, 1e-12)  # of states 2, 3, ...
    drops = {}
    for number in range(3, min(most, len(log_likelihoods) - 2) + 1):
        before = gains[number - 3 : number - 1].mean()
        after = gains[number - 1 : number + 1].mean()
        drops[number] = float(before / after / ((number + 1.5) / (number - 0.5)) ** 1.5)
    best = max(drops, key=lambda number: drops[number], default=None)
    return best if best is not None and drops[best] > sharpness else None


def least_criterion(
    fit: Any, criterion: Any, most: int, *, progress: Progress = no_progress
) -> tuple[int, tuple[tuple[int, float], ...]]:
    """Number of states of the least criterion, which is narrowed down from a coarse row.

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
            progress(len(fits), len(fits) + 4, plural(number, "state"))
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
    return best, tuple((number, value(number)) for number in sorted(fits))
