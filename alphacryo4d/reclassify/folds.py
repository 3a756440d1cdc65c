"""Labels before and after a reclassification: seeds, assignments, changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import DROPPED, LEFT_OUT
from alphacryo4d.particles.open import open_table


def read_first_states(folder: Path, particles: int) -> Array:
    """States (P,) of the first votes."""
    path = folder / files.PARTICLES_STAR
    if not path.is_file():
        raise InputError(f"{path}: no such file; run `alphacryo4d vote` first")
    states = open_table(path).read(["rlnClassNumber"])["rlnClassNumber"].astype(np.int32)
    if len(states) != particles:
        raise InputError(f"{path}: has {len(states)} particles, the input table {particles}")
    if not (states > 0).any():
        raise InputError(f"{path}: no particle has a state; lower --threshold of `vote`")
    return states


def seed_labels(states: Array, state_count: int) -> Array:
    """Soft labels (n, K) float32 of voted particles; those voted out (0) weigh nothing."""
    seeds = np.zeros((len(states), state_count), np.float32)
    voted = np.flatnonzero(states > 0)
    seeds[voted, states[voted] - 1] = 1
    return seeds


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


def of_all(values: Array, known: Array, count: int, rest: int) -> Array:
    """Values (n,) of the rows ``known``, (n,) int, among ``count``; ``rest`` of the others.

    Particles whose images show nothing of theirs have no values; a confidence of -1 is no vote.
    """
    every = np.full(count, rest, values.dtype)
    every[known] = values
    return every


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
