"""Mixture of points in the space of the principal components: seeds of the classes.

A class is a point of the latent space, that is a volume of the subspace. The likelihood of a
particle given a point is a small quadratic form, so that many starts and iterations cost little.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class LatentMixture:
    """Log-likelihood of particles given latent points, and its maximisation.

    Parameters
    ----------
    information : (n, q, q) array
    projected : (n, q) array
        The log-likelihood of point z is ``projected . z - z . information . z / 2``.
    """

    def __init__(self, information: Array, projected: Array) -> None:
        count = projected.shape[1]
        self.row, self.column = np.triu_indices(count)
        double = np.where(self.row == self.column, 0.5, 1.0)
        packed = information[:, self.row, self.column]
        self.features = np.concatenate([projected, -packed * double], axis=1, dtype=np.float32)
        self.count = count
        self.double = double

    def scores(self, points: Array) -> Array:
        """Log-likelihoods, (n, K) float32."""
        square = points[:, self.row] * points[:, self.column]
        return self.features @ np.concatenate([points, square], axis=1).T.astype(np.float32)

    def posteriors(self, points: Array, temperature: float = 1.0) -> tuple[Array, float]:
        """Posteriors of the points (equal weights) and the mean log-likelihood."""
        scores = self.scores(points) / np.float32(temperature)
        top = scores.max(axis=1, keepdims=True)
        scores = np.exp(scores - top)
        total = scores.sum(axis=1, keepdims=True)
        value = float(np.mean(top[:, 0] + np.log(total[:, 0]), dtype=np.float64))
        return scores / total, value - np.log(len(points))

    def points(self, posteriors: Array) -> Array:
        """Points that maximise the posterior under a standard normal prior, (K, q)."""
        sums = posteriors.T.astype(np.float32) @ self.features
        matrices = np.zeros((len(sums), self.count, self.count))
        packed = -sums[:, self.count :] / self.double
        matrices[:, self.row, self.column] = packed
        matrices[:, self.column, self.row] = packed
        matrices += np.eye(self.count)
        return np.linalg.solve(matrices, sums[:, : self.count, None].astype(np.float64))[..., 0]


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
    starts: int = 6,
    steps: int = 10,
    final_steps: int = 60,
) -> tuple[Array, Array]:
    """Points of the mixture with the best likelihood of several starts.

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

    Returns
    -------
    points : (count, q) float64
    posteriors : (n, count) float32
    """
    best, best_value = None, -np.inf
    for _ in range(starts):
        points = spread_points(coordinates, count, rng)
        for step in range(steps):
            posteriors, value = mixture.posteriors(points, 2.0 if step < steps // 2 else 1.0)
            points = mixture.points(posteriors)
        if value > best_value:
            best, best_value = points, value
    assert best is not None
    for _ in range(final_steps):
        best = mixture.points(mixture.posteriors(best)[0])
    return best, mixture.posteriors(best)[0]
