"""Batches, groups and folds: every particle is in exactly M of the M+1 folds (4.1)."""

from __future__ import annotations

import math
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
        return np.asarray(_shuffled(distinct, batches, folds, rng)[images], np.int32)
    if particles < batches * (folds + 1):
        raise InputError(
            f"{particles} particles cannot fill {folds + 1} groups; "
            "use a larger table or fewer --folds"
        )
    return _shuffled(particles, batches, folds, rng)


def _shuffled(particles: int, batches: int, folds: int, rng: np.random.Generator) -> IntArray:
    groups = np.zeros((particles, 2), dtype=np.int32)
    everyone = np.arange(particles, dtype=np.int32)
    for batch, members in enumerate(split_evenly(everyone, batches, rng), start=1):
        groups[members, 0] = batch
        for group, rows in enumerate(split_evenly(members, folds + 1, rng), start=1):
            groups[rows, 1] = group
    return groups


def require_filled(groups: IntArray, levels: tuple[int, ...], minimum: int) -> None:
    """:func:`require_classes` of the smallest fold of all batches."""
    sizes = []
    for batch in range(1, int(groups[:, 0].max(initial=0)) + 1):
        members = np.bincount(groups[groups[:, 0] == batch, 1])
        sizes.append(int(members.sum() - members.max()))
    require_classes(min(sizes, default=0), levels, minimum)


def require_classes(particles: int, levels: tuple[int, ...], minimum: int) -> None:
    """Raise ``InputError`` where so many classes cannot all be filled, with how many can.

    Parameters
    ----------
    particles : int
        Particles of a classification.
    levels : tuple of int
        Classes, level by level; their product counts.
    minimum : int
        Particles that a class needs to be kept.
    """
    classes = math.prod(levels)
    most = particles // minimum
    if classes <= most:
        return
    shown = "x".join(map(str, levels))
    raise InputError(
        f"--classes {shown}: {particles} particles of a fold cannot fill {classes} classes of at "
        f"least {minimum}; at most {most} fit (--classes {max(most, 1)}, or a smaller "
        "--minimum-class-size)"
    )


def fold_rows(groups: IntArray, batch: int, left_out: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of the fold of a batch that leaves out one group, ascending."""
    return np.flatnonzero((groups[:, 0] == batch) & (groups[:, 1] != left_out))


def group_rows(groups: IntArray, batch: int, group: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of one group of a batch, ascending."""
    return np.flatnonzero((groups[:, 0] == batch) & (groups[:, 1] == group))
