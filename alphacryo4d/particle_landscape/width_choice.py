"""The width of the neighbourhood, Fourier shell by shell, by half-sets that judge each other.

A wide neighbourhood has little noise and blurs what moves; a narrow one the other way round. The
map of every width from one half-set is compared with what the other half-set's particles nearest
the point say of the same voxels. How much of these data it explains is the judgement: blur and
noise of a map both lower it, and noise of the judge does so for all widths alike.
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array

_SHARE = 0.1
"""Share of a shell's mean weight that is added to the weight of every voxel."""
_NEIGHBOURS = 2
"""Shells on either side that are judged together."""
_BEYOND_CHANCE = 4.0
"""Least gain of a width over the widest, in noise powers."""


def explained_by_width(sums: Array, weights: Array, shells: Array) -> Array:
    """What maps of every width explain of the data nearest the point in the other half-set.

    Parameters
    ----------
    sums : (2, voxels, 2 K) float32
        Of each half-set, ``w c y`` projected back with the weights of every width, the narrowest
        first: real parts, then imaginary parts.
    weights : (2, voxels, K) float32
        ``w c^2`` likewise.
    shells : (voxels,) int array
        Shell of every voxel, -1 for none.

    Returns
    -------
    (shells, K) float64 array
        Drop of the squared residual by the best multiple of each map, both half-sets together; of
        the order of the noise power per sample where a map has no signal.
    """
    used = shells >= 0
    index, number = shells[used], int(shells.max()) + 1
    k = weights.shape[2]
    found = np.zeros((number, k))
    for judge in (0, 1):
        real, imag = sums[judge][used, 0], sums[judge][used, k]
        counted = weights[judge][used, 0]
        own, other = sums[1 - judge], weights[1 - judge]
        for column in range(k):
            total = other[used, column]
            mean = np.bincount(index, total, number) / np.maximum(np.bincount(index), 1)
            inverse = 1 / np.maximum(total + (_SHARE * mean)[index], 1e-30)
            a, b = own[used, column] * inverse, own[used, k + column] * inverse
            cross = np.bincount(index, real * a + imag * b, number)
            power = np.bincount(index, counted * (a * a + b * b), number)
            gain = np.sign(cross) * cross**2 / np.maximum(power, 1e-30)
            found[:, column] += gain
    return found


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
