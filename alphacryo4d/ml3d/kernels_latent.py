"""Compiled loops of the mixture in the space of the principal components."""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.kernels_vector import LANES, add8, add8_four

FAST = {"contract", "reassoc", "nsz", "arcp"}


@numba.njit(inline="always", fastmath=FAST)
def exp_below_zero(values, bits, powers):  # type: ignore[no-untyped-def]
    """Replace float32 numbers by their exponentials (relative error 3e-7), given none above 0.

    A power of two is put together from the bits of its exponent and a polynomial for the
    fraction, so that the loop runs in vectors. ``bits`` int32 and ``powers``, the same memory seen
    as float32, are of the length of ``values``.
    """
    for k in range(len(values)):
        power = max(values[k] * np.float32(1.442695), np.float32(-126)) + np.float32(127)
        whole = np.int32(power)
        f = power - np.float32(whole)
        bits[k] = whole << 23
        p = np.float32(0.0018775767)
        p = p * f + np.float32(0.00898934)
        p = p * f + np.float32(0.055826318)
        p = p * f + np.float32(0.24015361)
        p = p * f + np.float32(0.69315308)
        values[k] = p * f + np.float32(0.99999994)
    for k in range(len(values)):
        values[k] *= powers[k]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def mixture_sums(  # type: ignore[no-untyped-def]
    begin, end, features, points, classes, inverse_temperature, posteriors, sums, value,
):  # fmt: skip
    """Posteriors of latent points, and the sums of the features weighted by them.

    Parameters
    ----------
    features : (n, f) float32
        Sufficient statistics of particles ``begin:end``.
    points : (f * columns,) float32
        Log-likelihood of a particle given a point = features . points; the number of columns is
        the number of classes rounded up to whole vectors.
    classes : int
        Number of points K.
    posteriors : (n, K) or (0, K) float32
        Filled unless empty.
    sums : (f * columns,) float32
        Added to.
    value : (1,) float64
        Gets the log-likelihood.
    """
    count = features.shape[1]
    columns = len(points) // count
    score = np.empty(columns, np.float32)
    bits = np.empty(columns, np.int32)
    powers = bits.view(np.float32)
    total = 0.0
    for i in range(begin, end):
        score[:] = 0
        row = features[i]
        for j in range(0, count - count % 4, 4):
            for k in range(0, columns, LANES):
                add8_four(score, k, row, j, points, j * columns + k, columns)
        for j in range(count - count % 4, count):
            for k in range(0, columns, LANES):
                add8(score, k, row[j], points, j * columns + k)
        top = score[0]
        for k in range(classes):
            top = max(top, score[k])
        for k in range(columns):
            score[k] = (score[k] - top) * inverse_temperature if k < classes else -200.0
        exp_below_zero(score, bits, powers)
        norm = np.float32(0)
        for k in range(classes):
            norm += score[k]
        total += top * inverse_temperature + np.log(norm)
        scale = np.float32(1) / norm
        for k in range(columns):
            score[k] *= scale
        if posteriors.shape[0]:
            for k in range(classes):
                posteriors[i, k] = score[k]
        for j in range(count):
            for k in range(0, columns, LANES):
                add8(sums, j * columns + k, features[i, j], score, k)
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
def scatter_sums(begin, end, information, projected, precision, points, sums):  # type: ignore[no-untyped-def]
    """Add the expected scatter of coordinates about their points to ``sums`` (q, q).

    ``points`` (n, q) holds the point of each particle; other arguments as in
    :func:`marginal_features`.
    """
    q = len(precision)
    matrix = np.empty((q, q))
    inverse = np.empty((q, q))
    left = np.empty(q)
    moved = np.empty(q)
    for i in range(begin, end):
        _covariance(information[i], precision, matrix, inverse)
        for a in range(q):
            left[a] = projected[i, a]
            for b in range(q):
                left[a] -= information[i, a, b] * points[i, b]
        for a in range(q):
            moved[a] = 0.0
            for b in range(q):
                moved[a] += inverse[a, b] * left[b]
        for a in range(q):
            for b in range(q):
                sums[a, b] += inverse[a, b] + moved[a] * moved[b]
