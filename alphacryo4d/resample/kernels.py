"""Compiled sampling of volumes at moved points; imported only where volumes are aligned."""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.core.arrays import Array

Arrays = tuple[Array, Array, Array]


@numba.njit(cache=True, nogil=True)
def sample_linear(volume: Array, points: Array, rotation: Array, result: Array) -> None:
    """Trilinear values of a rotated volume.

    Parameters
    ----------
    volume : (n, n, n) float64 array
        Density in z, y, x; 0 outside.
    points : (m, 3) float64 array
        Positions x, y, z in voxels from the origin at n//2.
    rotation : (3, 3) float64 array
        Rotates the volume.
    result : (m,) float64 array
        Filled with the values.
    """
    n = volume.shape[0]
    origin = n // 2
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        x = rotation[0, 0] * px + rotation[1, 0] * py + rotation[2, 0] * pz + origin
        y = rotation[0, 1] * px + rotation[1, 1] * py + rotation[2, 1] * pz + origin
        z = rotation[0, 2] * px + rotation[1, 2] * py + rotation[2, 2] * pz + origin
        ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        if ix < 0 or iy < 0 or iz < 0 or ix >= n - 1 or iy >= n - 1 or iz >= n - 1:
            result[i] = 0.0
            continue
        fx, fy, fz = x - ix, y - iy, z - iz
        low = (
            (volume[iz, iy, ix] * (1 - fx) + volume[iz, iy, ix + 1] * fx) * (1 - fy)
            + (volume[iz, iy + 1, ix] * (1 - fx) + volume[iz, iy + 1, ix + 1] * fx) * fy
        )  # fmt: skip
        high = (
            (volume[iz + 1, iy, ix] * (1 - fx) + volume[iz + 1, iy, ix + 1] * fx) * (1 - fy)
            + (volume[iz + 1, iy + 1, ix] * (1 - fx) + volume[iz + 1, iy + 1, ix + 1] * fx) * fy
        )  # fmt: skip
        result[i] = low * (1 - fz) + high * fz


@numba.njit(cache=True, nogil=True, inline="always")
def _weights(t: float, value: Array, slope: Array) -> None:
    """Cubic B-spline and its derivative at the four neighbours of a position."""
    s = 1.0 - t
    value[0], value[3] = s * s * s / 6, t * t * t / 6
    value[1] = (4 - 6 * t * t + 3 * t * t * t) / 6
    value[2] = 1 - value[0] - value[1] - value[3]
    slope[0], slope[3] = -s * s / 2, t * t / 2
    slope[1] = (3 * t * t - 4 * t) / 2
    slope[2] = -slope[0] - slope[1] - slope[3]


@numba.njit(cache=True, nogil=True, inline="always")
def _spline(
    coefficients: Array, corner: tuple[int, int, int], weights: Arrays, slopes: Arrays
) -> tuple[float, float, float, float]:
    """Value of the spline and its derivatives along x, y, z from 64 coefficients."""
    ix, iy, iz = corner
    wx, wy, wz = weights
    dx, dy, dz = slopes
    value, ax, ay, az = 0.0, 0.0, 0.0, 0.0
    for c in range(4):
        for b in range(4):
            row = coefficients[iz + c, iy + b]
            along = wx[0] * row[ix] + wx[1] * row[ix + 1] + wx[2] * row[ix + 2]
            along += wx[3] * row[ix + 3]
            slope = dx[0] * row[ix] + dx[1] * row[ix + 1] + dx[2] * row[ix + 2]
            slope += dx[3] * row[ix + 3]
            value += along * wy[b] * wz[c]
            ax += slope * wy[b] * wz[c]
            ay += along * dy[b] * wz[c]
            az += along * wy[b] * dz[c]
    return value, ax, ay, az


@numba.njit(cache=True, nogil=True)
def compare(
    coefficients: Array,
    points: Array,
    weights: Array,
    target: Array,
    rotation: Array,
    shift: Array,
) -> Array:
    """Weighted products of all that a least-squares step needs, in one pass.

    Parameters
    ----------
    coefficients : (n, n, n) float64 array
        Cubic spline coefficients of the density in z, y, x; 0 outside.
    points : (m, 3) float64 array
        Positions x, y, z in voxels from the origin at n//2.
    weights, target : (m,) float64 arrays
        Weight of every point, and the density that the moved volume is compared with.
    rotation, shift : (3, 3), (3,) float64 arrays
        The motion: density at p goes to ``rotation @ p + shift``.

    Returns
    -------
    (9, 9) float64 array
        Sums over the points of weight times the products of: 1, value A of the moved volume, its
        change by a small rotation about x, y, z and a small shift along x, y, z, and the target.
        A rotation w and shift t change A at x by -grad A . (w cross x + t).
    """
    n = coefficients.shape[0]
    origin = n // 2
    wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
    dx, dy, dz = np.empty(4), np.empty(4), np.empty(4)
    row_of, sums = np.ones(9), np.zeros((9, 9))
    for i in range(points.shape[0]):
        qx, qy, qz = points[i, 0], points[i, 1], points[i, 2]
        px, py, pz = qx - shift[0], qy - shift[1], qz - shift[2]
        x = rotation[0, 0] * px + rotation[1, 0] * py + rotation[2, 0] * pz + origin
        y = rotation[0, 1] * px + rotation[1, 1] * py + rotation[2, 1] * pz + origin
        z = rotation[0, 2] * px + rotation[1, 2] * py + rotation[2, 2] * pz + origin
        ix, iy, iz = int(np.floor(x)) - 1, int(np.floor(y)) - 1, int(np.floor(z)) - 1
        value, ax, ay, az = 0.0, 0.0, 0.0, 0.0
        if ix >= 0 and iy >= 0 and iz >= 0 and ix + 3 < n and iy + 3 < n and iz + 3 < n:
            _weights(x - ix - 1, wx, dx)
            _weights(y - iy - 1, wy, dy)
            _weights(z - iz - 1, wz, dz)
            value, ax, ay, az = _spline(coefficients, (ix, iy, iz), (wx, wy, wz), (dx, dy, dz))
        gx = rotation[0, 0] * ax + rotation[0, 1] * ay + rotation[0, 2] * az
        gy = rotation[1, 0] * ax + rotation[1, 1] * ay + rotation[1, 2] * az
        gz = rotation[2, 0] * ax + rotation[2, 1] * ay + rotation[2, 2] * az
        row_of[1] = value
        row_of[2], row_of[3], row_of[4] = qz * gy - qy * gz, qx * gz - qz * gx, qy * gx - qx * gy
        row_of[5], row_of[6], row_of[7] = -gx, -gy, -gz
        row_of[8] = target[i]
        for j in range(9):
            weighted = weights[i] * row_of[j]
            for k in range(j, 9):
                sums[j, k] += weighted * row_of[k]
    for j in range(9):
        for k in range(j):
            sums[j, k] = sums[k, j]
    return sums
