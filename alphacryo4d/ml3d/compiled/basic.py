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
