"""Compiled loops on triangulated surfaces; imported only where they are needed.

A surface is piecewise cubic: every triangle is split at its centroid into three parts, part k being
where barycentric coordinate k is smallest (Clough-Tocher). Inside a part the position is written
in the part's own barycentric coordinates (u, v, w), w belonging to the centroid.
"""

from __future__ import annotations

import math
from typing import Any

import numba  # noqa: TID253 (this module is itself imported late)
import numpy as np

from alphacryo4d.core.arrays import Array

INSIDE = -1e-12


@numba.njit(cache=True, fastmath=False, inline="always")
def _locate(x: float, y: float, guess: int, affine: Array, neighbours: Array) -> int:
    """Triangle that holds a point, walked to from a guess; -1 outside the hull."""
    triangle = guess
    for _ in range(affine.shape[0] + 1):
        a = affine[triangle]
        b0 = a[0] + a[1] * x + a[2] * y
        b1 = a[3] + a[4] * x + a[5] * y
        b2 = 1.0 - b0 - b1
        if b0 >= INSIDE and b1 >= INSIDE and b2 >= INSIDE:
            return triangle
        worst = 0
        least = b0
        if b1 < least:
            worst = 1
            least = b1
        if b2 < least:
            worst = 2
            least = b2
        if not least < INSIDE:
            break
        triangle = neighbours[triangle, worst]
        if triangle < 0:
            return -1
    for other in range(affine.shape[0]):
        a = affine[other]
        b0 = a[0] + a[1] * x + a[2] * y
        b1 = a[3] + a[4] * x + a[5] * y
        if b0 >= INSIDE and b1 >= INSIDE and 1.0 - b0 - b1 >= INSIDE:
            return other
    return -1


@numba.njit(cache=True)
def _part(x: float, y: float, triangle: int, affine: Array) -> tuple[int, float, float, float]:
    """Part of a triangle and the barycentric coordinates of a point in that part."""
    a = affine[triangle]
    b0 = a[0] + a[1] * x + a[2] * y
    b1 = a[3] + a[4] * x + a[5] * y
    b2 = 1.0 - b0 - b1
    if b0 <= b1 and b0 <= b2:
        return 0, b1 - b0, b2 - b0, 3.0 * b0
    if b1 <= b2:
        return 1, b2 - b1, b0 - b1, 3.0 * b1
    return 2, b0 - b2, b1 - b2, 3.0 * b2


@numba.njit(cache=True)
def _nearest_on_hull(x: float, y: float, hull: Array) -> tuple[float, float, int]:
    """Nearest point of the hull's edges (E, 7: ends, inner point of the triangle, its index)."""
    best = math.inf
    bx, by, bt = x, y, 0
    for e in range(hull.shape[0]):
        ax, ay = hull[e, 0], hull[e, 1]
        dx, dy = hull[e, 2] - ax, hull[e, 3] - ay
        t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
        t = min(1.0, max(0.0, t))
        px, py = ax + t * dx, ay + t * dy
        distance = (px - x) ** 2 + (py - y) ** 2
        if distance < best:
            best = distance
            bx = px + 1e-6 * (hull[e, 4] - px)
            by = py + 1e-6 * (hull[e, 5] - py)
            bt = int(hull[e, 6])
    return bx, by, bt


@numba.njit(cache=True)
def bring_back(points: Array, affine: Array, neighbours: Array, hull: Array) -> tuple[Array, int]:
    """Triangle of each point (N,); points outside the hull are moved to its nearest edge, in place.

    Returns the triangles and the number of points that were moved.
    """
    triangles = np.empty(points.shape[0], np.int64)
    moved = 0
    guess = 0
    for i in range(points.shape[0]):
        triangle = _locate(points[i, 0], points[i, 1], guess, affine, neighbours)
        if triangle < 0:
            moved += 1
            points[i, 0], points[i, 1], triangle = _nearest_on_hull(
                points[i, 0], points[i, 1], hull
            )
        triangles[i] = triangle
        guess = triangle
    return triangles, moved


@numba.njit(cache=True)
def locate_all(points: Array, affine: Array, neighbours: Array) -> Array:
    """Triangle of each point (N,), -1 outside the hull."""
    triangles = np.empty(points.shape[0], np.int64)
    guess = 0
    for i in range(points.shape[0]):
        triangle = _locate(points[i, 0], points[i, 1], guess, affine, neighbours)
        triangles[i] = triangle
        if triangle >= 0:
            guess = triangle
    return triangles


@numba.njit(cache=True)
def surface_values(points: Array, triangles: Array, affine: Array, net: Array) -> Array:
    """Values (N,) of the cubic Bezier net (T, 3, 10); NaN where the triangle is -1."""
    values = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        if triangles[i] < 0:
            values[i] = math.nan
            continue
        k, u, v, w = _part(points[i, 0], points[i, 1], triangles[i], affine)
        c = net[triangles[i], k]
        values[i] = (
            c[0] * u * u * u
            + c[1] * v * v * v
            + c[2] * w * w * w
            + 3.0 * u * u * (c[3] * v + c[4] * w)
            + 3.0 * v * v * (c[5] * u + c[6] * w)
            + 3.0 * w * w * (c[7] * u + c[8] * v)
            + 6.0 * c[9] * u * v * w
        )
    return values


@numba.njit(cache=True, inline="always")
def _gradient(x: float, y: float, triangle: int, affine: Array, slopes: Array) -> Any:
    k, u, v, w = _part(x, y, triangle, affine)
    s = slopes[triangle, k]
    uu, vv, ww = u * u, v * v, w * w
    uv, uw, vw = 2.0 * u * v, 2.0 * u * w, 2.0 * v * w
    gx = s[0] * uu + s[1] * vv + s[2] * ww + s[3] * uv + s[4] * uw + s[5] * vw
    gy = s[6] * uu + s[7] * vv + s[8] * ww + s[9] * uv + s[10] * uw + s[11] * vw
    return gx, gy


@numba.njit(cache=True)
def surface_gradients(points: Array, triangles: Array, affine: Array, slopes: Array) -> Array:
    """Exact gradients (N, 2) from the quadratic nets (T, 3, 12); NaN where the triangle is -1."""
    gradients = np.empty((points.shape[0], 2))
    for i in range(points.shape[0]):
        if triangles[i] < 0:
            gradients[i] = math.nan
            continue
        gx, gy = _gradient(points[i, 0], points[i, 1], triangles[i], affine, slopes)
        gradients[i, 0] = gx
        gradients[i, 1] = gy
    return gradients


@numba.njit(cache=True, fastmath=True)
def respace(moved: Array, lengths: Array, images: Array) -> Any:
    """Re-space images (n, 2) to equal arc length by linear interpolation (eq. 9).

    Writes into ``images`` and returns (|dx| + |dy|) / n, the displacement against what it held.
    """
    n = moved.shape[0]
    lengths[0] = 0.0
    for i in range(1, n):
        dx = moved[i, 0] - moved[i - 1, 0]
        dy = moved[i, 1] - moved[i - 1, 1]
        lengths[i] = lengths[i - 1] + math.sqrt(dx * dx + dy * dy)
    sum_x, sum_y = 0.0, 0.0
    spacing = lengths[n - 1] / (n - 1)
    segment = 0
    for i in range(n):
        target = i * spacing
        while segment < n - 2 and lengths[segment + 1] < target:
            segment += 1
        width = lengths[segment + 1] - lengths[segment]
        t = 0.0 if width == 0.0 else (target - lengths[segment]) / width
        if i == n - 1:
            t = 1.0
            segment = n - 2
        x = moved[segment, 0] + t * (moved[segment + 1, 0] - moved[segment, 0])
        y = moved[segment, 1] + t * (moved[segment + 1, 1] - moved[segment, 1])
        sum_x += (x - images[i, 0]) ** 2
        sum_y += (y - images[i, 1]) ** 2
        images[i, 0] = x
        images[i, 1] = y
    return (math.sqrt(sum_x) + math.sqrt(sum_y)) / n


@numba.njit(cache=True, fastmath=True)
def _slide(
    images: Array,
    moved: Array,
    triangles: Array,
    step: float,
    affine: Array,
    neighbours: Array,
    hull: Array,
    slopes: Array,
) -> int:
    """Move every image down the gradient (eq. 8): ``moved = images - step * gradient``.

    Images outside the hull are first brought back to its nearest point. Returns how many.
    """
    returned = 0
    for i in range(images.shape[0]):
        x, y = images[i, 0], images[i, 1]
        triangle = triangles[i]
        a = affine[triangle]
        b0 = a[0] + a[1] * x + a[2] * y
        b1 = a[3] + a[4] * x + a[5] * y
        b2 = 1.0 - b0 - b1
        if min(b0, b1, b2) < INSIDE:
            triangle = _locate(x, y, triangle, affine, neighbours)
            if triangle < 0:
                returned += 1
                x, y, triangle = _nearest_on_hull(x, y, hull)
                images[i, 0], images[i, 1] = x, y
            triangles[i] = triangle
            a = affine[triangle]
            b0 = a[0] + a[1] * x + a[2] * y
            b1 = a[3] + a[4] * x + a[5] * y
            b2 = 1.0 - b0 - b1
        if b0 <= b1 and b0 <= b2:
            k, u, v, w = 0, b1 - b0, b2 - b0, 3.0 * b0
        elif b1 <= b2:
            k, u, v, w = 1, b2 - b1, b0 - b1, 3.0 * b1
        else:
            k, u, v, w = 2, b0 - b2, b1 - b2, 3.0 * b2
        s = slopes[triangle, k]
        uu, vv, ww = u * u, v * v, w * w
        uv, uw, vw = 2.0 * u * v, 2.0 * u * w, 2.0 * v * w
        gx = s[0] * uu + s[1] * vv + s[2] * ww + s[3] * uv + s[4] * uw + s[5] * vw
        gy = s[6] * uu + s[7] * vv + s[8] * ww + s[9] * uv + s[10] * uw + s[11] * vw
        moved[i, 0] = x - step * gx
        moved[i, 1] = y - step * gy
    return returned


@numba.njit(cache=True)
def evolve(
    images: Array,
    triangles: Array,
    step: float,
    tolerance: float,
    steps: int,
    affine: Array,
    neighbours: Array,
    hull: Array,
    slopes: Array,
) -> tuple[int, float, int]:
    """Iterate the simplified string method (eq. 8 and 9) in place, at most ``steps`` times.

    Returns the iterations done, the last displacement, and how often an image left the hull and
    was brought back.
    """
    moved = np.empty_like(images)
    lengths = np.empty(images.shape[0])
    displacement = math.inf
    returned = 0
    for iteration in range(steps):
        left = _slide(images, moved, triangles, step, affine, neighbours, hull, slopes)
        returned += left
        displacement = respace(moved, lengths, images)
        if displacement <= tolerance:
            return iteration + 1, displacement, returned
    return steps, displacement, returned
