"""Compiled loops of the maximisation of classes: only the classes that a particle may belong to."""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.kernels import FAST, _corners, _turned
from alphacryo4d.ml3d.kernels_vector import LANES, gather8, scatter_complex


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def backproject_class(  # type: ignore[no-untyped-def]
    members, shares, data, ctf, matrices, rows, kx, ky, shell, last, group, inverse_noise, size,
    sums, weights,
):  # fmt: skip
    """Add the members of one class to its grid, each sample to its eight neighbours.

    Parameters
    ----------
    members : (n,) int64
        Places in ``rows`` of the particles.
    shares : (n,) float32
        Their posteriors.
    sums : (2 * N * N * (N // 2 + 1),) float32
        Real and imaginary part of ``share * w c y / noise`` at every voxel; added to.
    weights : (N * N * (N // 2 + 1),) float32
        ``share * c^2 / noise``; added to.
    Others as in :func:`alphacryo4d.ml3d.kernels.expect_classes`.
    """
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    for n in range(len(members)):
        p = rows[members[n]]
        share = shares[n]
        g = group[p]
        m = matrices[p]
        for s in range(last):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, 1, index, weight)
            f = share * inverse_noise[g, shell[s]] * ctf[p, s]
            scatter_complex(sums, index, weight, f * data[p, s, 0], f * data[p, s, 1] * sign)
            c2 = f * ctf[p, s]
            for j in range(8):
                weights[index[j]] += weight[j] * c2


@numba.njit(cache=True, nogil=True)
def fold_class(sums, weights, size, total, weighted):  # type: ignore[no-untyped-def]
    """Apply Friedel symmetry at x = 0 and move the origin from N // 4 to the first voxel.

    ``total`` (N, N, N // 2 + 1) complex64 and ``weighted`` (N, N, N // 2 + 1) float32 are filled.
    """
    half = size // 2 + 1
    for z in range(size):
        for y in range(size):
            for x in range(half):
                v = (z * size + y) * half + x
                re, im, w = sums[2 * v], sums[2 * v + 1], weights[v]
                if x == 0:
                    mate = ((size - z) % size * size + (size - y) % size) * half
                    re += sums[2 * mate]
                    im -= sums[2 * mate + 1]
                    w += weights[mate]
                total[z, y, x] = _turned(re, im, 4 - (x + y + z) % 4)
                weighted[z, y, x] = w


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def cell_weights(weights, small, padded, shell_map, cells):  # type: ignore[no-untyped-def]
    """Data weight of every voxel of the unpadded half grid, from the padded one (one class)."""
    half = small // 2 + 1
    wide = padded // 2 + 1
    for z in range(small):
        for y in range(small):
            for x in range(half):
                v = (z * small + y) * half + x
                if shell_map[v] < 0:
                    cells[v] = 0
                    continue
                total = np.float32(0)
                cz = 2 * (z if z < (small + 1) // 2 else z - small)
                cy = 2 * (y if y < (small + 1) // 2 else y - small)
                for dz in range(-1, 2):
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            factor = np.float32(0.5 ** (abs(dz) + abs(dy) + abs(dx)))
                            pz, py, px = cz + dz, cy + dy, 2 * x + dx
                            if px < 0:
                                pz, py, px = -pz, -py, -px
                            g = ((pz % padded) * padded + py % padded) * wide + px
                            total += factor * weights[g]
                cells[v] = total


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def solve_cells(begin, end, cells, inverse_own, common, shell_map, spectra):  # type: ignore[no-untyped-def]
    """Divide the columns of every voxel by (data weight + prior precision), in place.

    The prior covariance of the K columns of shell h is ``diag(own[h]) + common[h] 1 1'``; its
    inverse is a diagonal less a matrix of rank one, so that a voxel costs K steps
    (Sherman-Morrison). ``cells`` (K, voxels) float32, ``inverse_own`` (shells, K) float64,
    ``spectra`` (K, voxels) complex64.
    """
    count = len(cells)
    for v in range(begin, end):
        h = shell_map[v]
        if h < 0:
            for k in range(count):
                spectra[k, v] = 0
            continue
        a = inverse_own[h]
        beta = common[h] / (1.0 + common[h] * a.sum())
        inner = 0.0
        re = 0.0
        im = 0.0
        for k in range(count):
            d = 1.0 / (cells[k, v] + a[k])
            inner += a[k] * a[k] * d
            re += a[k] * d * spectra[k, v].real
            im += a[k] * d * spectra[k, v].imag
        factor = beta / max(1.0 - beta * inner, 1e-12)
        re *= factor
        im *= factor
        for k in range(count):
            d = 1.0 / (cells[k, v] + a[k])
            value = spectra[k, v]
            spectra[k, v] = complex(d * (value.real + a[k] * re), d * (value.imag + a[k] * im))


@numba.njit(cache=True, nogil=True)
def apply_prior(begin, end, inverse_own, common, shell_map, spectra):  # type: ignore[no-untyped-def]
    """Multiply the columns of every voxel by the inverse of the prior covariance, in place."""
    count = len(spectra)
    for v in range(begin, end):
        h = shell_map[v]
        if h < 0:
            for k in range(count):
                spectra[k, v] = 0
            continue
        a = inverse_own[h]
        beta = common[h] / (1.0 + common[h] * a.sum())
        re = 0.0
        im = 0.0
        for k in range(count):
            re += a[k] * spectra[k, v].real
            im += a[k] * spectra[k, v].imag
        re *= beta
        im *= beta
        for k in range(count):
            value = spectra[k, v]
            spectra[k, v] = complex(a[k] * (value.real - re), a[k] * (value.imag - im))


@numba.njit(cache=True, nogil=True)
def cell_variances(cells, inverse_own, common, shell_map, diagonal, apart):  # type: ignore[no-untyped-def]
    """Sum posterior variances over each shell: of the columns, and of their deviations.

    ``diagonal`` (shells, K) gets the variances, ``apart`` (shells, K) those of the columns less
    their mean over the K columns.
    """
    count, voxels = cells.shape
    for v in range(voxels):
        h = shell_map[v]
        if h < 0:
            continue
        a = inverse_own[h]
        beta = common[h] / (1.0 + common[h] * a.sum())
        inner = 0.0
        total = 0.0
        weighted = 0.0
        for k in range(count):
            d = 1.0 / (cells[k, v] + a[k])
            inner += a[k] * a[k] * d
            total += d
            weighted += a[k] * d
        factor = beta / max(1.0 - beta * inner, 1e-12)
        every = (total + factor * weighted * weighted) / (count * count)
        for k in range(count):
            d = 1.0 / (cells[k, v] + a[k])
            own = d + factor * a[k] * a[k] * d * d
            row = d + factor * a[k] * d * weighted
            diagonal[h, k] += own
            apart[h, k] += own - 2.0 * row / count + every


@numba.njit(cache=True, nogil=True)
def significant(soft, least, starts, members, shares):  # type: ignore[no-untyped-def]
    """Lists of the particles of every class whose posterior is at least ``least``.

    ``starts`` (K,) holds where the list of a class begins in ``members`` and ``shares`` and is
    moved to its end; the posteriors that are kept are scaled to the sum of all.
    """
    count = soft.shape[1]
    for i in range(len(soft)):
        kept = 0.0
        total = 0.0
        for k in range(count):
            total += soft[i, k]
            if soft[i, k] >= least:
                kept += soft[i, k]
        if kept <= 0.0:
            continue
        factor = total / kept
        for k in range(count):
            if soft[i, k] >= least:
                members[starts[k]] = i
                shares[starts[k]] = soft[i, k] * factor
                starts[k] += 1


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def subtract_reference(begin, end, data, ctf, matrices, kx, ky, grid, size):  # type: ignore[no-untyped-def]
    """Take the projection of one volume, times the CTF, off the samples of every particle.

    ``grid`` (voxels * 16,) float32 holds the volume in the first column of its references.
    """
    index = np.empty(8, np.int64)
    weight = np.empty(8, np.float32)
    value = np.empty(2 * LANES, np.float32)
    for p in range(begin, end):
        m = matrices[p]
        for s in range(kx.shape[0]):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            sign = _corners(x, y, z, size, 2 * LANES, index, weight)
            gather8(grid, index, weight, 0, value, 0)
            gather8(grid, index, weight, LANES, value, LANES)
            data[p, s, 0] -= ctf[p, s] * value[0]
            data[p, s, 1] -= ctf[p, s] * value[LANES] * sign
