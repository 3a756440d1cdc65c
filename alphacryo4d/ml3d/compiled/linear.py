"""Compiled loops beside projection: the linear algebra of maximisation; work in threads."""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import kernel


@numba.njit(inline="always")
def reach(size, limit, z, y):  # type: ignore[no-untyped-def]
    """Number of voxels of a row along x of a padded half grid that samples can reach.

    ``limit`` is the radius of the samples in voxels of the grid of edge ``size``.
    """
    dz = max(0, min(z, size - z) - 1)
    dy = max(0, min(y, size - y) - 1)
    left = limit * limit - dz * dz - dy * dy
    if left < 0:
        return 0
    return min(size // 2 + 1, int(math.sqrt(left)) + 2)


@kernel
def apply_voxel_matrices(begin, end, matrices, shell_map, by_shell, spectra, out):  # type: ignore[no-untyped-def]
    """Multiply the columns of every voxel by its matrix (or its shell's); 0 outside the shells.

    ``spectra`` and ``out`` (q, voxels) complex64; ``matrices`` (voxels or shells, q, q).
    """
    q = spectra.shape[0]
    re = np.empty(q, np.float32)
    im = np.empty(q, np.float32)
    for v in range(begin, end):
        shell = shell_map[v]
        if shell < 0:
            for k in range(q):
                out[k, v] = 0
            continue
        m = matrices[shell] if by_shell else matrices[v]
        for k in range(q):
            re[k] = spectra[k, v].real
            im[k] = spectra[k, v].imag
        for i in range(q):
            a = np.float32(0)
            b = np.float32(0)
            for k in range(q):
                a += m[i, k] * re[k]
                b += m[i, k] * im[k]
            out[i, v] = complex(a, b)


@kernel
def _add_products(real, imag, weights, one, other):  # type: ignore[no-untyped-def]
    """Add weights times real and imaginary parts."""
    for x in range(len(weights)):
        real[x] += weights[x] * one[x]
    for x in range(len(weights)):
        imag[x] += weights[x] * other[x]


@kernel
def apply_weights(begin, end, weights, size, limit, planes, spectra):  # type: ignore[no-untyped-def]
    """Multiply the columns of every voxel by its data weights, in place.

    Parameters
    ----------
    begin, end : int
        Range of rows along x of the padded half grid.
    weights : (r, voxels) float32
        Packed upper triangles, one entry of all voxels after the other.
    size, limit : int
        Edge of the padded grid; weights vanish where :func:`reach` says so.
    planes : (q, q) int64
        Row of ``weights`` that holds an entry of the matrices.
    spectra : (q, voxels) complex64
    """
    q, half = len(spectra), size // 2 + 1
    real, imag = np.empty((q, half), np.float32), np.empty((q, half), np.float32)
    one, other = np.empty(half, np.float32), np.empty(half, np.float32)
    for row in range(begin, end):
        first = row * half
        count = reach(size, limit, row // size, row % size)
        for k in range(q):
            for x in range(count):
                real[k, x] = spectra[k, first + x].real
            for x in range(count):
                imag[k, x] = spectra[k, first + x].imag
        for i in range(q):
            for x in range(count):
                one[x] = other[x] = 0
            for k in range(q):
                line = weights[planes[i, k], first : first + count]
                _add_products(one, other, line, real[k], imag[k])
            for x in range(count):
                spectra[i, first + x] = complex(one[x], other[x])
            for x in range(count, half):
                spectra[i, first + x] = 0
