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
    add8_pair,
    add8_square,
    gather8,
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
    grid : (N * N * (N // 2 + 1) * 2 K,) float32
        References: the real parts, then the imaginary parts of a voxel; K is a multiple of 8.
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
    flat_cross = np.empty(shells * columns, np.float32)
    flat_norm = np.empty(shells * columns, np.float32)
    cross = flat_cross.reshape(shells, columns)
    norm = flat_norm.reshape(shells, columns)
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
            sign = _corners(x, y, z, size, 2 * columns, index, weight)
            re = data[p, s, 0]
            im = data[p, s, 1]
            c = ctf[p, s]
            power[shell[s]] += re * re + im * im
            a = c * re
            d = c * im * sign
            c2 = c * c
            transfer[shell[s]] += c2
            row = shell[s] * columns
            for k in range(0, columns, LANES):
                gather8(grid, index, weight, k, value, k)
                gather8(grid, index, weight, columns + k, value, columns + k)
                add8_pair(flat_cross, row + k, a, k, d, columns + k, value)
                add8_square(flat_norm, row + k, c2, value, k, columns + k)
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
