"""Which state of the density a particle belongs to: the basin with most of its posterior."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array

_BLOCK = 2048
_MOST = 3000
"""Points that stand for the density."""


def likeliest_basins(
    projected: Array, information: Array, points: Array, shares: Array, labels: Array, count: int
) -> Array:
    """Basin with the largest part of every particle's posterior, the density as prior.

    Parameters
    ----------
    projected, information : (n, d), (n, d, d) arrays
        The log-likelihood of coordinates is ``projected . z - z . information . z / 2``.
    points : (N, d) array
        Points that stand for the density.
    shares : (N,) array
        Share of the particles that each stands for.
    labels : (N,) int array
        Basin of each, from 0.
    count : int
        Basins K.

    Returns
    -------
    (n,) int32 array
        From 0.
    """
    step = -(-len(points) // _MOST)
    points, shares, labels = points[::step], shares[::step], labels[::step]
    d = points.shape[1]
    squares = (points[:, :, None] * points[:, None]).reshape(len(points), d * d)
    terms = np.concatenate([points, -0.5 * squares], axis=1).T
    members = np.zeros((len(points), count))
    members[np.arange(len(points)), labels] = shares
    basins = np.empty(len(projected), np.int32)
    for begin in range(0, len(projected), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        rows = information[part].reshape(-1, d * d)
        logs = np.concatenate([projected[part], rows], axis=1) @ terms
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        basins[part] = (weights @ members).argmax(axis=1)
    return basins
