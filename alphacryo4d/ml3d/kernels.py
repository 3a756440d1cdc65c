"""Compiled kernels: projection (expectation) and back-projection (maximisation).

A grid is the half of a padded Fourier volume in the layout of ``rfftn``: shape (N, N, N // 2 + 1)
with z slowest, negative z and y wrapped. The columns of a voxel (classes or components) lie side
by side, so that one gather of eight neighbours serves all of them. Kernels work on a range
``begin:end`` of particles or planes; the caller runs the ranges in threads, fixed ranges whatever
the threads, so that results do not depend on their number.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from alphacryo4d.ml3d.kernels_vector import (
    LANES,
    add8,
    add8_pair,
    gather8,
    scatter8,
)

Array = np.ndarray[Any, Any]
FAST = {"contract", "reassoc", "nsz", "arcp"}


@numba.njit(inline="always", fastmath=FAST)
def _corners(  # type: ignore[no-untyped-def]
    x, y, z, size, width, index, weight
):
    """Fill the eight neighbours of a point and their trilinear weights; -1 if it was flipped.

    A neighbour is given by the place of its first column in a flat grid of ``width`` columns.
    """
    sign = np.float32(1.0)
    if x < 0:
        x = -x
        y = -y
        z = -z
        sign = np.float32(-1.0)
    x0 = int(math.floor(x))
    y0 = int(math.floor(y))
    z0 = int(math.floor(z))
    fx = np.float32(x - x0)
    fy = np.float32(y - y0)
    fz = np.float32(z - z0)
    if y0 < 0:
        y0 += size
    if z0 < 0:
        z0 += size
    y1 = y0 + 1
    if y1 == size:
        y1 = 0
    z1 = z0 + 1
    if z1 == size:
        z1 = 0
    half = size // 2 + 1
    one = np.float32(1.0)
    i00 = ((z0 * size + y0) * half + x0) * width
    i01 = ((z0 * size + y1) * half + x0) * width
    i10 = ((z1 * size + y0) * half + x0) * width
    i11 = ((z1 * size + y1) * half + x0) * width
    w00 = (one - fz) * (one - fy)
    w01 = (one - fz) * fy
    w10 = fz * (one - fy)
    w11 = fz * fy
    index[0] = i00
    index[1] = i00 + width
    index[2] = i01
    index[3] = i01 + width
    index[4] = i10
    index[5] = i10 + width
    index[6] = i11
    index[7] = i11 + width
    weight[0] = w00 * (one - fx)
    weight[1] = w00 * fx
    weight[2] = w01 * (one - fx)
    weight[3] = w01 * fx
    weight[4] = w10 * (one - fx)
    weight[5] = w10 * fx
    weight[6] = w11 * (one - fx)
    weight[7] = w11 * fx
    return sign


@numba.njit(inline="always")
def nearest(weight):  # type: ignore[no-untyped-def]
    """Which of the eight neighbours is the nearest: the one of the largest weight."""
    best = 0
    for j in range(1, 8):
        if weight[j] > weight[best]:
            best = j
    return best


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def expect_components(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, shell, first, last, group, inverse_noise, grid,
    size, used, means, second, cross, gram, residual,
):  # fmt: skip
    """Inner products of data with the columns of a grid, and of the columns with each other.

    The first ``used`` columns count; ``cross`` (n, q) and ``gram`` (n, q, q) float32 are weighted
    by the inverse noise power; ``residual`` (G, shells) gets the expected power of data minus
    model for coordinates with the moments ``means`` (n, q) and ``second`` (n, q, q); others as in
    :func:`expect_classes`.
    """
    columns = cross.shape[1]
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    value = np.empty(2 * columns, np.float32)
    flat = np.empty(columns * columns, np.float32)
    square = flat.reshape(columns, columns)
    inner = np.empty(columns, np.float32)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        m = matrices[p]
        gram[i] = 0
        cross[i] = 0
        flat[:] = 0
        inner[:] = 0
        power = 0.0
        for s in range(first, last):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, 2 * columns, index, weight)
            c = ctf[p, s]
            re = data[p, s, 0]
            im = data[p, s, 1]
            power += re * re + im * im
            a = c * re
            d = c * im * sign
            c2 = c * c
            for k in range(0, columns, LANES):
                gather8(grid, index, weight, k, value, k)
                gather8(grid, index, weight, columns + k, value, columns + k)
                add8_pair(inner, k, a, k, d, columns + k, value)
            for j in range(used):
                vr = c2 * value[j]
                vi = c2 * value[columns + j]
                for k in range(j - j % LANES, columns, LANES):
                    add8_pair(flat, j * columns + k, vr, k, vi, columns + k, value)
            h = shell[s]
            if s + 1 == last or shell[s + 1] != h:
                f = inverse_noise[g, h]
                for j in range(used):
                    power -= 2.0 * means[i, j] * inner[j]
                    cross[i, j] += f * inner[j]
                    for k in range(j, used):
                        twice = 1.0 if k == j else 2.0
                        power += twice * second[i, j, k] * square[j, k]
                        gram[i, j, k] += f * square[j, k]
                flat[:] = 0
                inner[:] = 0
                residual[g, h] += power
                power = 0.0
        for j in range(used):
            for k in range(j):
                gram[i, j, k] = gram[i, k, j]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def backproject(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, shell, first, last, group, inverse_noise,
    coefficients, products, size, dense, sums, weights,
):  # fmt: skip
    """Add particles to a grid that holds zeros or other sums (maximisation).

    Every voxel near a sample gets, in its row of ``sums`` (voxels * 2 q,), ``w c y / noise`` times
    ``coefficients`` (n, q), real parts then imaginary parts, and in its row of ``weights``
    (voxels * r,) ``w c^2 / noise`` times ``products`` (n, r). Where samples are ``dense``, the
    latter go to the nearest voxel alone: they only enter a convolution of the molecule's width.
    Other arguments as in :func:`expect_classes`.
    """
    q = coefficients.shape[1]
    r = products.shape[1]
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    share = np.empty(2 * q, np.float32)
    flat = products.ravel()
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        m = matrices[p]
        mean = coefficients[i]
        for s in range(first, last):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, 2 * q, index, weight)
            f = inverse_noise[g, shell[s]]
            c = ctf[p, s]
            a = f * c * data[p, s, 0]
            d = f * c * data[p, s, 1] * sign
            c2 = f * c * c
            for k in range(q):
                share[k] = a * mean[k]
                share[q + k] = d * mean[k]
            for k in range(0, 2 * q, LANES):
                scatter8(sums, index, weight, k, share, k)
            if dense:
                near = index[nearest(weight)] // (2 * q) * r
                for k in range(0, r, LANES):
                    add8(weights, near + k, c2, flat, i * r + k)
                continue
            for j in range(8):
                near = index[j] // (2 * q) * r
                for k in range(0, r, LANES):
                    add8(weights, near + k, weight[j] * c2, flat, i * r + k)


@numba.njit(inline="always")
def _turned(re, im, quarters):  # type: ignore[no-untyped-def]
    """Multiply a number by i to the power of ``quarters``."""
    quarters = quarters % 4
    if quarters == 0:
        return complex(re, im)
    if quarters == 1:
        return complex(-im, re)
    if quarters == 2:
        return complex(-re, -im)
    return complex(im, -re)


@numba.njit(cache=True, nogil=True)
def fold_blocks(begin, end, sums, weights, size, total, weighted):  # type: ignore[no-untyped-def]
    """Add the blocks in fixed order, apply Friedel symmetry at x = 0, and turn columns outward.

    ``sums`` (blocks, voxels, 2 q) and ``weights`` (blocks, voxels, r) as of :func:`backproject`.
    Fills ``total`` (q, N, N, N // 2 + 1) complex64, with the origin moved from N // 4 to the
    first voxel, and ``weighted`` (N * N * (N // 2 + 1), r) float32.
    """
    blocks = sums.shape[0]
    r = weights.shape[2]
    q = total.shape[0]
    half = size // 2 + 1
    row = np.empty(2 * q, np.float32)
    for z in range(begin, end):
        for y in range(size):
            for x in range(half):
                v = (z * size + y) * half + x
                row[:] = 0
                weighted[v] = 0
                for b in range(blocks):
                    for k in range(2 * q):
                        row[k] += sums[b, v, k]
                    for k in range(r):
                        weighted[v, k] += weights[b, v, k]
                if x == 0:
                    mate = ((size - z) % size * size + (size - y) % size) * half
                    for b in range(blocks):
                        for k in range(q):
                            row[k] += sums[b, mate, k]
                            row[q + k] -= sums[b, mate, q + k]
                        for k in range(r):
                            weighted[v, k] += weights[b, mate, k]
                turn = (x + y + z) % 4
                for k in range(q):
                    total[k, z, y, x] = _turned(row[k], row[q + k], 4 - turn)


@numba.njit(cache=True, nogil=True)
def columns_inward(begin, end, volumes, size, grid):  # type: ignore[no-untyped-def]
    """Lay the columns of ``volumes`` (q, N, N, N // 2 + 1) complex64 side by side in ``grid``."""
    q = volumes.shape[0]
    columns = grid.shape[1] // 2
    half = size // 2 + 1
    for z in range(begin, end):
        for y in range(size):
            for x in range(half):
                v = (z * size + y) * half + x
                turn = (x + y + z) % 4
                for k in range(q):
                    value = _turned(volumes[k, z, y, x].real, volumes[k, z, y, x].imag, turn)
                    grid[v, k] = value.real
                    grid[v, columns + k] = value.imag
