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
    particles: int,
    *,
    batch_size: int,
    folds: int,
    rng: np.random.Generator,
    images: np.ndarray[Any, Any] | None = None,
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
    images : (P,) int array, optional
        Image of every particle, numbered from 0, where several particles are copies of one
        (symmetry expansion): copies share batch and group, and the images are shared out evenly.

    Returns
    -------
    (P, 2) int32 array
        Batch and group of every particle, both from 1.

    Raises
    ------
    InputError
        There are fewer particles than groups.
    """
    batches = max(1, -(-particles // batch_size))
    if images is not None:
        distinct = int(images.max(initial=-1)) + 1
        if distinct < batches * (folds + 1):
            raise InputError(
                f"{particles} particles of {distinct} images cannot fill {batches * (folds + 1)} "
                "groups; use a larger table or fewer --folds"
            )
        per_batch = -(-distinct // batches)
        shared = assign_groups(distinct, batch_size=per_batch, folds=folds, rng=rng)
        return np.asarray(shared[images], np.int32)
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
