"""Steps of the scatter within classes: how far a covariance goes where particles hardly know it."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import root_of_covariance

FASTER = 1.8
"""How much further than EM: classes that are unknown as well slow EM down."""
FARTHEST = np.log(3.0)
"""Largest change of the logarithm of a variance in a Newton step."""
LEAST_VARIANCE = 0.01
"""Of coordinates whose variance is 1 over all particles."""


def next_scatter(before: Array, after: Array, left: Array | None = None) -> Array:
    """Scatter ``FASTER`` times as far (in its logarithm) from ``before`` as EM goes, ``after``.

    EM needs a hundred steps for a variance of which the particles leave the share c = 0.9
    unknown: n of them know its logarithm to the Fisher information n (1 - c)**2 / 2, and EM goes
    the way that n / 2 would ask for. With ``left`` Newton's way is gone in every direction in which
    both differ, at most to a third or three times the variance.

    Parameters
    ----------
    before, after : (q, q) array
        Covariance now, and after a step of EM.
    left : (q, q) array, optional
        Mean covariance of the coordinates of a particle that knows its point.

    Returns
    -------
    (q, q) array
    """
    root = root_of_covariance(before)

    def relative(matrix: Array) -> Array:
        return np.asarray(np.linalg.solve(root, np.linalg.solve(root, matrix).T))

    inner = relative(after)
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
    moves = FASTER * np.log(np.maximum(values, 1e-6))
    if left is not None:
        known = 1 - np.einsum("ai,ab,bi->i", vectors, relative(left), vectors)
        moves *= np.maximum(1.0, np.clip(known, 1e-3, 1) ** -2.0 / FASTER)
        moves = np.clip(moves, -FARTHEST, FARTHEST)
    half = root @ vectors * np.exp(0.5 * moves)
    moved: Array = half @ half.T
    if left is not None:
        variances, axes = np.linalg.eigh(moved)
        moved = axes * np.maximum(variances, LEAST_VARIANCE) @ axes.T
    return moved
