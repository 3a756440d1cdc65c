"""Classification seeded by the states of the landscape, fold by fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alphacryo4d.ml3d.classify import Classification, classify
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.voting.votes import DROPPED, LEFT_OUT

Array = np.ndarray[Any, Any]


def resolution_steps(first: float, finest: float, steps: int) -> list[float]:
    """Resolutions (A) from the first to the finest at even steps of frequency.

    The finest alone where it is not finer than the first.
    """
    if finest >= first or steps == 1:
        return [min(first, finest)]
    return [float(1 / f) for f in np.linspace(1 / first, 1 / finest, steps)]


def seed_labels(states: Array, state_count: int) -> Array:
    """Soft labels (n, K) float32 of voted particles; those voted out (0) weigh nothing."""
    seeds = np.zeros((len(states), state_count), np.float32)
    voted = np.flatnonzero(states > 0)
    seeds[voted, states[voted] - 1] = 1
    return seeds


def classify_fold(
    images: PreparedImages,
    rows: Array,
    start: Array,
    *,
    resolution: float,
    iterations: int,
    rng: np.random.Generator,
    mask_diameter: float | None = None,
    threads: int | None = None,
    check: Callable[[], None] | None = None,
) -> Classification:
    """Classify the particles of a fold from given states, none of which is ever re-seeded.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles of the fold.
    start : (n, K) array
        Soft labels of ``rows``; a row of zeros has no say in the first volumes.
    resolution : float
        In Angstrom.
    iterations : int
        Few: with more, the classes fit the noise of their own particles.
    rng : Generator
    mask_diameter, threads, check
        As for :func:`alphacryo4d.ml3d.classify.classify`.
    """
    options = ClassifyOptions(
        classes=str(start.shape[1]),
        iterations=iterations,
        limit_resolution=resolution,
        sharpen_to=0,
        minimum_share=0,
        mask_diameter=mask_diameter,
    )
    return classify(images, rows, options, rng, start=start, threads=threads, check=check)


def fold_assignments(
    fold_labels: Array, confidence: Array, columns: Array, minimum_posterior: float
) -> Array:
    """Volume of every particle in every fold, as ``assignments.npy`` holds it.

    Parameters
    ----------
    fold_labels : (P, M+1) int array
        State of every particle in every fold from 0, -1 where it was left out.
    confidence : (P, M+1) array
        Posterior probability of that state.
    columns : (P,) int array
        First volume row of the batch of every particle (its folds follow each other).
    minimum_posterior : float
        Votes below it become empty (-2).

    Returns
    -------
    (P, M+1) int32 array
        Row ``columns + label`` with the states of fold j at ``j * K``; see the caller for K.
    """
    assignments = np.where(fold_labels >= 0, columns + fold_labels, LEFT_OUT).astype(np.int32)
    weak = (fold_labels >= 0) & (confidence < minimum_posterior)
    assignments[weak] = DROPPED
    return assignments


def changed_share(before: Array, after: Array) -> float:
    """Share of particles whose state differs, voted out counting as a state."""
    return float(np.mean(before != after)) if len(before) else 0.0


def describe_changes(before: Array, after: Array) -> dict[str, int]:
    """How many particles stayed, moved, came in and fell out between two elections."""
    both = (before > 0) & (after > 0)
    return {
        "stayed": int((both & (before == after)).sum()),
        "moved": int((both & (before != after)).sum()),
        "newly_voted": int(((before == 0) & (after > 0)).sum()),
        "newly_voted_out": int(((before > 0) & (after == 0)).sum()),
        "out_in_both": int(((before == 0) & (after == 0)).sum()),
    }
