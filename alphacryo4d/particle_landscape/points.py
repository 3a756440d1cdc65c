"""Mixtures of points: conformations without any spread, by EM of places and proportions."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array


def likelihood_features(projected: Array, information: Array) -> Array:
    """What the log-likelihood of a point is linear in, (n, d + d * d) float64.

    Parameters
    ----------
    projected, information : (n, d), (n, d, d) arrays
        The log-likelihood of coordinates is ``projected . z - z . information . z / 2``.
    """
    n, d = projected.shape
    return np.concatenate([projected, information.reshape(n, d * d)], axis=1, dtype=np.float64)


def point_terms(points: Array) -> Array:
    """What these features are multiplied with for points (K, d), (d + d * d, K)."""
    squares = points[:, :, None] * points[:, None]
    return np.concatenate([points, -0.5 * squares.reshape(len(points), -1)], axis=1).T


def improved_points(
    features: Array, points: Array, shares: Array, *, steps: int
) -> tuple[Array, Array]:
    """Points (K, d) and their proportions (K,) after some steps of EM.

    Parameters
    ----------
    features : (n, d + d * d) array
        Of :func:`likelihood_features`.
    points, shares : (K, d), (K,) arrays
        To start from.
    steps : int
    """
    d = points.shape[1]
    for _ in range(steps):
        every = features @ point_terms(points) + np.log(np.maximum(shares, 1e-300))
        soft = np.exp(every - every.max(axis=1, keepdims=True))
        soft /= soft.sum(axis=1, keepdims=True)
        sums = soft.T @ features
        information = sums[:, d:].reshape(-1, d, d)
        information += 1e-9 * (np.trace(information.mean(axis=0)) + 1e-12) * np.eye(d)
        points = np.linalg.solve(information, sums[:, :d, None])[..., 0]
        shares = soft.mean(axis=0)
    return points, shares
