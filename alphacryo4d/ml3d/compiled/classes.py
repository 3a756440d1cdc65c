"""Compiled loops of the maximisation of classes: only the classes that a particle may belong to."""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.basic import half_width, place_samples
from alphacryo4d.ml3d.compiled.cache import FAST, kernel
from alphacryo4d.ml3d.compiled.operations import fetch, gather_rows, scatter_samples
from alphacryo4d.ml3d.compiled.vectors import LANES


@kernel
def backproject_class(  # type: ignore[no-untyped-def]
    members, posteriors, data, ctf, matrices, rows, kx, ky, last, group, inverse_noise, size, sums,
):  # fmt: skip
    """Add the members of one class to its grid, each sample to its eight neighbours.

    Four vectors of eight numbers are read, added to and written for a sample: 32 multiply-adds,
    and 256 bytes in four to eight cache lines, which set the pace.

    Parameters
    ----------
    members : (n,) int64
        Places in ``rows`` of the particles.
    posteriors : (n,) float32
        Of the particles in this class.
    inverse_noise : (G, last) float32
        Inverse noise power of every sample.
    last : int
        Samples in use; ``kx`` and ``ky`` have zeros up to a multiple of 8.
    sums : (N * N * (N // 2 + 1) * 4,) float32
        Every voxel's real and imaginary part of ``p w c y / noise``, ``p c^2 / noise``
        and an unused number; added to.
    Others as in :func:`alphacryo4d.ml3d.compiled.expect.expect_classes`.
    """
    samples = len(kx)
    index = np.empty(4 * samples, np.int32)
    weight = np.empty(8 * samples, np.float32)
    sign = np.empty(samples, np.float32)
    nearest = np.empty(samples, np.int32)
    part = np.empty(3 * samples, np.float32)
    datum = np.zeros(3 * samples, np.float32)
    for n in range(len(members)):
        p = rows[members[n]]
        if n + 1 < len(members):
            later = rows[members[n + 1]]
            fetch(data[later].ravel(), 0, 2 * last)
            fetch(ctf[later], 0, last)
        place_samples(kx, ky, matrices[p], size, index, weight, nearest, sign, part)
        _weigh(data[p], ctf[p], inverse_noise[group[p]], posteriors[n], sign, datum)
        scatter_samples(sums, index, weight, datum, samples)


@numba.njit(inline="always", fastmath=FAST)
def _weigh(data, ctf, inverse, posterior, sign, datum):  # type: ignore[no-untyped-def]
    """Data and squared CTF as they enter the sums: real, imaginary parts, squares."""
    samples, last = len(sign), len(inverse)
    imaginary, square = datum[samples : 2 * samples], datum[2 * samples :]
    for s in range(last):
        imaginary[s] = posterior * inverse[s] * ctf[s]
    for s in range(last):
        square[s] = imaginary[s] * ctf[s]
    for s in range(last):
        datum[s] = imaginary[s] * data[s, 0]
    for s in range(last):
        imaginary[s] *= data[s, 1] * sign[s]


@kernel
def fold_class(sums, size, radius, total, weighted):  # type: ignore[no-untyped-def]
    """Apply Friedel symmetry at x = 0 and move the origin from N // 4 to the first voxel.

    ``sums`` (N * N * (N // 2 + 1), 4) as of :func:`backproject_class`, zero beyond ``radius``;
    ``total`` (N, N, N // 2 + 1) complex64 and ``weighted`` (N, N, N // 2 + 1) float32 get what
    lies within.
    """
    half = size // 2 + 1
    cosine = np.array([1.0, 0.0, -1.0, 0.0], np.float32)
    sine = np.array([0.0, -1.0, 0.0, 1.0], np.float32)
    for z in range(size):
        for y in range(size):
            width = half_width(z, y, size, radius)
            first = (z * size + y) * half
            mate = ((size - z) % size * size + (size - y) % size) * half
            for x in range(width):
                v = first + x
                re, im, w = sums[v, 0], sums[v, 1], sums[v, 2]
                if x == 0:
                    re += sums[mate, 0]
                    im -= sums[mate, 1]
                    w += sums[mate, 2]
                c, s = cosine[(x + y + z) & 3], sine[(x + y + z) & 3]
                total[z, y, x] = complex(c * re - s * im, c * im + s * re)
                weighted[z, y, x] = w


@kernel
def subtract_reference(begin, end, data, ctf, matrices, kx, ky, grid, size):  # type: ignore[no-untyped-def]
    """Take the projection of one volume, times the CTF, off the samples of every particle.

    ``grid`` (voxels * 16,) float32 holds the volume in the first column of its references.
    """
    samples, width = len(kx), 2 * LANES
    index, weight = np.empty(4 * samples, np.int32), np.empty(8 * samples, np.float32)
    nearest, sign = np.empty(samples, np.int32), np.empty(samples, np.float32)
    part, values = np.empty(3 * samples, np.float32), np.empty(samples * width, np.float32)
    for p in range(begin, end):
        place_samples(kx, ky, matrices[p], size, index, weight, nearest, sign, part)
        gather_rows(grid, index, weight, samples, 0, samples, width, values)
        for s in range(samples):
            data[p, s, 0] -= ctf[p, s] * values[s * width]
            data[p, s, 1] -= ctf[p, s] * values[s * width + LANES] * sign[s]
