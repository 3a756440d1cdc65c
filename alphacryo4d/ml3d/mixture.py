"""Mixture of points in the space of the principal components: seeds of the classes.

A class is a point of the latent space, that is a volume of the subspace. The likelihood of a
particle given a point is a small quadratic form, so that many starts and iterations cost little.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.ml3d.kernels_linear import in_ranges, mixture_sums

Array = np.ndarray[Any, Any]
_PARTS = 8


class LatentMixture:
    """Equally likely points that explain the coordinates of particles, fitted by EM.

    Parameters
    ----------
    information : (n, q, q) array
    projected : (n, q) array
        The log-likelihood of point z is ``projected . z - z . information . z / 2``.
    workers : int
        Threads.
    """

    def __init__(self, information: Array, projected: Array, workers: int = 1) -> None:
        self.count = projected.shape[1]
        self.workers = workers
        self.row, self.column = np.triu_indices(self.count)
        self.half = np.where(self.row == self.column, 0.5, 1.0)
        packed = -information[:, self.row, self.column] * self.half
        self.features = np.concatenate([projected, packed], axis=1).astype(np.float32)

    def step(self, points: Array, temperature: float = 1.0) -> tuple[Array, float]:
        """One EM iteration: new points (K, q) and the mean log-likelihood of the old ones."""
        sums, value = self._sums(points, temperature, np.empty((0, len(points)), np.float32))
        matrices = np.zeros((len(points), self.count, self.count))
        packed = -sums[:, self.count :] / self.half
        matrices[:, self.row, self.column] = packed
        matrices[:, self.column, self.row] = packed
        matrices += np.eye(self.count)
        return np.linalg.solve(matrices, sums[:, : self.count, None])[..., 0], value

    def posteriors(self, points: Array) -> Array:
        """Posteriors of the points, (n, K) float32."""
        soft = np.empty((len(self.features), len(points)), np.float32)
        self._sums(points, 1.0, soft)
        return soft

    def _sums(self, points: Array, temperature: float, soft: Array) -> tuple[Array, float]:
        square = points[:, self.row] * points[:, self.column]
        lines = np.concatenate([points, square], axis=1).T
        lines = np.ascontiguousarray(lines, dtype=np.float32)
        n = len(self.features)
        sums = np.zeros((_PARTS, *lines.shape), np.float32)
        values = np.zeros((_PARTS, 1))
        inverse = np.float32(1.0 / temperature)

        def work(begin: int, end: int) -> None:
            for p in range(begin, end):
                mixture_sums(
                    p * n // _PARTS, (p + 1) * n // _PARTS, self.features, lines, inverse, soft,
                    sums[p], values[p],
                )  # fmt: skip

        in_ranges(work, _PARTS, _PARTS, self.workers)
        total = sums.sum(axis=0, dtype=np.float64).T
        return total, float(values.sum()) / n - float(np.log(len(points)))


def spread_points(coordinates: Array, count: int, rng: np.random.Generator) -> Array:
    """Particles' coordinates far from each other (the k-means++ rule), (count, q)."""
    points = [coordinates[rng.integers(len(coordinates))]]
    square = np.sum((coordinates - points[0]) ** 2, axis=1, dtype=np.float64)
    for _ in range(count - 1):
        chosen = rng.choice(len(coordinates), p=square / square.sum())
        points.append(coordinates[chosen])
        new = np.sum((coordinates - points[-1]) ** 2, axis=1, dtype=np.float64)
        square = np.minimum(square, new)
    return np.array(points, dtype=np.float64)


def fit_mixture(
    mixture: LatentMixture,
    coordinates: Array,
    count: int,
    rng: np.random.Generator,
    *,
    starts: int = 8,
    steps: int = 20,
    final_steps: int = 30,
    temperature: float = 8.0,
) -> Array:
    """Points of the mixture with the best likelihood of several annealed starts.

    Parameters
    ----------
    mixture : LatentMixture
    coordinates : (n, q) array
        Posterior means of the particles, from which starts are drawn.
    count : int
        Points.
    rng : Generator
    starts, steps, final_steps : int
        Starts of ``steps`` iterations each; the best gets ``final_steps`` more.
    temperature : float
        At which a start begins; it cools to 1.

    Returns
    -------
    (count, q) float64 array
    """
    cooling = np.geomspace(temperature, 1.0, max(1, steps - steps // 4))
    schedule = np.concatenate([cooling, np.ones(steps - len(cooling))])
    best, best_value = np.empty(0), -np.inf
    for _ in range(starts):
        points = spread_points(coordinates, count, rng)
        value = -np.inf
        for hot in schedule:
            points, value = mixture.step(points, float(hot))
        if value > best_value:
            best, best_value = points, value
    for _ in range(final_steps):
        best, _ = mixture.step(best)
    return best
