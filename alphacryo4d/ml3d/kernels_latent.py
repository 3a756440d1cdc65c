"""Compiled loops of the mixture in the space of the principal components."""

from __future__ import annotations

import numba
import numpy as np

FAST = {"contract", "reassoc", "nsz", "arcp"}


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def mixture_sums(begin, end, features, points, inverse_temperature, posteriors, sums, value):  # type: ignore[no-untyped-def]
    """Posteriors of latent points, and the sums of the features weighted by them.

    Parameters
    ----------
    features : (n, f) float32
        Sufficient statistics of particles ``begin:end``.
    points : (f, K) float32
        Log-likelihood of a particle given a point = features . points.
    posteriors : (n, K) or (0, K) float32
        Filled unless empty.
    sums : (f, K) float32
        Filled.
    value : (1,) float64
        Gets the log-likelihood.
    """
    count, columns = points.shape
    score = np.empty(columns, np.float32)
    total = 0.0
    for i in range(begin, end):
        score[:] = 0
        for j in range(count):
            x = features[i, j]
            for k in range(columns):
                score[k] += x * points[j, k]
        top = score[0]
        for k in range(columns):
            top = max(top, score[k])
        norm = np.float32(0)
        for k in range(columns):
            score[k] = np.exp((score[k] - top) * inverse_temperature)
            norm += score[k]
        total += top * inverse_temperature + np.log(norm)
        for k in range(columns):
            score[k] /= norm
        if posteriors.shape[0]:
            posteriors[i] = score
        for j in range(count):
            x = features[i, j]
            for k in range(columns):
                sums[j, k] += x * score[k]
    value[0] = total


@numba.njit(inline="always")
def _covariance(information, precision, matrix, inverse):  # type: ignore[no-untyped-def]
    """Inverse of the sum of two positive matrices (Gauss-Jordan); gives the log-determinant."""
    q = len(precision)
    log = 0.0
    for i in range(q):
        for j in range(q):
            matrix[i, j] = precision[i, j] + information[i, j]
            inverse[i, j] = 0.0
        inverse[i, i] = 1.0
    for i in range(q):
        log += np.log(matrix[i, i])
        scale = 1.0 / matrix[i, i]
        for k in range(q):
            matrix[i, k] *= scale
            inverse[i, k] *= scale
        for j in range(q):
            if j != i:
                factor = matrix[j, i]
                for k in range(q):
                    matrix[j, k] -= factor * matrix[i, k]
                    inverse[j, k] -= factor * inverse[i, k]
    return log


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def marginal_features(begin, end, information, projected, precision, features, value):  # type: ignore[no-untyped-def]
    """Statistics of particles whose coordinates scatter about their point.

    With coordinates ``z = point + N(0, inverse(precision))`` the log-likelihood of a point m is
    ``b . m - m . G . m / 2`` with ``G = I - I S I``, ``b = p - I S p``, ``S = inverse(precision
    + I)``. Fills ``features`` (b, then the upper triangle of -G, halved on the diagonal), and
    adds what does not depend on the point to ``value``.
    """
    q = len(precision)
    matrix = np.empty((q, q))
    inverse = np.empty((q, q))
    product = np.empty((q, q))
    total = 0.0
    for i in range(begin, end):
        log = _covariance(information[i], precision, matrix, inverse)
        shrink = 0.0
        for a in range(q):
            mean = 0.0
            for b in range(q):
                mean += inverse[a, b] * projected[i, b]
                entry = 0.0
                for c in range(q):
                    entry += information[i, a, c] * inverse[c, b]
                product[a, b] = entry
            shrink += mean * projected[i, a]
        total += 0.5 * shrink - 0.5 * log
        n = q
        for a in range(q):
            left = projected[i, a]
            for b in range(q):
                left -= product[a, b] * projected[i, b]
            features[i, a] = left
            for b in range(a, q):
                entry = information[i, a, b]
                for c in range(q):
                    entry -= product[a, c] * information[i, c, b]
                features[i, n] = -0.5 * entry if a == b else -entry
                n += 1
    value[0] = total


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def scatter_sums(begin, end, information, projected, precision, first, second, sums):  # type: ignore[no-untyped-def]
    """Add the expected scatter of coordinates about their points to ``sums`` (q, q).

    ``first`` (n, q) and ``second`` (n, q, q) are the moments of the points under the posteriors
    of each particle; other arguments as in :func:`marginal_features`.
    """
    q = len(precision)
    matrix = np.empty((q, q))
    inverse = np.empty((q, q))
    gain = np.empty((q, q))
    mean = np.empty(q)
    moved = np.empty(q)
    for i in range(begin, end):
        _covariance(information[i], precision, matrix, inverse)
        for a in range(q):
            mean[a] = 0.0
            for b in range(q):
                mean[a] += inverse[a, b] * projected[i, b]
                entry = 0.0
                for c in range(q):
                    entry += inverse[a, c] * information[i, c, b]
                gain[a, b] = entry
        for a in range(q):
            moved[a] = 0.0
            for b in range(q):
                moved[a] += gain[a, b] * first[i, b]
                entry = 0.0
                for c in range(q):
                    entry += gain[a, c] * second[i, c, b]
                matrix[a, b] = entry
        for a in range(q):
            for b in range(q):
                entry = inverse[a, b] + mean[a] * mean[b] - mean[a] * moved[b] - moved[a] * mean[b]
                for c in range(q):
                    entry += matrix[a, c] * gain[b, c]
                sums[a, b] += entry
