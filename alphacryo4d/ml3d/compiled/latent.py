"""Compiled loop of the space of the principal components: inverses of many small matrices."""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import FAST, kernel

SIDE = 16
"""Particles side by side: the innermost loops go over them, so that they run in vectors."""


@kernel
def posterior_covariances(begin, end, information, precision, covariances, logs):  # type: ignore[no-untyped-def]
    """Inverses of (information + precision) of particles, by Gauss-Jordan elimination.

    The matrices are positive, so that no pivot is sought.

    Parameters
    ----------
    begin, end : int
        Particles.
    information : (n, q, q) float32
    precision : (q, q) float64
    covariances : (end - begin, q, q) float64
        Filled.
    logs : (end - begin,) float64
        Filled with the log-determinants of (information + precision).
    """
    q = len(precision)
    matrix = np.empty((q, q, SIDE))
    factor = np.empty(SIDE)
    for first in range(begin, end, SIDE):
        count = min(SIDE, end - first)
        for p in range(SIDE):
            i = first + min(p, count - 1)
            for a in range(q):
                for b in range(q):
                    matrix[a, b, p] = information[i, a, b] + precision[a, b]
        for p in range(count):
            logs[first - begin + p] = 0.0
        for i in range(q):
            for p in range(count):
                logs[first - begin + p] += math.log(matrix[i, i, p])
            for p in range(SIDE):
                factor[p] = 1.0 / matrix[i, i, p]
                matrix[i, i, p] = 1.0
            for k in range(q):
                _scale(matrix[i, k], factor)
            for j in range(q):
                if j == i:
                    continue
                for p in range(SIDE):
                    factor[p] = matrix[j, i, p]
                    matrix[j, i, p] = 0.0
                for k in range(q):
                    _subtract_product(matrix[j, k], factor, matrix[i, k])
        for p in range(count):
            for a in range(q):
                for b in range(q):
                    covariances[first - begin + p, a, b] = matrix[a, b, p]


@numba.njit(inline="always", fastmath=FAST)
def _scale(values, factor):  # type: ignore[no-untyped-def]
    for p in range(SIDE):
        values[p] *= factor[p]


@numba.njit(inline="always", fastmath=FAST)
def _subtract_product(values, factor, others):  # type: ignore[no-untyped-def]
    for p in range(SIDE):
        values[p] -= factor[p] * others[p]
