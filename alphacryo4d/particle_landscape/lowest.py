"""The path of lowest barrier through points of a density: where a string begins."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.basins import neighbour_lists
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.surface import DensitySurface

DRAWS = {2: 4000, 3: 2000, 4: 1000}
"""Points drawn from the density by its dimensions."""


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
    d = points.shape[1]
    if d == 1:
        return points
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    drawn = density.mixture.drawn(DRAWS[d], np.random.default_rng(seed))
    places = np.concatenate([points, drawn])
    near = neighbour_lists(places)
    first = np.repeat(np.arange(len(places)), [len(each) for each in near])
    second = np.concatenate(near)
    middle = 0.5 * (places[first] + places[second])
    surface = DensitySurface(density.mixture)
    energies = surface.values(places)
    height = np.maximum(surface.values(middle), np.maximum(energies[first], energies[second]))
    weights = height - height.min() + 1.0
    tree = minimum_spanning_tree(csr_matrix((weights, (first, second)), (len(places),) * 2))
    route: list[int] = [0]
    for begin, end in zip(range(len(points) - 1), range(1, len(points)), strict=True):
        before = breadth_first_order(tree, begin, directed=False)[1]
        way = [end]
        while way[-1] != begin and before[way[-1]] >= 0:
            way.append(int(before[way[-1]]))
        route += way[-2::-1]
    return np.asarray(places[route])
