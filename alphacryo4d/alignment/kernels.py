"""Projections of a map at many poses, their fit to the images, and its derivatives.

A map is one column of a padded Fourier grid (see :mod:`alphacryo4d.ml3d.compiled.basic`): voxels
(N, N, N // 2 + 1, 2) float32, real and imaginary part, read between its voxels by trilinear
interpolation. Derivatives are those of the interpolant itself, so that a step uphill is uphill.

What the kernels take: ``matrices`` (m, 2, 3) float32, the first rows of the rotations times 2 (the
padding of the grid); ``row`` (m,) int64, the image of every pose; ``shifts`` (m, 2) float32 that
centre it (pixels of a ``box``); ``data`` (P, S, 2), ``ctf`` (P, S), ``kx, ky, shell`` (S,) and
``group`` (P,) of :class:`alphacryo4d.ml3d.images.PreparedImages`, of which the first ``last``
samples are used; ``inverse`` (G, shells) float32, one over the noise power.
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


@numba.njit(inline="always")
def _model(grid, m, p, q, ctf):  # type: ignore[no-untyped-def]
    """A sample of the image that a map gives, and how it changes as the frame of the image turns.

    A turn about x, y or z moves the place of the sample in the map along the third axis of the
    frame (x and y), or about it in the plane of the image (z).
    """
    x, y = p * m[0, 0] + q * m[1, 0], p * m[0, 1] + q * m[1, 1]
    re, im, dx, ex, dy, ey, dz, ez = _read(grid, x, y, p * m[0, 2] + q * m[1, 2])
    half = np.float32(0.5) * ctf
    ax = (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * half
    ay = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * half
    az = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * half
    real, imaginary = dx * ax + dy * ay + dz * az, ex * ax + ey * ay + ez * az
    bx, by = ctf * (q * m[0, 0] - p * m[1, 0]), ctf * (q * m[0, 1] - p * m[1, 1])
    bz = ctf * (q * m[0, 2] - p * m[1, 2])
    return (
        ctf * re, ctf * im, -q * real, -q * imaginary, p * real, p * imaginary,
        dx * bx + dy * by + dz * bz, ex * bx + ey * by + ez * bz,
    )  # fmt: skip


@numba.njit(inline="always")
def _turns(shift, widest, wave, along_x, along_y):  # type: ignore[no-untyped-def]
    """Phases (cosine, sine) of a shift at every place along x, and along y from -widest on."""
    for k in range(widest + 1):
        along_x[k, 0] = math.cos(wave * k * shift[0])
        along_x[k, 1] = -math.sin(wave * k * shift[0])
    for k in range(-widest, widest + 1):
        along_y[k + widest, 0] = math.cos(wave * k * shift[1])
        along_y[k + widest, 1] = -math.sin(wave * k * shift[1])


@kernel
def project(begin, end, matrices, kx, ky, grid, slices):  # type: ignore[no-untyped-def]
    """Projections ``begin`` to ``end`` of a map in Fourier space, into ``slices`` (m, S, 2)."""
    for pose in range(begin, end):
        m = matrices[pose]
        for s in range(len(kx)):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            value = _read(grid, x, y, z)
            slices[pose, s, 0] = value[0]
            slices[pose, s, 1] = value[1]


@kernel
def fit_poses(  # type: ignore[no-untyped-def]
    begin, end, row, matrices, shifts, data, ctf, kx, ky, shell, group, inverse, grid, box, last,
    sums,
):  # fmt: skip
    """Fit of poses ``begin`` to ``end`` to their images: rows of ``sums`` (m, 22) are filled.

    The log-likelihood ratio against noise alone is ``2 sums[0] - sums[1]``. Its gradient is by a
    turn of the image's frame (radians about x, y, z) and a shift of the image (pixels); the
    curvature is that of Gauss and Newton, the packed upper triangle.
    """
    widest = 0
    for s in range(last):
        widest = max(widest, kx[s], abs(ky[s]))
    wave, zero = np.float32(2 * math.pi / box), np.float32(0)
    turn_x = np.empty((widest + 1, 2), np.float32)
    turn_y = np.empty((2 * widest + 1, 2), np.float32)
    for pose in range(begin, end):
        i, m = row[pose], matrices[pose]
        _turns(shifts[pose], widest, wave, turn_x, turn_y)
        cross = norm = gx = gy = gz = gp = gq = zero
        xx = xy = xz = xp = xq = yy = yz = yp = yq = zz = zp = zq = pp = pq = qq = zero
        for s in range(last):
            p, q = np.float32(kx[s]), np.float32(ky[s])
            re, im, sx, ux, sy, uy, sz, uz = _model(grid, m, p, q, ctf[i, s])
            sp, up, sq, uq = -wave * p * im, wave * p * re, -wave * q * im, wave * q * re
            x, y = turn_x[kx[s]], turn_y[ky[s] + widest]
            cosine, sine = x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
            a = data[i, s, 0] * cosine - data[i, s, 1] * sine
            b = data[i, s, 0] * sine + data[i, s, 1] * cosine
            weight = inverse[group[i], shell[s]]
            cross += weight * (a * re + b * im)
            norm += weight * (re * re + im * im)
            a, b, two = a - re, b - im, np.float32(2) * weight
            gx += two * (a * sx + b * ux)
            gy += two * (a * sy + b * uy)
            gz += two * (a * sz + b * uz)
            gp += two * (a * sp + b * up)
            gq += two * (a * sq + b * uq)
            xx += two * (sx * sx + ux * ux)
            xy += two * (sx * sy + ux * uy)
            xz += two * (sx * sz + ux * uz)
            xp += two * (sx * sp + ux * up)
            xq += two * (sx * sq + ux * uq)
            yy += two * (sy * sy + uy * uy)
            yz += two * (sy * sz + uy * uz)
            yp += two * (sy * sp + uy * up)
            yq += two * (sy * sq + uy * uq)
            zz += two * (sz * sz + uz * uz)
            zp += two * (sz * sp + uz * up)
            zq += two * (sz * sq + uz * uq)
            pp += two * (sp * sp + up * up)
            pq += two * (sp * sq + up * uq)
            qq += two * (sq * sq + uq * uq)
        for j, value in enumerate((
            cross, norm, gx, gy, gz, gp, gq, xx, xy, xz, xp, xq, yy, yz, yp, yq, zz, zp, zq, pp,
            pq, qq,
        )):  # fmt: skip
            sums[pose, j] = value
