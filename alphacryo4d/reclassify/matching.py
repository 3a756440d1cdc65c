"""Which state of one fold is which of another: by particles within a batch, else by volumes.

A fit may move states (:func:`alphacryo4d.ml3d.mixture_search.split_and_merge`), and every fold
then numbers them its own way. Votes can only be counted once the numbers mean the same.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from alphacryo4d.core.arrays import Array

COARSE = 12
"""Fourier radius (voxels) of the volumes by which states of batches are compared."""


def match_by_particles(labels: Array, others: Array, count: int) -> Array:
    """Number that every state has in other classifications of the same particles.

    Parameters
    ----------
    labels : (n,) int array
        States from 0, negative where there is none.
    others : (n, m) int array
        States in m other classifications, likewise.
    count : int
        Number of states K.

    Returns
    -------
    (K,) int array
        State k of ``labels`` is state ``found[k]`` of the others: the assignment with the most
        particles in common (Kuhn 1955).
    """
    common = np.zeros(count * count, np.int64)
    for column in others.T:
        both = np.flatnonzero((labels >= 0) & (column >= 0))
        pairs = labels[both].astype(np.int64) * count + column[both]
        common += np.bincount(pairs, minlength=count * count)
    return np.asarray(linear_sum_assignment(common.reshape(count, count), maximize=True)[1])


def match_by_volumes(volumes: Array, others: Array) -> Array:
    """Number that every state has among other volumes, the nearest ones in sum.

    Parameters
    ----------
    volumes, others : (K, s, s, s) arrays
        Each set may have a scale of its own; that of its mean is taken off.

    Returns
    -------
    (K,) int array
        As of :func:`match_by_particles`.
    """
    flat = [each.reshape(len(each), -1).astype(np.float64) for each in (volumes, others)]
    first, second = (each / (float(np.linalg.norm(each.mean(axis=0))) or 1.0) for each in flat)
    square = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    return np.asarray(linear_sum_assignment(square - 2 * first @ second.T)[1])


def coarse(cubes: Array) -> Array:
    """Volumes (..., m, m, m) with the Fourier samples up to :data:`COARSE`, float32."""
    size = cubes.shape[-1]
    radius = min(COARSE, (size - 1) // 2)
    samples = np.fft.fftfreq(size, 1 / size).round().astype(int)
    kept = np.flatnonzero(np.abs(samples) <= radius)
    transform = np.fft.fftn(cubes, axes=(-3, -2, -1))
    transform = transform[..., kept[:, None, None], kept[None, :, None], kept]
    scale = (len(kept) / size) ** 3
    return np.asarray(np.fft.ifftn(transform, axes=(-3, -2, -1)).real * scale, np.float32)


def renumber(result: dict[str, Array], numbers: Array) -> dict[str, Array]:
    """Result of a fold with its states renumbered.

    Parameters
    ----------
    result : dict
        ``labels`` and ``heldout`` hold states; ``posteriors`` (n, K), ``split_gains`` (2, K),
        ``lost`` and ``lost_squares`` (K, K), ``weights`` (K,) and ``volumes`` (K, ...) are one a
        state.
    numbers : (K,) int array
        New number of every state.
    """
    old = np.argsort(numbers)
    pairs = np.ix_(old, old)
    return result | {
        "labels": numbers[result["labels"]].astype(np.int32),
        "heldout": numbers[result["heldout"]].astype(np.int32),
        "posteriors": result["posteriors"][:, old],
        "split_gains": result["split_gains"][:, old],
        "lost": result["lost"][pairs],
        "lost_squares": result["lost_squares"][pairs],
        "weights": result["weights"][old],
        "volumes": result["volumes"][old],
    }


def match_folds(
    results: list[dict[str, Array]],
    rows: list[Array],
    seeds: Array,
    volumes: Array | None = None,
) -> list[dict[str, Array]]:
    """Results of the folds of one batch, their states renumbered alike.

    Parameters
    ----------
    results : list of dict
        As :func:`renumber` takes them.
    rows : list of (n_j,) int arrays
        Particles of every fold, as places in the batch of n.
    seeds : (n,) int array
        States from which the folds started, from 0; negative where there was none.
    volumes : (K, s, s, s) array, optional
        Where given, the first fold takes its numbers from these and not from the seeds.
    """
    count = len(results[0]["weights"])
    labels = np.full((len(seeds), len(results) + 1), -1, np.int32)
    if volumes is None:
        labels[:, 0] = seeds
    matched: list[dict[str, Array]] = []
    for fold, (result, mine) in enumerate(zip(results, rows, strict=True)):
        own = np.full(len(seeds), -1, np.int32)
        own[mine] = result["labels"]
        if fold == 0 and volumes is not None:
            numbers = match_by_volumes(result["volumes"], volumes)
        else:
            numbers = match_by_particles(own, labels[:, : fold + 1], count)
        matched.append(renumber(result, numbers))
        labels[mine, fold + 1] = matched[-1]["labels"]
    return matched
