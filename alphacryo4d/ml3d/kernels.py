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

Array = np.ndarray[Any, Any]
FAST = {"contract", "reassoc", "nsz", "arcp"}


@numba.njit(inline="always", fastmath=FAST)
def _corners(  # type: ignore[no-untyped-def]
    x, y, z, size, index, weight
):
    """Fill the eight neighbours of a point and their trilinear weights; -1 if it was flipped."""
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
    i00 = (z0 * size + y0) * half + x0
    i01 = (z0 * size + y1) * half + x0
    i10 = (z1 * size + y0) * half + x0
    i11 = (z1 * size + y1) * half + x0
    w00 = (one - fz) * (one - fy)
    w01 = (one - fz) * fy
    w10 = fz * (one - fy)
    w11 = fz * fy
    index[0] = i00
    index[1] = i00 + 1
    index[2] = i01
    index[3] = i01 + 1
    index[4] = i10
    index[5] = i10 + 1
    index[6] = i11
    index[7] = i11 + 1
    weight[0] = w00 * (one - fx)
    weight[1] = w00 * fx
    weight[2] = w01 * (one - fx)
    weight[3] = w01 * fx
    weight[4] = w10 * (one - fx)
    weight[5] = w10 * fx
    weight[6] = w11 * (one - fx)
    weight[7] = w11 * fx
    return sign


@numba.njit(inline="always", fastmath=FAST)
def _gather(grid, index, weight, out):  # type: ignore[no-untyped-def]
    """Interpolate all columns of a voxel (real parts, then imaginary parts)."""
    g0 = grid[index[0]]
    g1 = grid[index[1]]
    g2 = grid[index[2]]
    g3 = grid[index[3]]
    g4 = grid[index[4]]
    g5 = grid[index[5]]
    g6 = grid[index[6]]
    g7 = grid[index[7]]
    w0, w1, w2, w3 = weight[0], weight[1], weight[2], weight[3]
    w4, w5, w6, w7 = weight[4], weight[5], weight[6], weight[7]
    for k in range(out.shape[0]):
        out[k] = (w0 * g0[k] + w1 * g1[k] + w2 * g2[k] + w3 * g3[k]) + (
            w4 * g4[k] + w5 * g5[k] + w6 * g6[k] + w7 * g7[k]
        )


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def expect_classes(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, shell, first, last, group, inverse_noise, grid,
    size, log_weights, temperature, before, uncertainty, posteriors, evidence, residual, moments,
):  # fmt: skip
    """Posteriors of the classes (expectation); fills the last four arrays.

    Parameters
    ----------
    data, ctf : (P, S, 2), (P, S) float32
        Fourier samples and CTF of every particle.
    matrices : (P, 2, 3) float32
        The two first rows of each rotation matrix times padding (and times the scale of grids).
    rows : (n,) int64
        Particles to work on.
    kx, ky, shell : (S,)
        Position (pixels) and shell of the samples; ``first:last`` are used.
    group, inverse_noise : (P,), (G, shells)
        Optics group and inverse noise power of its shells.
    grid : (N * N * (N // 2 + 1), 2 K) float32
        References, columns padded to a multiple of 8.
    log_weights : (K,) float32
        Log of the prior probability; -inf closes a column.
    before, uncertainty : (n, K) or (0, K), (shells, K) float32
        Posteriors with which the references were made, and the posterior variance of their
        Fourier components: what a particle added to a reference itself is taken off its score.
    posteriors : (n, K) float32
    evidence : (n,) float64
        Log of the sum over classes of weight times likelihood ratio against noise alone.
    residual : (G, shells) float64
        Expected power of data minus reference.
    moments : (n, 2) float32
        Expected inner product of data and reference, and norm of the reference.
    """
    columns = posteriors.shape[1]
    shells = inverse_noise.shape[1]
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    value = np.empty(2 * columns, np.float32)
    cross = np.empty((shells, columns), np.float32)
    norm = np.empty((shells, columns), np.float32)
    power = np.empty(shells, np.float64)
    transfer = np.empty(shells, np.float64)
    score = np.empty(columns, np.float64)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        m = matrices[p]
        cross[:] = 0
        norm[:] = 0
        power[:] = 0
        transfer[:] = 0
        for s in range(first, last):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, index, weight)
            _gather(grid, index, weight, value)
            re = data[p, s, 0]
            im = data[p, s, 1]
            c = ctf[p, s]
            power[shell[s]] += re * re + im * im
            a = c * re
            d = c * im * sign
            c2 = c * c
            transfer[shell[s]] += c2
            cross_s = cross[shell[s]]
            norm_s = norm[shell[s]]
            for k in range(columns):
                vr = value[k]
                vi = value[columns + k]
                cross_s[k] += a * vr + d * vi
                norm_s[k] += c2 * (vr * vr + vi * vi)
        top = -np.inf
        for k in range(columns):
            score[k] = 0.0
        for h in range(shells):
            f = inverse_noise[g, h]
            for k in range(columns):
                score[k] += f * (2.0 * cross[h, k] - norm[h, k])
            if before.shape[0]:
                f *= 2.0 * transfer[h]
                for k in range(columns):
                    score[k] -= f * before[i, k] * uncertainty[h, k]
        for k in range(columns):
            score[k] = score[k] / temperature + log_weights[k]
            if score[k] > top:
                top = score[k]
        total = 0.0
        for k in range(columns):
            score[k] = math.exp(score[k] - top)
            total += score[k]
        evidence[i] = top + math.log(total)
        inner = 0.0
        square = 0.0
        for k in range(columns):
            score[k] /= total
            posteriors[i, k] = score[k]
        for h in range(shells):
            sum_cross = 0.0
            sum_norm = 0.0
            for k in range(columns):
                sum_cross += score[k] * cross[h, k]
                sum_norm += score[k] * norm[h, k]
            residual[g, h] += power[h] - 2.0 * sum_cross + sum_norm
            inner += inverse_noise[g, h] * sum_cross
            square += inverse_noise[g, h] * sum_norm
        moments[i, 0] = inner
        moments[i, 1] = square


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def expect_components(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, shell, first, last, group, inverse_noise, grid,
    size, means, second, cross, gram, residual,
):  # fmt: skip
    """Inner products of data with the columns of a grid, and of the columns with each other.

    ``cross`` (n, q) and ``gram`` (n, q, q) float32 are weighted by the inverse noise power;
    ``residual`` (G, shells) gets the expected power of data minus model for coordinates with the
    moments ``means`` (n, q) and ``second`` (n, q, q); others as in :func:`expect_classes`.
    """
    columns = cross.shape[1]
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    value = np.empty(2 * columns, np.float32)
    square = np.empty((columns, columns), np.float32)
    inner = np.empty(columns, np.float32)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        m = matrices[p]
        gram[i] = 0
        cross[i] = 0
        square[:] = 0
        inner[:] = 0
        power = 0.0
        for s in range(first, last):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, index, weight)
            _gather(grid, index, weight, value)
            c = ctf[p, s]
            re = data[p, s, 0]
            im = data[p, s, 1]
            power += re * re + im * im
            a = c * re
            d = c * im * sign
            c2 = c * c
            for k in range(columns):
                inner[k] += a * value[k] + d * value[columns + k]
            for j in range(columns):
                vr = c2 * value[j]
                vi = c2 * value[columns + j]
                row = square[j]
                for k in range(columns):
                    row[k] += vr * value[k] + vi * value[columns + k]
            h = shell[s]
            if s + 1 == last or shell[s + 1] != h:
                f = inverse_noise[g, h]
                for j in range(columns):
                    power -= 2.0 * means[i, j] * inner[j]
                    cross[i, j] += f * inner[j]
                    inner[j] = 0
                    for k in range(columns):
                        power += second[i, j, k] * square[j, k]
                        gram[i, j, k] += f * square[j, k]
                        square[j, k] = 0
                residual[g, h] += power
                power = 0.0


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def backproject(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, shell, first, last, group, inverse_noise,
    coefficients, products, size, sums,
):  # fmt: skip
    """Add particles to a grid (maximisation).

    Every voxel near a sample gets, in its row of ``sums`` (voxels, 2 q + r), ``w c y / noise``
    times ``coefficients`` (n, q), real parts then imaginary parts, and ``w c^2 / noise`` times
    ``products`` (n, r). Other arguments as in :func:`expect_classes`.
    """
    q = coefficients.shape[1]
    r = products.shape[1]
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    width = 2 * q + r
    share = np.empty(width, np.float32)
    sums[:] = 0
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        m = matrices[p]
        mean = coefficients[i]
        second = products[i]
        for s in range(first, last):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, index, weight)
            f = inverse_noise[g, shell[s]]
            c = ctf[p, s]
            a = f * c * data[p, s, 0]
            d = f * c * data[p, s, 1] * sign
            c2 = f * c * c
            for k in range(q):
                share[k] = a * mean[k]
                share[q + k] = d * mean[k]
            for k in range(r):
                share[2 * q + k] = c2 * second[k]
            for j in range(8):
                row = sums[index[j]]
                w = weight[j]
                for k in range(width):
                    row[k] += w * share[k]


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
def fold_blocks(begin, end, sums, size, total, weighted):  # type: ignore[no-untyped-def]
    """Add the blocks in fixed order, apply Friedel symmetry at x = 0, and turn columns outward.

    Fills ``total`` (q, N, N, N // 2 + 1) complex64, with the origin moved from N // 4 to
    the first voxel, and ``weighted`` (N * N * (N // 2 + 1), r) float32.
    """
    blocks, _, width = sums.shape
    q = total.shape[0]
    half = size // 2 + 1
    row = np.empty(width, np.float32)
    for z in range(begin, end):
        for y in range(size):
            for x in range(half):
                v = (z * size + y) * half + x
                row[:] = 0
                for b in range(blocks):
                    for k in range(width):
                        row[k] += sums[b, v, k]
                if x == 0:
                    mate = ((size - z) % size * size + (size - y) % size) * half
                    for b in range(blocks):
                        for k in range(q):
                            row[k] += sums[b, mate, k]
                            row[q + k] -= sums[b, mate, q + k]
                        for k in range(2 * q, width):
                            row[k] += sums[b, mate, k]
                turn = (x + y + z) % 4
                for k in range(q):
                    total[k, z, y, x] = _turned(row[k], row[q + k], 4 - turn)
                for k in range(2 * q, width):
                    weighted[v, k - 2 * q] = row[k]


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
