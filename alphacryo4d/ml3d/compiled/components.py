"""Compiled kernels of the principal components: projection and back-projection of many columns.

The layout of grids and the ranges of particles are as in :mod:`alphacryo4d.ml3d.compiled.basic`.
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.ml3d.compiled.basic import place_samples, scale
from alphacryo4d.ml3d.compiled.cache import kernel
from alphacryo4d.ml3d.compiled.linear import reach
from alphacryo4d.ml3d.compiled.operations import (
    add_rows,
    data_block,
    gather_rows,
    gram_block,
    gram_half_block,
    scatter_rows,
)


@kernel
def _centre_data(data, sign, factor, out):  # type: ignore[no-untyped-def]
    """Data (S, 2) times a factor a sample, the imaginary part turned where flipped; to (2 S,)."""
    for s in range(len(sign)):
        out[2 * s] = data[s, 0] * factor[s]
        out[2 * s + 1] = data[s, 1] * sign[s] * factor[s]


@kernel
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
    kx, ky : (S,) float32
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
    index, weight = np.empty(4 * pitch, np.int32), np.empty(8 * pitch, np.float32)
    nearest, sign = np.empty(pitch, np.int32), np.empty(pitch, np.float32)
    part, ones = np.empty(3 * pitch, np.float32), np.ones(pitch, np.float32)
    datum, values = np.empty(2 * pitch, np.float32), np.empty(pitch * width, np.float32)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        place_samples(
            kx[first:last], ky[first:last], matrices[p], size, index, weight, nearest, sign, part
        )
        _centre_data(data[p, first:last], sign, ones, datum)
        for j in range(8):
            scale(weight[j * pitch : (j + 1) * pitch], ctf[p, first:last])
        line = i * columns
        square = i * columns * columns
        for h in range(1, len(edges) - 1):
            a = edges[h] - first
            b = edges[h + 1] - first
            f = inverse_noise[g, h]
            gather_rows(grid, index, weight, pitch, a, b, width, values)
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


@kernel
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
    index, weight = np.empty(4 * last, np.int32), np.empty(8 * last, np.float32)
    nearest, sign = np.empty(last, np.int32), np.empty(last, np.float32)
    part, factor = np.empty(3 * last, np.float32), np.empty(last, np.float32)
    datum, square = np.empty(2 * last, np.float32), np.empty(last, np.float32)
    real, imag = np.zeros(2 * q, np.float32), np.zeros(2 * q, np.float32)
    for i in range(begin, end):
        p = rows[i]
        g = group[p]
        place_samples(kx[:last], ky[:last], matrices[p], size, index, weight, nearest, sign, part)
        for s in range(last):
            factor[s] = inverse_noise[g, shell[s]] * ctf[p, s]
            square[s] = factor[s] * ctf[p, s]
        _centre_data(data[p, :last], sign, factor, datum)
        for k in range(q):
            real[k] = imag[q + k] = coefficients[i, k]
        scatter_rows(sums, index, weight, last, 2 * q, datum, real, imag)
        if dense:
            add_rows(weights, nearest, 0, last, square, 0, products[i], r)
            continue
        for j in range(8):
            # weights and places of one neighbour of every sample, in scratch
            for s in range(last):
                part[s] = square[s] * weight[j * last + s]
                nearest[s] = index[j // 2 * last + s] + j % 2
            add_rows(weights, nearest, 0, last, part, 0, products[i], r)


@kernel
def clear_block(size, limit, sums, weights):  # type: ignore[no-untyped-def]
    """Set the voxels that samples within the radius ``limit`` can reach to zero.

    ``sums`` (voxels, 2 q) and ``weights`` (voxels, r) as of :func:`backproject`.
    """
    half = size // 2 + 1
    for z in range(size):
        for y in range(size):
            row = (z * size + y) * half
            for v in range(row, row + reach(size, limit, z, y)):
                for k in range(sums.shape[1]):
                    sums[v, k] = 0
                for k in range(weights.shape[1]):
                    weights[v, k] = 0


@kernel
def _sum_rows(blocks, start, count, line):  # type: ignore[no-untyped-def]
    """Sum of rows ``start:start+count`` of (blocks, voxels, columns) over the blocks, flat."""
    columns = blocks.shape[2]
    for b in range(len(blocks)):
        for v in range(count):
            for k in range(columns):
                old = line[v * columns + k] if b else np.float32(0)
                line[v * columns + k] = old + blocks[b, start + v, k]


@kernel
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
    cosine = np.array([1.0, 0.0, -1.0, 0.0], np.float32)
    sine = np.array([0.0, -1.0, 0.0, 1.0], np.float32)
    datum = np.empty(half * 2 * columns, np.float32)
    square = np.empty(half * wide, np.float32)
    for z in range(begin, end):
        for y in range(size):
            count = reach(size, limit, z, y)
            start = (z * size + y) * half
            for k in range(r):
                for x in range(count, half):
                    weighted[k, start + x] = 0
            for k in range(q):
                for x in range(count, half):
                    total[k, z, y, x] = 0
            if count == 0:
                continue
            _sum_rows(sums, start, count, datum)
            _sum_rows(weights, start, count, square)
            mate = ((size - z) % size * size + (size - y) % size) * half
            for b in range(blocks):
                for k in range(columns):
                    datum[k] += sums[b, mate, k]
                    datum[columns + k] -= sums[b, mate, columns + k]
                for k in range(wide):
                    square[k] += weights[b, mate, k]
            for k in range(q):
                for x in range(count):
                    re, im = datum[x * 2 * columns + k], datum[x * 2 * columns + columns + k]
                    c, s = cosine[(x + y + z) & 3], sine[(x + y + z) & 3]
                    total[k, z, y, x] = complex(c * re - s * im, c * im + s * re)
            for k in range(r):
                for x in range(count):
                    weighted[k, start + x] = square[x * wide + k]
