"""Discrete states: the basins of a surface, and minima along a path."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array


def neighbour_lists(embedding: Array) -> list[Array]:
    """Volumes that share an edge of the Delaunay triangulation with each volume."""
    from scipy.spatial import Delaunay

    start, neighbours = Delaunay(np.asarray(embedding, np.float64)).vertex_neighbor_vertices
    return [neighbours[start[i] : start[i + 1]] for i in range(len(embedding))]


def basins(
    embedding: Array, energies: Array, *, states: int | None, depth: float = 1.0
) -> tuple[Array, Array]:
    """Basins of the surface through the volumes, the shallow ones merged into deeper ones.

    The surface is flooded from below. Where two basins meet, the depth of the shallower is the
    height of the pass above its minimum (its persistence).

    Parameters
    ----------
    embedding : (V, 2) array
        Volumes.
    energies : (V,) array
        Energy of each volume in kT.
    states : int, optional
        Keep this many basins, the deepest; None keeps those at least ``depth`` deep.
    depth : float
        Smallest depth of a basin in kT, where the number is not given.

    Returns
    -------
    labels : (V,) int array
        Basin of each volume, from 0.
    minima : (K,) int array
        Volume at the bottom of each basin.
    """
    near = neighbour_lists(embedding)
    order = np.argsort(energies, kind="stable")
    parent = np.full(len(energies), -1)
    passes: list[tuple[float, int, int]] = []

    def root(volume: int) -> int:
        while parent[volume] != volume:
            parent[volume] = parent[parent[volume]]
            volume = parent[volume]
        return volume

    for volume in order:
        roots = {root(other) for other in near[volume] if parent[other] >= 0}
        if not roots:
            parent[volume] = volume
            continue
        lowest = min(roots, key=lambda r: (energies[r], r))
        parent[volume] = lowest
        for other in roots - {lowest}:
            passes.append((float(energies[volume] - energies[other]), other, lowest))
            parent[other] = lowest
    kept = _deepest(passes, int(order[0]), states, depth)
    return _flood(near, energies, kept), np.array(kept)


def _deepest(
    passes: list[tuple[float, int, int]], bottom: int, states: int | None, depth: float
) -> list[int]:
    ranked = sorted(passes, key=lambda entry: (-entry[0], entry[1]))
    if states is not None:
        ranked = ranked[: states - 1]
    else:
        ranked = [entry for entry in ranked if entry[0] >= depth]
    return [bottom, *(entry[1] for entry in ranked)]


def _flood(near: list[Array], energies: Array, kept: list[int]) -> Array:
    """Each volume to the kept basin that reaches it first as the level rises."""
    import heapq

    labels = np.full(len(energies), -1)
    queue = [(float(energies[volume]), volume, state) for state, volume in enumerate(kept)]
    heapq.heapify(queue)
    while queue:
        level, volume, state = heapq.heappop(queue)
        if labels[volume] >= 0:
            continue
        labels[volume] = state
        for other in near[volume]:
            if labels[other] < 0:
                heapq.heappush(queue, (max(level, float(energies[other])), int(other), state))
    labels[labels < 0] = 0
    return labels


def minima_along(energies: Array, states: int) -> Array:
    """Images of a path at energy minima, about equally spaced (section 4.13).

    Each of the K equally spaced places is moved to the lowest image within 0.4 of the spacing.
    """
    count = len(energies)
    if states == 1:
        return np.array([int(energies.argmin())])
    spacing = (count - 1) / (states - 1)
    rows = []
    for place in np.linspace(0, count - 1, states):
        low = max(0, int(np.ceil(place - 0.4 * spacing)))
        high = min(count, int(np.floor(place + 0.4 * spacing)) + 1)
        rows.append(low + int(energies[low:high].argmin()) if high > low else int(place))
    return np.array(rows)


def all_minima_along(energies: Array, *, depth: float = 0.1) -> Array:
    """Images of a path at every minimum that is at least ``depth`` kT deep on both sides.

    Ends count as minima where the path rises from them.
    """
    from scipy.signal import find_peaks

    wall = energies.max() + 1.0
    padded = np.concatenate([[wall], energies, [wall]])
    rows: Array = find_peaks(-padded)[0] - 1
    kept = _deep_enough(energies, rows, depth)
    return kept if len(kept) else np.array([int(energies.argmin())])


def _deep_enough(energies: Array, rows: Array, depth: float) -> Array:
    """Minima left after the shallowest pass between neighbours is removed until all are deep."""
    kept = rows.tolist()
    while len(kept) > 1:
        tops = [energies[a : b + 1].max() for a, b in zip(kept[:-1], kept[1:], strict=True)]
        depths = [
            top - max(energies[a], energies[b])
            for top, a, b in zip(tops, kept[:-1], kept[1:], strict=True)
        ]
        shallow = int(np.argmin(depths))
        if depths[shallow] >= depth:
            break
        higher = kept[shallow] if energies[kept[shallow]] > energies[kept[shallow + 1]] else None
        kept.remove(kept[shallow + 1] if higher is None else higher)
    return np.array(kept, int)
