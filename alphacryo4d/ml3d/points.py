"""Points of the space of the components: where a search starts, and the order of a hierarchy."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array


def spread_points(coordinates: Array, count: int, rng: np.random.Generator) -> Array:
    """Particles' coordinates far from each other (the k-means++ rule), (count, q)."""
    points = [coordinates[rng.integers(len(coordinates))]]
    square = np.sum((coordinates - points[0]) ** 2, axis=1, dtype=np.float64)
    for _ in range(count - 1):
        total = square.sum()
        chances = square / total if total > 0 else None
        chosen = rng.choice(len(coordinates), p=chances)
        points.append(coordinates[chosen])
        new = np.sum((coordinates - points[-1]) ** 2, axis=1, dtype=np.float64)
        square = np.minimum(square, new)
    return np.array(points, dtype=np.float64)


def grouped_points(points: Array, levels: tuple[int, ...]) -> Array:
    """Points in the order of a hierarchy: children of one parent are neighbours.

    Every level cuts its points into equal parts along the direction in which they differ most.

    Parameters
    ----------
    points : (K, q) array
    levels : tuple of int
        Numbers of parts, level by level; their product is K.
    """
    if len(levels) < 2 or len(points) < 2:
        return points
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axis = axes[0] * np.sign(axes[0][np.abs(axes[0]).argmax()])
    ranked = points[np.argsort(centred @ axis, kind="stable")]
    parts = ranked.reshape(levels[0], -1, points.shape[1])
    return np.concatenate([grouped_points(part, levels[1:]) for part in parts])
