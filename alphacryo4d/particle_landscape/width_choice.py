"""The width of the neighbourhood, Fourier shell by shell, by half-sets that judge each other.

A wide neighbourhood has little noise and blurs what moves; a narrow one the other way round. The
map of every width from one half-set is compared with what the other half-set's particles nearest
the point say of the same voxels. How much of these data it explains is the judgement: blur and
noise of a map both lower it, and noise of the judge does so for all widths alike.
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array

RINGS = 8
_INNERMOST = 0.35
"""Particles of the innermost ring, in those that the narrowest width is worth."""
_SHARE = 0.1
"""Share of a shell's mean weight that is added to the weight of every voxel."""
_NEIGHBOURS = 2
"""Shells on either side that are judged together."""
_BEYOND_CHANCE = 4.0
"""Least gain of a width over the widest, in noise powers."""


def rings_of(weights: Array) -> tuple[Array, Array]:
    """Rings of particles around a point, each a fixed multiple of the one within.

    Parameters
    ----------
    weights : (n, K) array
        Weights of the particles for every width, the narrowest first.

    Returns
    -------
    ring : (n,) int8 array
        Ring of every particle, from 0, by its weight for the middle width; -1 without weight.
    means : (K, RINGS) float32 array
        Mean weight of each ring's particles for every width.
    """
    near = np.flatnonzero(weights.any(axis=1))
    ring = np.full(len(weights), -1, np.int8)
    # the widest orders those that the middle width leaves out
    middle = weights[near, weights.shape[1] // 2]
    order = near[np.lexsort((-weights[near, -1], -middle))]
    narrow = max(1.0, weights[:, 0].sum(dtype=np.float64) * _INNERMOST)
    edges = np.geomspace(min(narrow, len(near)), max(1, len(near)), RINGS)
    ring[order] = np.searchsorted(edges, np.arange(len(order)), side="right").clip(0, RINGS - 1)
    means = np.zeros((weights.shape[1], RINGS), np.float32)
    for one in range(RINGS):
        members = ring == one
        if members.any():
            means[:, one] = weights[members].mean(axis=0)
    return ring, means


def explained_by_width(sums: Array, means: Array, shells: Array) -> Array:
    """What maps of every width explain of the data nearest the point in the other half-set.

    Parameters
    ----------
    sums : (2, RINGS, voxels, 4) float32
        Of each half-set and ring, real and imaginary part of ``c y`` and ``c^2`` projected back.
    means : (K, RINGS) array
        Weight of each ring for every width, the narrowest first.
    shells : (voxels,) int array
        Shell of every voxel, -1 for none.

    Returns
    -------
    (shells, K) float64 array
        Drop of the squared residual by the best multiple of each map, both half-sets together; of
        the order of the noise power per sample where a map has no signal.
    """
    used = np.flatnonzero(shells >= 0)
    index, number = shells[used], int(shells.max()) + 1
    sizes = np.maximum(np.bincount(index, minlength=number), 1)
    explained = np.zeros((number, len(means)))
    rings = [[sums[half, ring, used, :3] for ring in range(sums.shape[1])] for half in (0, 1)]

    def of(half: int, row: Array) -> Array:
        weighted = zip(row, rings[half], strict=True)
        return np.asarray(np.sum([w * ring for w, ring in weighted if w > 0], axis=0))

    for judge in (0, 1):
        real, imag, counted = of(judge, means[0]).T
        for width, row in enumerate(means):
            first, second, total = of(1 - judge, row).T
            mean = np.bincount(index, total, number) / sizes
            inverse = 1 / np.maximum(total + (_SHARE * mean)[index], 1e-30)
            a, b = first * inverse, second * inverse
            cross = np.bincount(index, real * a + imag * b, number)
            power = np.bincount(index, counted * (a * a + b * b), number)
            explained[:, width] += np.sign(cross) * cross**2 / np.maximum(power, 1e-30)
    return explained


def chosen_widths(explained: Array, noise: Array) -> Array:
    """Width (its column) of every shell; the widest where none is better beyond chance.

    Parameters
    ----------
    explained : (shells, K) array
        As :func:`explained_by_width` gives it.
    noise : (shells,) array
        Noise power per sample.

    Returns
    -------
    (shells,) int array
    """
    window = np.ones(2 * _NEIGHBOURS + 1)
    counts = np.convolve(np.ones(len(explained)), window, "same")
    scaled = explained / np.maximum(noise, 1e-30)[:, None]
    smooth = np.stack([np.convolve(column, window, "same") for column in scaled.T], axis=1)
    best = smooth.argmax(axis=1)
    gain = smooth[np.arange(len(best)), best] - smooth[:, -1]
    chosen: Array = np.where(gain > _BEYOND_CHANCE * np.sqrt(counts), best, explained.shape[1] - 1)
    return chosen
