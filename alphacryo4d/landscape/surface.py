"""Surfaces over the embedding: value and exact gradient at any point.

A :class:`TriangulatedSurface` passes through its points (linear, or cubic after Clough and Tocher);
a :class:`KernelSurface` smooths them. Outside the convex hull of the points values are NaN; what
must stay on the surface is brought back to the nearest point of the hull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.interpolate import CloughTocher2DInterpolator
from scipy.spatial import Delaunay, QhullError

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError


class Surface(Protocol):
    """An energy over the plane."""

    def values(self, points: Array) -> Array:
        """Energy in kT (N,) at points (N, 2); NaN off the surface."""

    def gradients(self, points: Array) -> Array:
        """Gradient (N, 2) in kT per unit of the embedding; NaN off the surface."""

    def bring_back(self, points: Array) -> tuple[Array, int]:
        """Points (N, 2) with those off the surface moved to its nearest edge, and how many."""


@dataclass(frozen=True)
class TriangulatedSurface:
    """Piecewise linear or cubic surface through scattered points.

    Attributes
    ----------
    affine : (T, 6) array
        First two barycentric coordinates of a triangle as a + b x + c y.
    neighbours : (T, 3) array
        Triangle across the edge opposite to each corner, -1 at the hull.
    hull : (E, 7) array
        Ends of each hull edge, centroid and index of its triangle.
    net : (T, 3, 10) array
        Bezier coefficients of the three parts of each triangle, in kT.
    slopes : (T, 3, 12) array
        Coefficients of the derivatives along x (6) and y (6).
    """

    affine: Array
    neighbours: Array
    hull: Array
    net: Array
    slopes: Array

    def values(self, points: Array) -> Array:
        """Energy (N,) at points (N, 2); NaN outside the hull."""
        from alphacryo4d.landscape import kernels

        points = np.ascontiguousarray(points, np.float64)
        triangles = kernels.locate_all(points, self.affine, self.neighbours)
        result: Array = kernels.surface_values(points, triangles, self.affine, self.net)
        return result

    def gradients(self, points: Array) -> Array:
        """Exact gradient (N, 2) at points (N, 2); NaN outside the hull."""
        from alphacryo4d.landscape import kernels

        points = np.ascontiguousarray(points, np.float64)
        triangles = kernels.locate_all(points, self.affine, self.neighbours)
        result: Array = kernels.surface_gradients(points, triangles, self.affine, self.slopes)
        return result

    def bring_back(self, points: Array) -> tuple[Array, int]:
        """Points (N, 2) with those outside the hull moved to its nearest edge, and how many."""
        from alphacryo4d.landscape import kernels

        points = np.array(points, np.float64)
        _, moved = kernels.bring_back(points, self.affine, self.neighbours, self.hull)
        return points, int(moved)


def triangulated_surface(points: Array, energies: Array, *, kind: str) -> TriangulatedSurface:
    """Surface through scattered points (section 4.5).

    Parameters
    ----------
    points : (V, 2) array
        Embedding.
    energies : (V,) array
        Energy of each point in kT.
    kind : str
        ``linear``, or ``cubic`` (Clough and Tocher, continuous gradient; the same function as
        SciPy's ``CloughTocher2DInterpolator``).

    Raises
    ------
    InputError
        Fewer than three points, or all on one line.
    """
    points = np.asarray(points, np.float64)
    energies = np.asarray(energies, np.float64)
    try:
        mesh = Delaunay(points)
    except (QhullError, ValueError) as error:
        raise InputError(
            f"embedding: {len(points)} points span no surface; at least three that are not on one "
            "line are needed"
        ) from error
    corners = mesh.simplices
    transform = mesh.transform
    origin = transform[:, 2]
    affine = np.empty((len(corners), 6))
    for row in range(2):
        affine[:, 3 * row + 1 : 3 * row + 3] = transform[:, row]
        affine[:, 3 * row] = -(transform[:, row] * origin).sum(1)
    flat = np.logical_not(np.isfinite(affine).all(axis=1))
    affine[flat] = np.array([-1.0, 0, 0, -1.0, 0, 0])
    corner_values = energies[corners]
    if kind == "linear":
        net = _linear_net(corner_values)
    else:
        interpolator = CloughTocher2DInterpolator(mesh, energies)
        net = _cubic_net(points, mesh, corner_values, interpolator.grad[:, 0, :])
    net[flat] = corner_values[flat].mean(1)[:, None, None]
    return TriangulatedSurface(
        affine=affine,
        neighbours=mesh.neighbors.astype(np.int64),
        hull=_hull_edges(points, mesh, flat),
        net=net,
        slopes=_slopes(net, affine),
    )


def _hull_edges(points: Array, mesh: Delaunay, flat: Array) -> Array:
    triangle, corner = np.nonzero(mesh.neighbors < 0)
    keep = ~flat[triangle]
    triangle, corner = triangle[keep], corner[keep]
    first = points[mesh.simplices[triangle, (corner + 1) % 3]]
    second = points[mesh.simplices[triangle, (corner + 2) % 3]]
    middle = points[mesh.simplices[triangle]].mean(1)
    return np.hstack([first, second, middle, triangle[:, None]]).astype(np.float64)


# Order of a part's ten coefficients: u3 v3 w3 u2v u2w v2u v2w w2u w2v uvw.
_POWERS = ((3, 0, 0), (0, 3, 0), (0, 0, 3), (2, 1, 0), (2, 0, 1))
_POWERS += ((1, 2, 0), (0, 2, 1), (1, 0, 2), (0, 1, 2), (1, 1, 1))  # type: ignore[assignment]
_QUADRATIC = ((2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1))


def _linear_net(corner_values: Array) -> Array:
    middle = corner_values.mean(1)
    net = np.empty((len(corner_values), 3, 10))
    for k in range(3):
        ends = (corner_values[:, (k + 1) % 3], corner_values[:, (k + 2) % 3], middle)
        for c, powers in enumerate(_POWERS):
            net[:, k, c] = sum(p * end for p, end in zip(powers, ends, strict=True)) / 3
    return net


def _cubic_net(points: Array, mesh: Delaunay, f: Array, vertex_gradients: Array) -> Array:
    """Clough-Tocher coefficients with SciPy's choice of the directions across edges."""
    corners = mesh.simplices
    gradient = vertex_gradients[corners]
    position = points[corners]

    def along(i: int, j: int) -> Array:
        """Control value beside corner i on the edge to corner j."""
        slope: Array = (gradient[:, i] * (position[:, j] - position[:, i])).sum(1)
        return f[:, i] + slope / 3

    edge = {(i, j): along(i, j) for i in range(3) for j in range(3) if i != j}
    inner = [(edge[i, (i + 1) % 3] + edge[i, (i + 2) % 3] + f[:, i]) / 3 for i in range(3)]
    weight = _cross_weights(points, mesh)
    across = []
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        third = -f[:, i] + 3 * edge[i, j] - 3 * edge[j, i] + f[:, j]
        rest = -f[:, i] + 2 * edge[i, j] - edge[j, i] + inner[i] + inner[j]
        across.append((weight[:, k] * third + rest) / 2)
    near = [(across[(i + 1) % 3] + across[(i + 2) % 3] + inner[i]) / 3 for i in range(3)]
    middle = sum(near) / 3
    net = np.empty((len(corners), 3, 10))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        net[:, k] = np.stack(
            [
                f[:, i], f[:, j], middle,
                edge[i, j], inner[i], edge[j, i], inner[j],
                near[i], near[j], across[k],
            ],
            axis=1,
        )  # fmt: skip
    return net


def _cross_weights(points: Array, mesh: Delaunay) -> Array:
    """Weights that make the derivative across each edge linear along it (-1/2 at the hull)."""
    weights = np.full((len(mesh.simplices), 3), -0.5)
    for k in range(3):
        other = mesh.neighbors[:, k]
        rows = np.flatnonzero(other >= 0)
        centroid = points[mesh.simplices[other[rows]]].mean(1)
        transform = mesh.transform[rows]
        first = np.einsum("nij,nj->ni", transform[:, :2], centroid - transform[:, 2])
        c = np.hstack([first, 1 - first.sum(1, keepdims=True)])
        ahead, behind = c[:, (k + 1) % 3], c[:, (k + 2) % 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            weights[rows, k] = (2 * behind + ahead - 1) / (2 - 3 * behind - 3 * ahead)
    return np.where(np.isfinite(weights), weights, -0.5)


def _slopes(net: Array, affine: Array) -> Array:
    """Quadratic coefficients of the derivatives along x and y."""
    direction = np.empty((len(net), 3, 2))
    direction[:, 0] = affine[:, 1:3]
    direction[:, 1] = affine[:, 4:6]
    direction[:, 2] = -direction[:, 0] - direction[:, 1]
    index = {powers: c for c, powers in enumerate(_POWERS)}
    slopes = np.empty((len(net), 3, 12))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        ends = (
            direction[:, i] - direction[:, k],
            direction[:, j] - direction[:, k],
            3 * direction[:, k],
        )
        for q, powers in enumerate(_QUADRATIC):
            total = np.zeros((len(net), 2))
            for axis in range(3):
                raised = tuple(p + (a == axis) for a, p in enumerate(powers))
                total += 3 * net[:, k, index[raised], None] * ends[axis]  # type: ignore[index]
            slopes[:, k, q] = total[:, 0]
            slopes[:, k, 6 + q] = total[:, 1]
    return slopes
