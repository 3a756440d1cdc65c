"""Compiled loops of the final volumes: one class at a time on a grid of its own."""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.basic import half_width
from alphacryo4d.ml3d.compiled.cache import FAST, kernel


@numba.njit(inline="always", fastmath=FAST)
def _shells(z, y, size, width, line):  # type: ignore[no-untyped-def]
    """Shells, in pixels of the unpadded transform, of the first voxels of a row."""
    z, y = min(z, size - z), min(y, size - y)
    rest, half = np.float32(z * z + y * y), np.float32(0.5)
    for x in range(width):
        line[x] = np.int32(half * np.sqrt(np.float32(x) * np.float32(x) + rest) + half)


@kernel
def divide_by_weights(right, weights, radius, share, mean, spectrum):  # type: ignore[no-untyped-def]
    """Weighted data over weight plus a share of the shell's mean weight.

    Parameters
    ----------
    right, weights : (N, N, N // 2 + 1) complex64, float32
        Of :func:`alphacryo4d.ml3d.compiled.classes.fold_class`.
    radius : int
        Last shell in pixels of the unpadded transform.
    share : float
        So that voxels with hardly any data stay finite.
    mean : (radius + 1,) float64
        Filled with the mean weight of every shell.
    spectrum : (N, N, N // 2 + 1) complex64
        Filled up to the radius.
    """
    size = len(right)
    most = 2 * radius + 1
    line = np.empty(size // 2 + 1, np.int32)
    counts = np.zeros(radius + 2, np.float64)
    sums = np.zeros(radius + 2, np.float64)
    for z in range(size):
        for y in range(size):
            width = half_width(z, y, size, most)
            _shells(z, y, size, width, line)
            for x in range(width):
                sums[line[x]] += weights[z, y, x]
                counts[line[x]] += 1
    added = np.zeros(radius + 2, np.float32)
    for h in range(radius + 2):
        sums[h] /= max(counts[h], 1.0)
        added[h] = share * sums[h]
        if h <= radius:
            mean[h] = sums[h]
    total = np.empty(size // 2 + 1, np.float32)
    least, zero = np.float32(1e-30), np.float32(0)
    for z in range(size):
        for y in range(size):
            width = half_width(z, y, size, most)
            _shells(z, y, size, width, line)
            for x in range(width):
                total[x] = weights[z, y, x] + added[line[x]]
            for x in range(width):
                factor = np.float32(1) / max(total[x], least)
                spectrum[z, y, x] = right[z, y, x] * (factor if line[x] <= radius else zero)
