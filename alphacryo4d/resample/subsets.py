"""Batches, groups and folds: every particle is in exactly M of the M+1 folds (4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError

IntArray = np.ndarray[Any, np.dtype[np.int32]]


def split_evenly(members: IntArray, parts: int, rng: np.random.Generator) -> list[IntArray]:
    """Random parts of a set whose sizes differ by at most one; each part sorted.

    Parameters
    ----------
    members : (P,) int array
        Rows to share out.
    parts : int
        Number of parts.
    rng : numpy.random.Generator
        Source of randomness.
    """
    shuffled = rng.permutation(members)
    return [np.sort(part) for part in np.array_split(shuffled, parts)]


def assign_groups(
    particles: int, *, batch_size: int, folds: int, rng: np.random.Generator
) -> IntArray:
    """Batch and group of every particle.

    Parameters
    ----------
    particles : int
        Number of particles P.
    batch_size : int
        Particles of a batch at the most; the number of batches is ceil(P / batch_size).
    folds : int
        M; every batch is split into M + 1 groups.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    (P, 2) int32 array
        Batch and group of every particle, both from 1.

    Raises
    ------
    InputError
        There are fewer particles than groups.
    """
    batches = -(-particles // batch_size)
    if particles < batches * (folds + 1):
        raise InputError(
            f"{particles} particles cannot fill {folds + 1} groups; "
            "use a larger table or fewer --folds"
        )
    groups = np.zeros((particles, 2), dtype=np.int32)
    everyone = np.arange(particles, dtype=np.int32)
    for batch, members in enumerate(split_evenly(everyone, batches, rng), start=1):
        groups[members, 0] = batch
        for group, rows in enumerate(split_evenly(members, folds + 1, rng), start=1):
            groups[rows, 1] = group
    return groups


def fold_rows(groups: IntArray, batch: int, left_out: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of the fold of a batch that leaves out one group, ascending."""
    return np.flatnonzero((groups[:, 0] == batch) & (groups[:, 1] != left_out))


def group_rows(groups: IntArray, batch: int, group: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of one group of a batch, ascending."""
    return np.flatnonzero((groups[:, 0] == batch) & (groups[:, 1] == group))
