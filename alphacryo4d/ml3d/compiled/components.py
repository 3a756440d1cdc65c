"""Compiled kernels of the principal components: projection and back-projection of many columns.

The layout of grids and the ranges of particles are as in :mod:`alphacryo4d.ml3d.compiled.basic`.
"""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.basic import FAST, _turned
from alphacryo4d.ml3d.compiled.blocks import (
    add_rows,
    data_block,
    gather_rows,
    gram_block,
    gram_half_block,
    scatter_half_rows,
    scatter_rows,
)
from alphacryo4d.ml3d.compiled.linear import reach

_ZERO, _ONE = np.int32(0), np.int32(1)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def _find_pairs(  # type: ignore[no-untyped-def]
    kx, ky, m, size, pair0, pair1, pair2, pair3, nearest, sign, fx, fy, fz
):
    """Voxels of the samples' neighbours; all arrays apart, so that the loop runs in vectors."""
    half = np.int32(size // 2 + 1)
    size = np.int32(size)
    middle = np.float32(0.5)
    xx, xy, xz = m[0, 0], m[0, 1], m[0, 2]
    yx, yy, yz = m[1, 0], m[1, 1], m[1, 2]
    for i in range(len(kx)):
        p = np.float32(kx[i])
        q = np.float32(ky[i])
        x = p * xx + q * yx
        y = p * xy + q * yy
        z = p * xz + q * yz
        flip = np.float32(-1.0) if x < np.float32(0.0) else np.float32(1.0)
        sign[i] = flip
        x *= flip
        y *= flip
        z *= flip
        bx = np.floor(x)
        by = np.floor(y)
        bz = np.floor(z)
        x -= bx
        y -= by
        z -= bz
        fx[i] = x
        fy[i] = y
        fz[i] = z
        x0 = np.int32(bx)
        y0 = np.int32(by)
        z0 = np.int32(bz)
        y1 = np.int32(y0 + _ONE)
        z1 = np.int32(z0 + _ONE)
        y0 = np.int32(y0 + size) if y0 < _ZERO else y0
        z0 = np.int32(z0 + size) if z0 < _ZERO else z0
        y1 = np.int32(y1 + size) if y1 < _ZERO else y1
        z1 = np.int32(z1 + size) if z1 < _ZERO else z1
        y1 = np.int32(y1 - size) if y1 >= size else y1
        z1 = np.int32(z1 - size) if z1 >= size else z1
        pair0[i] = np.int32(np.int32(z0 * size + y0) * half + x0)
        pair1[i] = np.int32(np.int32(z0 * size + y1) * half + x0)
        pair2[i] = np.int32(np.int32(z1 * size + y0) * half + x0)
        pair3[i] = np.int32(np.int32(z1 * size + y1) * half + x0)
        near_y = y1 if y > middle else y0
        near_z = z1 if z > middle else z0
        near_x = np.int32(x0 + _ONE) if x > middle else x0
        nearest[i] = np.int32(np.int32(near_z * size + near_y) * half + near_x)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def _find_weights(fx, fy, fz, w0, w1, w2, w3, w4, w5, w6, w7):  # type: ignore[no-untyped-def]
    """Trilinear weights of the neighbours."""
    one = np.float32(1.0)
    for i in range(len(fx)):
        x = fx[i]
        y = fy[i]
        z = fz[i]
        w00 = (one - z) * (one - y)
        w01 = (one - z) * y
        w10 = z * (one - y)
        w11 = z * y
        w0[i] = w00 * (one - x)
        w1[i] = w00 * x
        w2[i] = w01 * (one - x)
        w3[i] = w01 * x
        w4[i] = w10 * (one - x)
        w5[i] = w10 * x
        w6[i] = w11 * (one - x)
        w7[i] = w11 * x


@numba.njit(inline="always")
def _places(kx, ky, m, size, index, weight, nearest, sign, part):  # type: ignore[no-untyped-def]
    """Neighbours of a particle's samples, their weights, the nearest voxel, and -1 where flipped.

    ``m`` (2, 3) turns image pixels ``kx``, ``ky`` to the grid. Fills ``index`` (4, pitch) int32
    with the voxels of the pairs, ``weight`` (8, pitch), ``nearest`` (pitch,) int32 and ``sign``
    (pitch,); ``part`` (3, pitch) is scratch.
    """
    _find_pairs(
        kx, ky, m, size, index[0], index[1], index[2], index[3], nearest, sign, part[0], part[1],
        part[2],
    )  # fmt: skip
    _find_weights(
        part[0], part[1], part[2], weight[0], weight[1], weight[2], weight[3], weight[4],
        weight[5], weight[6], weight[7],
    )  # fmt: skip


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def _centre_data(data, sign, factor, out):  # type: ignore[no-untyped-def]
    """Data (S, 2) times a factor a sample, the imaginary part turned where flipped; to (2 S,)."""
    for s in range(len(sign)):
        out[2 * s] = data[s, 0] * factor[s]
        out[2 * s + 1] = data[s, 1] * sign[s] * factor[s]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def _scale(values, factor):  # type: ignore[no-untyped-def]
    for s in range(len(values)):
        values[s] *= factor[s]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def expect_components(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, edges, group, inverse_noise, grid, size, used,
    means, second, cross, gram, residual,
):  # fmt: skip
    """Inner products of data with the columns of a grid, and of the columns with each other.

    Parameters
    ----------
    data, ctf : (P, S, 2), (P, S) float32
        Fourier samples and CTF of every particle.
    matrices : (P, 2, 3) float32
        From image pixels to the grid.
    rows : (n,) int64
        Particles; outputs are in this order.
    kx, ky : (S,) int32
        Positions of the samples.
    edges : (shells + 1,) int64
        First sample of every shell, and the end; the first shell (the origin) is left out.
    group : (P,) int32
        Noise group of every particle.
    inverse_noise : (G, shells) float32
    grid : (voxels * 2 columns,) float32
        Real parts, then imaginary parts of the columns; a multiple of 8 of them.
    size : int
        Edge N of the padded grid.
    used : int
        Columns that count; the others hold zeros.
    means, second : (n * columns,), (n * columns ** 2,) float32
        Moments of the coordinates, flat.
    cross, gram : as the last two
        Hold zeros; filled with the inner products weighted by the inverse noise power.
    residual : (G, shells) float64
        Gets the expected power of data minus model.
    """
    first = edges[1]
    last = edges[-1]
    pitch = last - first
    columns = len(means) // len(rows)
    width = 2 * columns
    index = np.empty((4, pitch), np.int32)
    weight = np.empty((8, pitch), np.float32)
    nearest = np.empty(pitch, np.int32)
    sign = np.empty(pitch, np.float32)
    part = np.empty((3, pitch), np.float32)
    ones = np.ones(pitch, np.float32)
    datum = np.empty(2 * pitch, np.float32)
    flat_index = index.ravel()
    flat_weight = weight.ravel()
    values = np.empty(np.diff(edges).max() * width, np.float32)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        _places(
            kx[first:last], ky[first:last], matrices[p], size, index, weight, nearest, sign, part
        )
        _centre_data(data[p, first:last], sign, ones, datum)
        for j in range(8):
            _scale(weight[j], ctf[p, first:last])
        line = i * columns
        square = i * columns * columns
        for h in range(1, len(edges) - 1):
            a = edges[h] - first
            b = edges[h + 1] - first
            f = inverse_noise[g, h]
            for k in range(0, width, 16):
                gather_rows(grid, flat_index, flat_weight, pitch, a, b, k, width, values)
            power = np.float32(0)
            for s in range(2 * a, 2 * b):
                power += datum[s] * datum[s]
            for j in range(0, used, 8):
                power -= np.float32(2) * data_block(
                    values, datum, a, b, columns, j, f, cross, means, line
                )
                for k in range(j, used, 8):
                    twice = np.float32(1 if k == j else 2)
                    if used - j > 4:
                        power += twice * gram_block(
                            values, b - a, columns, j, k, f, gram, second, square
                        )
                    else:
                        power += twice * gram_half_block(
                            values, b - a, columns, j, k, f, gram, second, square
                        )
            residual[g, h] += power
        for j in range(used):
            for k in range(j):
                gram[square + j * columns + k] = gram[square + k * columns + j]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def backproject(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, shell, last, group, inverse_noise,
    coefficients, products, size, dense, sums, weights,
):  # fmt: skip
    """Add particles to a grid that holds zeros or other sums (maximisation).

    Every voxel near a sample gets, in its row of ``sums`` (voxels * 2 q,), ``w c y / noise`` times
    ``coefficients`` (n, q), real parts then imaginary parts, and in its row of ``weights``
    (voxels * r,) ``w c^2 / noise`` times ``products`` (n, r). Where samples are ``dense``, the
    latter go to the nearest voxel alone: they only enter a convolution of the molecule's width.
    q is a multiple of 4 and r of 8. Other arguments as in :func:`expect_components`; samples up
    to ``last`` are used.
    """
    q = coefficients.shape[1]
    r = products.shape[1]
    index = np.empty((4, last), np.int32)
    weight = np.empty((8, last), np.float32)
    nearest = np.empty(last, np.int32)
    sign = np.empty(last, np.float32)
    part = np.empty((3, last), np.float32)
    factor = np.empty(last, np.float32)
    datum = np.empty(2 * last, np.float32)
    square = np.empty(8 * last, np.float32)
    flat_index = index.ravel()
    flat_weight = weight.ravel()
    real = np.zeros(2 * q, np.float32)
    imag = np.zeros(2 * q, np.float32)
    corner = np.empty(last, np.int32)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        _places(kx[:last], ky[:last], matrices[p], size, index, weight, nearest, sign, part)
        for s in range(last):
            factor[s] = inverse_noise[g, shell[s]]
        _scale(factor, ctf[p, :last])
        _centre_data(data[p, :last], sign, factor, datum)
        square[:last] = factor
        _scale(square[:last], ctf[p, :last])
        real[:q] = coefficients[i]
        imag[q:] = coefficients[i]
        for k in range(0, 2 * q - 2 * q % 16, 16):
            scatter_rows(sums, flat_index, flat_weight, last, last, k, 2 * q, datum, real, imag)
        if 2 * q % 16:
            scatter_half_rows(
                sums, flat_index, flat_weight, last, last, 2 * q - 8, 2 * q, datum, real, imag
            )
        row = products[i]
        if dense:
            add_rows(weights, nearest, 0, last, square, 0, row, r)
            continue
        for j in range(7, -1, -1):
            for s in range(last):
                square[j * last + s] = square[s] * weight[j, s]
        for j in range(8):
            for s in range(last):
                corner[s] = index[j // 2, s] + j % 2
            add_rows(weights, corner, 0, last, square, j * last, row, r)


@numba.njit(cache=True, nogil=True)
def clear_block(size, limit, sums, weights):  # type: ignore[no-untyped-def]
    """Set the voxels that samples within the radius ``limit`` can reach to zero.

    ``sums`` (voxels, 2 q) and ``weights`` (voxels, r) as of :func:`backproject`.
    """
    half = size // 2 + 1
    for z in range(size):
        for y in range(size):
            row = (z * size + y) * half
            count = reach(size, limit, z, y)
            sums[row : row + count] = 0
            weights[row : row + count] = 0


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def _add(total, values):  # type: ignore[no-untyped-def]
    for k in range(len(total)):
        total[k] += values[k]


@numba.njit(inline="always")
def _sum_row(blocks, start, count, line):  # type: ignore[no-untyped-def]
    """Sum of rows ``start:start+count`` of (blocks, voxels, columns) over the blocks, flat."""
    line[:] = blocks[0, start : start + count].ravel()
    for b in range(1, len(blocks)):
        _add(line, blocks[b, start : start + count].ravel())


@numba.njit(cache=True, nogil=True)
def fold_blocks(begin, end, sums, weights, size, limit, total, weighted):  # type: ignore[no-untyped-def]
    """Add the blocks in fixed order, apply Friedel symmetry at x = 0, and turn columns outward.

    ``sums`` (blocks, voxels, 2 q) and ``weights`` (blocks, voxels, at least r) as of
    :func:`backproject`, where voxels that the radius ``limit`` cannot reach hold anything. Fills
    ``total`` (q, N, N, N // 2 + 1) complex64, with the origin moved from N // 4 to the first
    voxel, and ``weighted`` (r, N * N * (N // 2 + 1)) float32.
    """
    blocks = sums.shape[0]
    q, r, wide = total.shape[0], weighted.shape[0], weights.shape[2]
    columns = sums.shape[2] // 2
    half = size // 2 + 1
    datum = np.empty(half * 2 * columns, np.float32)
    square = np.empty(half * wide, np.float32)
    for z in range(begin, end):
        for y in range(size):
            count = reach(size, limit, z, y)
            start = (z * size + y) * half
            for k in range(r):
                weighted[k, start + count : start + half] = 0
            for k in range(q):
                total[k, z, y, count:] = 0
            if count == 0:
                continue
            _sum_row(sums, start, count, datum[: count * 2 * columns])
            _sum_row(weights, start, count, square[: count * wide])
            mate = ((size - z) % size * size + (size - y) % size) * half
            for b in range(blocks):
                for k in range(columns):
                    datum[k] += sums[b, mate, k]
                    datum[columns + k] -= sums[b, mate, columns + k]
                for k in range(wide):
                    square[k] += weights[b, mate, k]
            for k in range(q):
                for x in range(count):
                    at = x * 2 * columns + k
                    turn = 4 - (x + y + z) % 4
                    total[k, z, y, x] = _turned(datum[at], datum[at + columns], turn)
            for k in range(r):
                for x in range(count):
                    weighted[k, start + x] = square[x * wide + k]
