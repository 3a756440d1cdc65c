"""Loops over the samples of a particle in plain numba: what :mod:`.emitted` does in vectors.

All arrays are flat and float32, indices int32. The samples of a particle lie side by side:
``index[j * samples + s]`` is the first voxel of pair j (two voxels that follow each other along x)
of sample s, ``weight[j * samples + s]`` the weight of its neighbour j out of eight.
"""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import FAST
from alphacryo4d.ml3d.compiled.vectors import FOUR, LANES


def _plain(function):  # type: ignore[no-untyped-def]
    return numba.njit(fastmath=FAST, nogil=True)(function)


@_plain
def score_columns(  # type: ignore[no-untyped-def]
    count, grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
):  # fmt: skip
    """Inner products with the data, and norms, of some columns over some samples of a particle.

    Parameters
    ----------
    count : int
        Vectors of columns: each four real parts, then their imaginary parts.
    grid, width, offset : flat array, int, int
        Voxels of ``width`` numbers; the first vector is ``offset`` numbers from a voxel's begin.
    index, weight, data, samples
        Neighbours and weights; ``data`` holds real parts, then imaginary parts, then the CTF.
    begin, end : int
        Samples.
    cross, norm, at
        Four sums of each vector are stored from place ``at`` on.
    power : (2,) float32
        Filled with the power of the data and the sum of the squared CTF.
    """
    total = np.empty(LANES * count, np.float32)
    cross[at : at + FOUR * count] = 0
    norm[at : at + FOUR * count] = 0
    power[:] = 0
    for s in range(begin, end):
        total[:] = 0
        for j in range(8):
            start = (index[j // 2 * samples + s] + j % 2) * width + offset
            factor = weight[j * samples + s]
            for k in range(LANES * count):
                total[k] += factor * grid[start + k]
        real, imaginary, transfer = data[s], data[samples + s], data[2 * samples + s]
        for v in range(count):
            for k in range(FOUR):
                re, im = total[LANES * v + k], total[LANES * v + FOUR + k]
                cross[at + FOUR * v + k] += real * re + imaginary * im
                norm[at + FOUR * v + k] += re * re + im * im
        power[0] += real * real + imaginary * imaginary
        power[1] += transfer * transfer


@_plain
def scatter_samples(grid, index, weight, data, samples):  # type: ignore[no-untyped-def]
    """Add the samples of a particle to a grid whose voxels hold four numbers.

    ``weight`` times the three rows of ``data`` is added to the first three.
    """
    for s in range(samples):
        for j in range(8):
            start = FOUR * (index[j // 2 * samples + s] + j % 2)
            for k in range(3):
                grid[start + k] += weight[j * samples + s] * data[k * samples + s]


@_plain
def gather_rows(grid, index, weight, samples, begin, end, width, values):  # type: ignore[no-untyped-def]
    """Interpolated columns of a grid of ``width`` columns (a multiple of 16) at some samples.

    The samples ``begin:end`` go to the rows of ``values`` from the first one.
    """
    for s in range(begin, end):
        row = values[(s - begin) * width : (s - begin + 1) * width]
        row[:] = 0
        for j in range(8):
            start = (index[j // 2 * samples + s] + j % 2) * width
            for k in range(width):
                row[k] += weight[j * samples + s] * grid[start + k]


@_plain
def scatter_rows(grid, index, weight, samples, width, data, real, imag):  # type: ignore[no-untyped-def]
    """Add ``data[2 s] * real + data[2 s + 1] * imag`` to the neighbours of every sample s.

    ``real`` and ``imag`` have ``width`` columns (a multiple of 8), as the grid.
    """
    for s in range(samples):
        for j in range(8):
            start = (index[j // 2 * samples + s] + j % 2) * width
            a, d = weight[j * samples + s] * data[2 * s], weight[j * samples + s] * data[2 * s + 1]
            for k in range(width):
                grid[start + k] += a * real[k] + d * imag[k]


@_plain
def add_rows(grid, index, begin, end, weight, at, row, width):  # type: ignore[no-untyped-def]
    """Add a weight times a row to the row ``index[s]`` of a grid, for the samples ``begin:end``.

    The weights start at ``weight[at]``; rows have ``width`` columns (a multiple of 8).
    """
    for s in range(begin, end):
        start, factor = index[s] * width, weight[at + s - begin]
        for k in range(width):
            grid[start + k] += factor * row[k]


@_plain
def _gram(rows, values, count, columns, row, column, scale, total, second, place):  # type: ignore[no-untyped-def]
    inner = np.float32(0)
    for j in range(row, row + rows):
        for k in range(column, column + LANES):
            value = np.float32(0)
            for line in range(2 * count):
                value += values[line * columns + j] * values[line * columns + k]
            total[place + j * columns + k] += np.float32(scale) * value
            inner += value * second[place + j * columns + k]
    return inner


@_plain
def gram_block(values, count, columns, row, column, scale, total, second, place):  # type: ignore[no-untyped-def]
    """Products of 8 columns of a matrix, from ``row`` on, with 8 others, from ``column`` on.

    ``values`` (2 count, columns) is summed over its rows. The products times ``scale`` are added to
    the matrix at ``total[place:]``; gives their sum times the matrix at ``second[place:]``.
    """
    return _gram(LANES, values, count, columns, row, column, scale, total, second, place)


@_plain
def gram_half_block(values, count, columns, row, column, scale, total, second, place):  # type: ignore[no-untyped-def]
    """The same for 4 columns with 8 others."""
    return _gram(FOUR, values, count, columns, row, column, scale, total, second, place)


@_plain
def data_block(values, data, begin, end, columns, column, scale, total, means, place):  # type: ignore[no-untyped-def]
    """The same for 8 columns with the ``data`` (2 numbers a sample, from ``begin`` to ``end``)."""
    inner = np.float32(0)
    for k in range(column, column + LANES):
        value = np.float32(0)
        for line in range(2 * (end - begin)):
            value += data[2 * begin + line] * values[line * columns + k]
        total[place + k] += np.float32(scale) * value
        inner += value * means[place + k]
    return inner


@_plain
def fetch(array, begin, end):  # type: ignore[no-untyped-def]
    """Ask the memory for numbers that are soon needed; here it is not asked."""
