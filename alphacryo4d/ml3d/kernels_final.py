"""Compiled loops of the final volumes: one class at a time on a grid of its own."""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.kernels import FAST, _corners, _turned
from alphacryo4d.ml3d.kernels_vector import scatter_sample


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def add_images(data, ctf, matrices, rows, kx, ky, size, sums):  # type: ignore[no-untyped-def]
    """Add the particles of one class to a grid twice finer than the image's transform.

    Every voxel of ``sums`` (voxels, 4) gets the weighted data (real, imaginary) and squared CTF.
    """
    flat = sums.reshape(-1)
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    two = np.float32(2.0)
    for i in range(rows.shape[0]):
        p = rows[i]
        m = matrices[p]
        for s in range(kx.shape[0]):
            x = two * (kx[s] * m[0, 0] + ky[s] * m[1, 0])
            y = two * (kx[s] * m[0, 1] + ky[s] * m[1, 1])
            z = two * (kx[s] * m[0, 2] + ky[s] * m[1, 2])
            sign = _corners(x, y, z, size, 1, index, weight)
            c = ctf[p, s]
            a = c * data[p, s, 0]
            d = c * data[p, s, 1] * sign
            scatter_sample(flat, index, weight, a, d, c * c)


@numba.njit(cache=True, nogil=True)
def unfold_sums(sums, size, right, weights):  # type: ignore[no-untyped-def]
    """Weighted data and weights with Friedel symmetry at x = 0.

    Fills ``right`` (1, N, N, N // 2 + 1) complex64, with the origin moved from N // 4 to the first
    voxel, and ``weights`` (N * N * (N // 2 + 1), 1) float32.
    """
    half = size // 2 + 1
    for z in range(size):
        for y in range(size):
            for x in range(half):
                v = (z * size + y) * half + x
                re = sums[v, 0]
                im = sums[v, 1]
                weight = sums[v, 2]
                if x == 0:
                    mate = ((size - z) % size * size + (size - y) % size) * half
                    re += sums[mate, 0]
                    im -= sums[mate, 1]
                    weight += sums[mate, 2]
                weights[v, 0] = weight
                right[0, z, y, x] = _turned(re, im, 4 - (x + y + z) % 4)


@numba.njit(cache=True, nogil=True)
def divide_by_weights(right, weights, radius, share, mean, spectrum):  # type: ignore[no-untyped-def]
    """Weighted data over weight plus a share of the shell's mean weight; zero beyond the radius.

    Parameters
    ----------
    right, weights : arrays of :func:`unfold_sums`
    radius : int
        Last shell in pixels of the unpadded transform.
    share : float
        So that voxels with hardly any data stay finite.
    mean : (radius + 1,) float64
        Filled with the mean weight of every shell.
    spectrum : (1, N, N, N // 2 + 1) complex64
        Filled.
    """
    size = right.shape[1]
    half = size // 2 + 1
    counts = np.zeros(radius + 1, np.float64)
    mean[:] = 0
    for step in range(2):
        for z in range(size):
            dz = z if z < half else z - size
            for y in range(size):
                dy = y if y < half else y - size
                for x in range(half):
                    shell = int(0.5 * math.sqrt(x * x + dy * dy + dz * dz) + 0.5)
                    weight = weights[(z * size + y) * half + x, 0]
                    if shell > radius:
                        spectrum[0, z, y, x] = 0
                    elif step == 0:
                        mean[shell] += weight
                        counts[shell] += 1
                    else:
                        total = weight + share * mean[shell]
                        value = right[0, z, y, x]
                        if total > 0:
                            spectrum[0, z, y, x] = complex(value.real / total, value.imag / total)
                        else:
                            spectrum[0, z, y, x] = 0
        if step == 0:
            for shell in range(radius + 1):
                mean[shell] /= max(counts[shell], 1.0)
