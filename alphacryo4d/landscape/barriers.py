"""Barriers: along a path, on the lowest path there is, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.surface import Surface


@dataclass(frozen=True)
class Barrier:
    """One pass between two neighbouring minima of a path.

    Attributes
    ----------
    start, top, end : float
        Position of the minimum before, the highest point, and the minimum after, as lengths
        along the path.
    forward, backward : float
        Height above the minimum before and after, in kT.
    place : (d,) array
        Where the highest point is.
    """

    start: float
    top: float
    end: float
    forward: float
    backward: float
    place: Array


def arc_lengths(images: Array) -> Array:
    """Length (n,) along a path from its start, in units of the embedding."""
    steps = np.linalg.norm(np.diff(images, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def barriers_along(images: Array, energies: Array, *, depth: float = 0.1) -> list[Barrier]:
    """Barriers between the minima of a path that are at least ``depth`` kT deep.

    Heights and places are those of the parabola through three images around each extremum.
    """
    from alphacryo4d.landscape.basins import all_minima_along

    lengths = arc_lengths(images)
    minima = all_minima_along(energies, depth=depth)
    barriers = []
    for first, last in zip(minima[:-1], minima[1:], strict=True):
        top = first + int(energies[first : last + 1].argmax())
        at, height = _extremum(lengths, energies, top)
        low_at, low = _extremum(lengths, energies, int(first))
        next_at, following = _extremum(lengths, energies, int(last))
        place = np.array([np.interp(at, lengths, column) for column in images.T])
        barriers.append(Barrier(low_at, at, next_at, height - low, height - following, place))
    return barriers


def _extremum(lengths: Array, energies: Array, row: int) -> tuple[float, float]:
    """Place and height of the parabola through an extremum and its neighbours."""
    if row in (0, len(energies) - 1):
        return float(lengths[row]), float(energies[row])
    x, y = lengths[row - 1 : row + 2] - lengths[row], energies[row - 1 : row + 2]
    curvature, slope, _ = np.polyfit(x, y, 2)
    if curvature == 0:
        return float(lengths[row]), float(energies[row])
    at = float(np.clip(-slope / (2 * curvature), x[0], x[2]))
    return float(lengths[row] + at), float(energies[row] + slope * at + curvature * at * at)


@dataclass(frozen=True)
class LowestPath:
    """The path whose highest point is lowest, on a grid over the surface.

    Attributes
    ----------
    images : (n, 2) array
        Grid points from start to end.
    top : float
        Energy of its highest point in kT.
    place : (2,) array
        Where that is.
    forward, backward : float
        Its height above the lowest point of the path before and after it, in kT.
    """

    images: Array
    top: float
    place: Array
    forward: float
    backward: float


def lowest_path(
    surface: Surface, start: Array, end: Array, limits: Array, *, size: int = 200
) -> LowestPath:
    """Global alternative to the string: the path of lowest barrier (minimax).

    The surface is sampled on a grid; the path between two nodes of the minimum spanning tree has
    the lowest highest point of all paths. The highest point is then refined to the saddle.

    Parameters
    ----------
    start, end : (2,) arrays
        Ends; the nearest grid points on the surface are taken.
    limits : (2, 2) array
        Lowest and highest coordinates of the grid.
    size : int
        Grid points along each axis.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    points, energies, edges = _grid(surface, limits, size)
    weights = energies[edges].max(1)
    shift = weights.min() - 1.0
    shape = (len(points), len(points))
    graph = csr_matrix((weights - shift, (edges[:, 0], edges[:, 1])), shape=shape)
    tree = minimum_spanning_tree(graph)
    first, last = (int(((points - p) ** 2).sum(1).argmin()) for p in (start, end))
    before = breadth_first_order(tree, first, directed=False)[1]
    route = [last]
    while route[-1] != first and before[route[-1]] >= 0:
        route.append(int(before[route[-1]]))
    rows = np.array(route[::-1])
    highest = rows[energies[rows].argmax()]
    cell = float(((limits[1] - limits[0]) / (size - 1)).max())
    place, top = refine_saddle(surface, points[highest], float(energies[highest]), cell)
    inner = int(energies[rows].argmax())
    return LowestPath(
        images=points[rows],
        top=top,
        place=place,
        forward=top - float(energies[rows[: inner + 1]].min()),
        backward=top - float(energies[rows[inner:]].min()),
    )


def _grid(surface: Surface, limits: Array, size: int) -> tuple[Array, Array, Array]:
    """Points on the surface (N, 2), their energies (N,) and the edges (E, 2) between them."""
    axes = [np.linspace(limits[0, a], limits[1, a], size) for a in (0, 1)]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    values = surface.values(mesh)
    number = np.where(np.isfinite(values), np.cumsum(np.isfinite(values)) - 1, -1)
    number = number.reshape(size, size)
    pairs = [
        (number[:-1], number[1:]),
        (number[:, :-1], number[:, 1:]),
        (number[:-1, :-1], number[1:, 1:]),
        (number[1:, :-1], number[:-1, 1:]),
    ]
    edges = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in pairs])
    kept = np.isfinite(values)
    return mesh[kept], values[kept], edges[(edges >= 0).all(1)]


def refine_saddle(
    surface: Surface, point: Array, energy: float, cell: float
) -> tuple[Array, float]:
    """Saddle near a grid point by Newton's method; the grid point where that leads away.

    The matrix of second derivatives is taken from differences of the exact gradients.
    """
    place = np.array(point, np.float64)
    step = 1e-3 * cell
    offsets = np.concatenate([np.eye(2), -np.eye(2)]) * step
    for _ in range(20):
        around = surface.gradients(np.concatenate([place[None], place + offsets]))
        if not np.isfinite(around).all():
            return np.asarray(point), energy
        second = (around[1:3] - around[3:5]) / (2 * step)
        second = 0.5 * (second + second.T)
        if np.linalg.det(second) >= 0:
            return np.asarray(point), energy
        move = np.linalg.solve(second, -around[0])
        place = place + move
        if np.abs(place - point).max() > 3 * cell:
            return np.asarray(point), energy
        if np.abs(move).max() < 1e-10 * cell:
            break
    return place, float(surface.values(place[None])[0])


@dataclass(frozen=True)
class Interval:
    """An estimate in kT with its interval: 95% on the plane, 90% in the particle landscape."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all: a bootstrap was made."""
        return bool(np.isfinite(self.low))

    @property
    def resolved(self) -> bool:
        """Whether the interval lies above zero; a height without one is not called resolved."""
        return self.known and self.low > 0


def corrected_interval(value: float, replicates: Array, *, deviations: float = 1.96) -> Interval:
    """Interval of a barrier: 2 value - mean of the bootstrap +- 1.96 deviations.

    Noise roughens a surface and so shifts its barriers; each replicate is roughened once more by
    about as much, so that the mean of the replicates shows the shift. A barrier is never negative.
    """
    middle = 2 * value - float(np.mean(replicates))
    half = deviations * float(np.std(replicates, ddof=1))
    return Interval(value, max(0.0, middle - half), max(0.0, middle + half))


def bootstrap(
    estimate: Callable[[Array, Array], Array],
    energies: Array,
    errors: Array,
    *,
    replicates: int,
    rng: np.random.Generator,
) -> Array:
    """Replicates of a quantity of the landscape.

    Every replicate draws the volumes with replacement (a volume drawn twice counts once, as a
    surface passes through it once) and moves each energy by its standard error.

    Parameters
    ----------
    estimate : callable
        Quantity (any fixed shape) from rows of volumes and their energies.
    energies, errors : (V,) arrays
        In kT.

    Returns
    -------
    (replicates, ...) array
        Replicates in which the quantity was finite throughout.
    """
    count = len(energies)
    estimates = []
    for _ in range(replicates):
        rows = np.unique(rng.integers(0, count, count))
        drawn = energies[rows] + errors[rows] * rng.normal(size=len(rows))
        result = np.asarray(estimate(rows, drawn))
        if np.isfinite(result).all():
            estimates.append(result)
    return np.array(estimates)
