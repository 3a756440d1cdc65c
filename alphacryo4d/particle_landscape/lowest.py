"""Ways through points of a density: where a string begins, and which states are its ends."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.basins import neighbour_lists
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.surface import DensitySurface

DRAWS = {2: 4000, 3: 2000, 4: 1000}
"""Points drawn from the density by its dimensions."""


def farthest_along(density: Density, minima: Array, *, seed: int = 0) -> tuple[int, int]:
    """The two of several states with the longest way between them, in their order.

    The ends of a motion that bends may be near to each other in a straight line. The way is that
    of the largest flux between two places, of the least integral of ``exp(E / kT)`` along it
    (Berkowitz et al. 1983), over points drawn from the density and joined to their neighbours.

    Parameters
    ----------
    density : Density
    minima : (K, d) array
        Of at least two states.
    seed : int
        Of the points that are drawn.
    """
    if minima.shape[1] == 1:
        return _farthest(np.abs(minima - minima.T))
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    places, first, second, height = _neighbours(density, minima, seed)
    steps = np.linalg.norm(places[first] - places[second], axis=1)
    resistance = np.maximum(steps * np.exp(np.minimum(height - height.min(), 50.0)), 1e-12)
    joined = csr_matrix((resistance, (first, second)), (len(places),) * 2)
    before = dijkstra(joined, indices=np.arange(len(minima)), return_predecessors=True)[1]
    apart = np.zeros((len(minima),) * 2)
    for start, end in np.argwhere(np.tri(len(minima), k=-1) > 0):
        way = places[_way(before[start], start, end)]
        apart[start, end] = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
    return _farthest(apart)


def _farthest(apart: Array) -> tuple[int, int]:
    one, other = np.unravel_index(int(apart.argmax()), apart.shape)
    return int(min(one, other)), int(max(one, other))


def _neighbours(density: Density, points: Array, seed: int) -> tuple[Array, Array, Array, Array]:
    """Points given and drawn, pairs of neighbours, and the highest energy between each two (kT)."""
    drawn = density.mixture.drawn(DRAWS[points.shape[1]], np.random.default_rng(seed))
    places = np.concatenate([points, drawn])
    near = neighbour_lists(places)
    first = np.repeat(np.arange(len(places)), [len(each) for each in near])
    second = np.concatenate(near)
    surface = DensitySurface(density.mixture)
    energies = surface.values(places)
    middle = surface.values(0.5 * (places[first] + places[second]))
    return places, first, second, np.maximum(middle, np.maximum(energies[first], energies[second]))


def _way(before: Array, start: int, end: int) -> list[int]:
    """Points from start to end, by the point before each on the way from start."""
    way = [int(end)]
    while way[-1] != start and before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return way[::-1]


def lowest_route(density: Density, points: Array, *, seed: int = 0) -> Array:
    """Points to pass between those given, so that the highest energy on the way is lowest.

    A string only finds the path next to where it begins: a straight line through a void ends in a
    path through the void. Points drawn from the density are joined to their neighbours; the path
    of the minimum spanning tree has the lowest highest point of all.

    Parameters
    ----------
    density : Density
    points : (P, d) array
        Start, points to pass, end.
    seed : int
        Of the points that are drawn.

    Returns
    -------
    (Q, d) array
        With the points given among them; as they are along a line.
    """
    if points.shape[1] == 1:
        return points
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    places, first, second, height = _neighbours(density, points, seed)
    weights = height - height.min() + 1.0
    tree = minimum_spanning_tree(csr_matrix((weights, (first, second)), (len(places),) * 2))
    route: list[int] = [0]
    for begin, end in zip(range(len(points) - 1), range(1, len(points)), strict=True):
        before = breadth_first_order(tree, begin, directed=False)[1]
        route += _way(before, begin, end)[1:]
    return np.asarray(places[route])
