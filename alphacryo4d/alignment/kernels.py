"""Projections of a map at many poses, their fit to the images, and its derivatives.

A map is one column of a padded Fourier grid (see :mod:`alphacryo4d.ml3d.compiled.basic`): voxels
(N, N, N // 2 + 1, 2) float32, real and imaginary part, read between its voxels by trilinear
interpolation. Derivatives are those of the interpolant itself, so that a step uphill is uphill.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import kernel

SUMS = 22
"""Numbers of :func:`fit_poses` for a pose: product, norm, gradient (5), curvature (15)."""


@numba.njit(inline="always")
def _voxel(grid, z, y, x, size):  # type: ignore[no-untyped-def]
    z = z + size if z < 0 else z
    y = y + size if y < 0 else y
    z = z - size if z >= size else z
    y = y - size if y >= size else y
    return grid[z, y, x, 0], grid[z, y, x, 1]


@numba.njit(inline="always")
def _read(grid, x, y, z):  # type: ignore[no-untyped-def]
    """Value of the map at a place of the padded grid, and its derivatives along x, y and z."""
    size = grid.shape[0]
    flip = np.float32(-1.0) if x < np.float32(0) else np.float32(1.0)
    x, y, z = x * flip, y * flip, z * flip
    x0, y0, z0 = int(math.floor(x)), int(math.floor(y)), int(math.floor(z))
    one = np.float32(1)
    fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
    gx, gy, gz = one - fx, one - fy, one - fz
    a0, b0 = _voxel(grid, z0, y0, x0, size)
    a1, b1 = _voxel(grid, z0, y0, x0 + 1, size)
    a2, b2 = _voxel(grid, z0, y0 + 1, x0, size)
    a3, b3 = _voxel(grid, z0, y0 + 1, x0 + 1, size)
    a4, b4 = _voxel(grid, z0 + 1, y0, x0, size)
    a5, b5 = _voxel(grid, z0 + 1, y0, x0 + 1, size)
    a6, b6 = _voxel(grid, z0 + 1, y0 + 1, x0, size)
    a7, b7 = _voxel(grid, z0 + 1, y0 + 1, x0 + 1, size)
    # along x, then y, then z
    a01, b01, a23, b23 = gx * a0 + fx * a1, gx * b0 + fx * b1, gx * a2 + fx * a3, gx * b2 + fx * b3
    a45, b45, a67, b67 = gx * a4 + fx * a5, gx * b4 + fx * b5, gx * a6 + fx * a7, gx * b6 + fx * b7
    near_a, near_b = gy * a01 + fy * a23, gy * b01 + fy * b23
    far_a, far_b = gy * a45 + fy * a67, gy * b45 + fy * b67
    real, imaginary = gz * near_a + fz * far_a, gz * near_b + fz * far_b
    dz_a, dz_b = far_a - near_a, far_b - near_b
    dy_a = gz * (a23 - a01) + fz * (a67 - a45)
    dy_b = gz * (b23 - b01) + fz * (b67 - b45)
    dx_a = gz * (gy * (a1 - a0) + fy * (a3 - a2)) + fz * (gy * (a5 - a4) + fy * (a7 - a6))
    dx_b = gz * (gy * (b1 - b0) + fy * (b3 - b2)) + fz * (gy * (b5 - b4) + fy * (b7 - b6))
    # the Friedel mate of a flipped place: the conjugate, at minus the place
    return (
        real, flip * imaginary, flip * dx_a, dx_b, flip * dy_a, dy_b, flip * dz_a, dz_b,
    )  # fmt: skip


@kernel
def project(begin, end, matrices, kx, ky, grid, slices):  # type: ignore[no-untyped-def]
    """Projections of a map in Fourier space.

    Parameters
    ----------
    begin, end : int
        Poses.
    matrices : (m, 2, 3) float32
        First rows of the rotations, times 2 (the padding of the grid).
    kx, ky : (S,) int32
    grid : (N, N, N // 2 + 1, 2) float32
    slices : (m, S, 2) float32
        Filled.
    """
    for pose in range(begin, end):
        m = matrices[pose]
        for s in range(len(kx)):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            found = _read(grid, x, y, z)
            slices[pose, s, 0] = found[0]
            slices[pose, s, 1] = found[1]


@kernel
def fit_poses(  # type: ignore[no-untyped-def]
    begin, end, row, matrices, shifts, data, ctf, kx, ky, shell, group, inverse, grid, box, last,
    sums,
):  # fmt: skip
    """Fit of poses to their images, with the derivatives of the log-likelihood.

    The log-likelihood ratio against noise alone is ``2 sums[0] - sums[1]``. Its gradient is by a
    turn of the image's frame (radians about x, y, z) and a shift of the image (pixels); the
    curvature is that of Gauss and Newton, the packed upper triangle.

    Parameters
    ----------
    begin, end : int
        Poses.
    row : (m,) int64
        Image of every pose.
    matrices : (m, 2, 3) float32
        First rows of the rotations, times 2.
    shifts : (m, 2) float32
        That centre the image (pixels).
    data, ctf : (P, S, 2), (P, S) float32
    kx, ky, shell : (S,) int32
    group : (P,) int32
    inverse : (G, shells) float32
        One over the noise power.
    grid : (N, N, N // 2 + 1, 2) float32
    box, last : int
        Box of the images (pixels), samples in use.
    sums : (m, 22) float64
        Filled.
    """
    widest = 0
    for s in range(last):
        widest = max(widest, kx[s], abs(ky[s]))
    wave = np.float32(2 * math.pi / box)
    turn_x = np.empty((widest + 1, 2), np.float32)
    turn_y = np.empty((2 * widest + 1, 2), np.float32)
    slope = np.empty((5, 2), np.float32)
    total = np.empty(SUMS, np.float64)
    for pose in range(begin, end):
        i, m = row[pose], matrices[pose]
        for k in range(widest + 1):
            turn_x[k, 0] = math.cos(wave * k * shifts[pose, 0])
            turn_x[k, 1] = -math.sin(wave * k * shifts[pose, 0])
        for k in range(-widest, widest + 1):
            turn_y[k + widest, 0] = math.cos(wave * k * shifts[pose, 1])
            turn_y[k + widest, 1] = -math.sin(wave * k * shifts[pose, 1])
        half = np.float32(0.5)
        third_x = (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * half
        third_y = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * half
        third_z = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * half
        for j in range(SUMS):
            total[j] = 0
        for s in range(last):
            p, q, c = np.float32(kx[s]), np.float32(ky[s]), ctf[i, s]
            x = p * m[0, 0] + q * m[1, 0]
            y = p * m[0, 1] + q * m[1, 1]
            z = p * m[0, 2] + q * m[1, 2]
            re, im, dx_re, dx_im, dy_re, dy_im, dz_re, dz_im = _read(grid, x, y, z)
            weight = inverse[group[i], shell[s]]
            tx_re, tx_im = turn_x[kx[s], 0], turn_x[kx[s], 1]
            ty_re, ty_im = turn_y[ky[s] + widest, 0], turn_y[ky[s] + widest, 1]
            cosine, sine = tx_re * ty_re - tx_im * ty_im, tx_re * ty_im + tx_im * ty_re
            a = data[i, s, 0] * cosine - data[i, s, 1] * sine
            b = data[i, s, 0] * sine + data[i, s, 1] * cosine
            re, im = c * re, c * im
            total[0] += weight * (a * re + b * im)
            total[1] += weight * (re * re + im * im)
            # how the place of the sample moves as the frame of the image turns about x, y and z
            third_re = c * (dx_re * third_x + dy_re * third_y + dz_re * third_z)
            third_im = c * (dx_im * third_x + dy_im * third_y + dz_im * third_z)
            along_x = q * m[0, 0] - p * m[1, 0]
            along_y = q * m[0, 1] - p * m[1, 1]
            along_z = q * m[0, 2] - p * m[1, 2]
            slope[0, 0], slope[0, 1] = -q * third_re, -q * third_im
            slope[1, 0], slope[1, 1] = p * third_re, p * third_im
            slope[2, 0] = c * (dx_re * along_x + dy_re * along_y + dz_re * along_z)
            slope[2, 1] = c * (dx_im * along_x + dy_im * along_y + dz_im * along_z)
            slope[3, 0], slope[3, 1] = -wave * p * im, wave * p * re
            slope[4, 0], slope[4, 1] = -wave * q * im, wave * q * re
            a, b, at = a - re, b - im, 7
            weight *= np.float32(2)
            for j in range(5):
                total[2 + j] += weight * (a * slope[j, 0] + b * slope[j, 1])
                for k in range(j, 5):
                    total[at] += weight * (slope[j, 0] * slope[k, 0] + slope[j, 1] * slope[k, 1])
                    at += 1
        for j in range(SUMS):
            sums[pose, j] = total[j]
