"""Compiled loop of the space of the principal components: inverses of many small matrices."""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import FAST, kernel

SIDE = 48
"""Particles side by side: the innermost loops go over them, so that they run in vectors. With fewer
the outer loops cost as much as these, with more a triangle of matrices leaves the cache."""


@kernel
def posterior_covariances(begin, end, information, precision, covariances, logs):  # type: ignore[no-untyped-def]
    """Inverses of (information + precision) of particles, by symmetric sweeps (Beaton 1964).

    A sweep of one row after the other turns a matrix into its negative inverse; a triangle is
    enough for it. The matrices are positive, so that no pivot is sought.

    Parameters
    ----------
    begin, end : int
        Particles.
    information : (n, q, q) float32
        Symmetric; the lower triangles are read.
    precision : (q, q) float64
    covariances : (end - begin, q, q) float64
        Filled.
    logs : (end - begin,) float64
        Filled with the log-determinants of (information + precision).
    """
    q = len(precision)
    lower = np.empty((q, q, SIDE))
    pivots = np.empty((q, SIDE))
    factor = np.empty(SIDE)
    for first in range(begin, end, SIDE):
        count = min(SIDE, end - first)
        for p in range(SIDE):
            i = first + min(p, count - 1)
            for a in range(q):
                for b in range(a + 1):
                    lower[a, b, p] = information[i, a, b] + precision[a, b]
        for p in range(count):
            logs[first - begin + p] = 0.0
        for i in range(q):
            for p in range(count):
                logs[first - begin + p] += math.log(lower[i, i, p])
            for k in range(q):
                _copy(pivots[k], lower[max(i, k), min(i, k)])
            for j in range(q):
                if j == i:
                    continue
                for p in range(SIDE):
                    factor[p] = pivots[j, p] / pivots[i, p]
                for k in range(j + 1):
                    _subtract_product(lower[j, k], factor, pivots[k])
                _copy(lower[max(i, j), min(i, j)], factor)
            for p in range(SIDE):
                lower[i, i, p] = -1.0 / pivots[i, p]
        for p in range(count):
            for a in range(q):
                for b in range(a + 1):
                    value = -lower[a, b, p]
                    covariances[first - begin + p, a, b] = value
                    covariances[first - begin + p, b, a] = value


@numba.njit(inline="always", fastmath=FAST)
def _copy(values, others):  # type: ignore[no-untyped-def]
    for p in range(SIDE):
        values[p] = others[p]


@numba.njit(inline="always", fastmath=FAST)
def _subtract_product(values, factor, others):  # type: ignore[no-untyped-def]
    for p in range(SIDE):
        values[p] -= factor[p] * others[p]
