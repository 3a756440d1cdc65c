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
ROWS, TOGETHER = 23, 256
"""Samples that are read before their terms are added: they stay in the cache."""


@numba.njit(inline="always")
def _place(x, y, z, size):  # type: ignore[no-untyped-def]
    """Numbers of the first of the four pairs of voxels about a place of a grid, and what is left.

    Two voxels that follow each other in x are a pair: four numbers in a row. The last is -1 where
    the Friedel mate of the place is read.
    """
    flip = np.float32(-1.0) if x < np.float32(0) else np.float32(1.0)
    x, y, z = x * flip, y * flip, z * flip
    x0, y0, z0 = int(x), int(y), int(z)  # x is not negative, the others are rounded down
    y0, z0 = y0 - 1 if y < np.float32(y0) else y0, z0 - 1 if z < np.float32(z0) else z0
    fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
    y1, z1 = y0 + 1, z0 + 1
    y0, z0 = y0 + size if y0 < 0 else y0, z0 + size if z0 < 0 else z0
    y1, z1 = y1 + size if y1 < 0 else y1, z1 + size if z1 < 0 else z1
    line = size // 2 + 1
    n00, n01 = (z0 * size + y0) * line + x0, (z0 * size + y1) * line + x0
    n10, n11 = (z1 * size + y0) * line + x0, (z1 * size + y1) * line + x0
    return 2 * n00, 2 * n01, 2 * n10, 2 * n11, fx, fy, fz, flip


@numba.njit(inline="always")
def _between(near, fx, fy, fz, flip):  # type: ignore[no-untyped-def]
    """Value between eight voxels (real and imaginary parts), and its derivatives in x, y and z."""
    a0, b0, a1, b1, a2, b2, a3, b3, a4, b4, a5, b5, a6, b6, a7, b7 = near
    one = np.float32(1)
    gx, gy, gz = one - fx, one - fy, one - fz
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
def _pair(flat, n):  # type: ignore[no-untyped-def]
    """Two voxels that follow each other, real and imaginary parts."""
    n = np.uint64(n)  # no number of an array counts from its end
    return flat[n], flat[n + np.uint64(1)], flat[n + np.uint64(2)], flat[n + np.uint64(3)]


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
    flat = grid.ravel()
    for pose in range(begin, end):
        m = matrices[pose]
        for s in range(len(kx)):
            x = kx[s] * m[0, 0] + ky[s] * m[1, 0]
            y = kx[s] * m[0, 1] + ky[s] * m[1, 1]
            z = kx[s] * m[0, 2] + ky[s] * m[1, 2]
            n0, n1, n2, n3, fx, fy, fz, flip = _place(x, y, z, len(grid))
            near = _pair(flat, n0) + _pair(flat, n1) + _pair(flat, n2) + _pair(flat, n3)
            value = _between(near, fx, fy, fz, flip)
            slices[pose, s, 0] = value[0]
            slices[pose, s, 1] = value[1]


@kernel
def _read_samples(  # type: ignore[no-untyped-def]
    first, last, m, values, kx, ky, shell, weights, along_x, along_y, grid, read,
):  # fmt: skip
    """Samples ``first`` to ``last`` into rows of ``read``.

    Rows 0 to 15 are the voxels about their places in the map, 16 to 19 where between them, 20 and
    21 the image, moved, 22 the weight.
    """
    widest, size, flat = len(along_x) - 1, len(grid), grid.ravel()
    for s in range(first, last):
        p, q, k = np.float32(kx[s]), np.float32(ky[s]), s - first
        x, y = p * m[0, 0] + q * m[1, 0], p * m[0, 1] + q * m[1, 1]
        n0, n1, n2, n3, fx, fy, fz, flip = _place(x, y, p * m[0, 2] + q * m[1, 2], size)
        read[0, k], read[1, k], read[2, k], read[3, k] = _pair(flat, n0)
        read[4, k], read[5, k], read[6, k], read[7, k] = _pair(flat, n1)
        read[8, k], read[9, k], read[10, k], read[11, k] = _pair(flat, n2)
        read[12, k], read[13, k], read[14, k], read[15, k] = _pair(flat, n3)
        read[16, k], read[17, k], read[18, k], read[19, k] = fx, fy, fz, flip
        one, other = along_x[kx[s]], along_y[ky[s] + widest]
        cosine = one[0] * other[0] - one[1] * other[1]
        sine = one[0] * other[1] + one[1] * other[0]
        read[20, k] = values[s, 0] * cosine - values[s, 1] * sine
        read[21, k] = values[s, 0] * sine + values[s, 1] * cosine
        read[22, k] = weights[shell[s]]


@kernel
def _add_samples(first, last, m, ctf, kx, ky, wave, read, sums):  # type: ignore[no-untyped-def]
    """Add the terms of samples ``first`` to ``last`` to the sums of a pose, see :func:`fit_poses`.

    A loop that only reads, so that it runs in vectors. A turn about x, y or z moves the place of
    the sample in the map along the third axis of the frame (x and y), or about it in the plane of
    the image (z); it changes the sample by s (real part) and u (imaginary part).
    """
    half, zero = np.float32(0.5), np.float32(0)
    nx = (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * half
    ny = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * half
    nz = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * half
    cross = norm = gx = gy = gz = gp = gq = zero
    xx = xy = xz = xp = xq = yy = yz = yp = yq = zz = zp = zq = pp = pq = qq = zero
    for k in range(last - first):
        c, p, q = ctf[first + k], np.float32(kx[first + k]), np.float32(ky[first + k])
        near = (
            read[0, k], read[1, k], read[2, k], read[3, k], read[4, k], read[5, k], read[6, k],
            read[7, k], read[8, k], read[9, k], read[10, k], read[11, k], read[12, k],
            read[13, k], read[14, k], read[15, k],
        )  # fmt: skip
        re, im, dx, ex, dy, ey, dz, ez = _between(
            near, read[16, k], read[17, k], read[18, k], read[19, k]
        )
        re, im, a, b, weight = c * re, c * im, read[20, k], read[21, k], read[22, k]
        real, imaginary = c * (dx * nx + dy * ny + dz * nz), c * (ex * nx + ey * ny + ez * nz)
        bx, by = q * m[0, 0] - p * m[1, 0], q * m[0, 1] - p * m[1, 1]
        bz = q * m[0, 2] - p * m[1, 2]
        sx, ux, sy, uy = -q * real, -q * imaginary, p * real, p * imaginary
        sz, uz = c * (dx * bx + dy * by + dz * bz), c * (ex * bx + ey * by + ez * bz)
        sp, up, sq, uq = -wave * p * im, wave * p * re, -wave * q * im, wave * q * re
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
        cross, norm, gx, gy, gz, gp, gq, xx, xy, xz, xp, xq, yy, yz, yp, yq, zz, zp, zq, pp, pq, qq,
    )):  # fmt: skip
        sums[j] += value


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
    wave = np.float32(2 * math.pi / box)
    along_x = np.empty((widest + 1, 2), np.float32)
    along_y = np.empty((2 * widest + 1, 2), np.float32)
    read = np.empty((ROWS, TOGETHER), np.float32)
    for pose in range(begin, end):
        i, m = row[pose], matrices[pose]
        _turns(shifts[pose], widest, wave, along_x, along_y)
        for j in range(SUMS):
            sums[pose, j] = 0
        for first in range(0, last, TOGETHER):
            until = min(first + TOGETHER, last)
            _read_samples(
                first, until, m, data[i], kx, ky, shell, inverse[group[i]], along_x, along_y, grid,
                read,
            )  # fmt: skip
            _add_samples(first, until, m, ctf[i], kx, ky, wave, read, sums[pose])
