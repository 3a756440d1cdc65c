"""The layout of grids and samples, and what every kernel needs: neighbours, rows, columns.

A grid is the half of a padded Fourier volume in the layout of ``rfftn``: shape (N, N, N // 2 + 1)
with z slowest, negative z and y wrapped. The columns of a voxel (classes or components) lie side
by side, so that one gather of eight neighbours serves all of them. Kernels work on a range
``begin:end`` of particles or planes; the caller runs the ranges in threads, fixed ranges whatever
the threads, so that results do not depend on their number.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import kernel

_ZERO, _ONE = np.int32(0), np.int32(1)


@kernel
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


@kernel
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


@kernel
def scale(values, factor):  # type: ignore[no-untyped-def]
    """Multiply numbers by others, in place."""
    for s in range(len(values)):
        values[s] *= factor[s]


@numba.njit(inline="always")
def place_samples(kx, ky, m, size, index, weight, nearest, sign, part):  # type: ignore[no-untyped-def]
    """Neighbours of a particle's S samples, their weights, the nearest voxel, and -1 where flipped.

    Where a sample is flipped its Friedel mate is read, whose imaginary part has the other sign.

    Parameters
    ----------
    kx, ky : (S,) array
        Positions in the image (pixels).
    m : (2, 3) float32
        Turns them to the grid.
    size : int
        Edge N of the padded grid.
    index, weight : (4 S,) int32 (or longer), (8 S,) float32
        Filled, as :mod:`alphacryo4d.ml3d.compiled.plain` says.
    nearest, sign : (S,) int32, (S,) float32
        Filled.
    part : (3 S,) float32
        Scratch.
    """
    n = len(kx)
    _find_pairs(
        kx, ky, m, size, index[:n], index[n : 2 * n], index[2 * n : 3 * n], index[3 * n : 4 * n],
        nearest, sign, part[:n], part[n : 2 * n], part[2 * n :],
    )  # fmt: skip
    _find_weights(
        part[:n], part[n : 2 * n], part[2 * n :], weight[:n], weight[n : 2 * n],
        weight[2 * n : 3 * n], weight[3 * n : 4 * n], weight[4 * n : 5 * n],
        weight[5 * n : 6 * n], weight[6 * n : 7 * n], weight[7 * n :],
    )  # fmt: skip


@kernel
def lay_column(spectrum, used, real, imaginary):  # type: ignore[no-untyped-def]
    """Lay one spectrum into a column of a grid, its origin moved by N // 4.

    ``spectrum`` (N, N, N // 2 + 1) complex64; ``real`` and ``imaginary`` (voxels,) float32 are the
    places of its parts in the grid. What lies further than ``used`` + 1 voxels from the origin is
    left as it is.
    """
    size, _, half = spectrum.shape
    cosine = np.array([1.0, 0.0, -1.0, 0.0], np.float32)
    sine = np.array([0.0, 1.0, 0.0, -1.0], np.float32)
    for z in range(size):
        for y in range(size):
            first = (z * size + y) * half
            for x in range(half_width(z, y, size, used + 1)):
                re, im = spectrum[z, y, x].real, spectrum[z, y, x].imag
                c, s = cosine[(x + y + z) & 3], sine[(x + y + z) & 3]
                real[first + x] = c * re - s * im
                imaginary[first + x] = c * im + s * re


@numba.njit(inline="always")
def half_width(z, y, size, radius):  # type: ignore[no-untyped-def]
    """Voxels along x of a row of the half grid that lie within a radius."""
    z, y = min(z, size - z), min(y, size - y)
    square = radius * radius - z * z - y * y
    return min(size // 2 + 1, int(math.sqrt(square)) + 1) if square >= 0 else 0
