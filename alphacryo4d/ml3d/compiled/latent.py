"""Compiled loops of the mixture in the space of the principal components."""

from __future__ import annotations

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.products import (
    PARTICLES,
    add_product,
    multiply_8,
    multiply_16,
    multiply_24,
    set_product,
    subtract_product,
)

FAST = {"contract", "reassoc", "nsz", "arcp"}
BLOCK = 16
"""Particles whose posteriors are found together; a multiple of 4."""


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


@numba.njit(inline="always")
def _multiply(left, at, stride, step, right, pitch, count, out, place, width):  # type: ignore[no-untyped-def]
    """Add four rows of a matrix product to all ``width`` columns of ``out``."""
    done = 0
    while width - done >= 24:
        multiply_24(left, at, stride, step, right, done, pitch, count, out, place + done, width)
        done += 24
    if width - done == 16:
        multiply_16(left, at, stride, step, right, done, pitch, count, out, place + done, width)
    elif width - done == 8:
        multiply_8(left, at, stride, step, right, done, pitch, count, out, place + done, width)


@numba.njit(inline="always", fastmath=FAST)
def _soften(score, count, classes, columns, inverse_temperature, bits):  # type: ignore[no-untyped-def]
    """Scores of some particles (rows of ``columns``) to posteriors; gives their log-likelihood."""
    total = 0.0
    for p in range(count):
        row = score[p * columns : (p + 1) * columns]
        top = row[0]
        for k in range(classes):
            top = max(top, row[k])
        for k in range(classes):
            row[k] = (row[k] - top) * inverse_temperature
        row[classes:] = -200.0
        total += top * inverse_temperature
    exp_below_zero(score[: count * columns], bits[: count * columns], bits.view(np.float32))
    for p in range(count):
        row = score[p * columns : (p + 1) * columns]
        norm = np.float32(0)
        for k in range(classes):
            norm += row[k]
        total += np.log(norm)
        scale = np.float32(1) / norm
        for k in range(columns):
            row[k] *= scale
    score[count * columns :] = 0
    return total


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def mixture_sums(  # type: ignore[no-untyped-def]
    begin, end, features, points, classes, inverse_temperature, posteriors, sums, value,
):  # fmt: skip
    """Posteriors of latent points, and the sums of the features weighted by them.

    Parameters
    ----------
    features : (n, f) float32
        Sufficient statistics of particles ``begin:end``; f is a multiple of 4.
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
    f = features.shape[1]
    columns = len(points) // f
    score = np.empty(BLOCK * columns, np.float32)
    bits = np.empty(BLOCK * columns, np.int32)
    rest = np.zeros(BLOCK * f, np.float32)
    flat = features.ravel()
    total = 0.0
    for first in range(begin, end, BLOCK):
        count = min(BLOCK, end - first)
        block = flat[first * f : (first + count) * f]
        if count < BLOCK:
            rest[: count * f] = block
            block = rest
        score[:] = 0
        for p in range(0, BLOCK, 4):
            _multiply(block, p * f, f, 1, points, columns, f, score, p * columns, columns)
        total += _soften(score, count, classes, columns, inverse_temperature, bits)
        if posteriors.shape[0]:
            for p in range(count):
                posteriors[first + p] = score[p * columns : p * columns + classes]
        for j in range(0, f, 4):
            _multiply(block, j, 1, f, score, columns, BLOCK, sums, j * columns, columns)
    value[0] = total


@numba.njit(inline="always")
def _load(first, end, information, projected, precision, matrix, known, score):  # type: ignore[no-untyped-def]
    """Statistics of particles side by side, from ``first`` on; the last one stands in at the end.

    Fills ``known`` with their information, ``matrix`` with this and the precision added, and
    ``score`` with what was projected; gives the number of particles.
    """
    q = len(precision)
    count = min(PARTICLES, end - first)
    for p in range(PARTICLES):
        i = first + min(p, count - 1)
        for a in range(q):
            score[a * PARTICLES + p] = projected[i, a]
            for b in range(q):
                at = (a * q + b) * PARTICLES + p
                known[at] = information[i, a, b]
                matrix[at] = known[at] + precision[a, b]
    return count


@numba.njit(inline="always", fastmath=FAST)
def _invert(matrix, q, pivot, factor, logs):  # type: ignore[no-untyped-def]
    """Inverses of positive matrices side by side, in place, and their log-determinants."""
    logs[:] = 0.0
    for i in range(q):
        at = (i * q + i) * PARTICLES
        for p in range(PARTICLES):
            logs[p] += np.log(matrix[at + p])
            pivot[p] = 1.0 / matrix[at + p]
            matrix[at + p] = 1.0
        for k in range(q):
            set_product(matrix, i * q + k, matrix, i * q + k, pivot, 0)
        for j in range(q):
            if j == i:
                continue
            at = (j * q + i) * PARTICLES
            for p in range(PARTICLES):
                factor[p] = matrix[at + p]
                matrix[at + p] = 0.0
            for k in range(q):
                subtract_product(matrix, j * q + k, factor, 0, matrix, i * q + k)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def marginal_features(begin, end, information, projected, precision, features, value):  # type: ignore[no-untyped-def]
    """Statistics of particles whose coordinates scatter about their point.

    With coordinates ``z = point + N(0, inverse(precision))`` the log-likelihood of a point m is
    ``b . m - m . G . m / 2`` with ``G = I - I S I``, ``b = p - I S p``, ``S = inverse(precision
    + I)``. Fills ``features`` (b, then the upper triangle of -G, halved on the diagonal), and
    adds what does not depend on the point to ``value``.
    """
    q = len(precision)
    matrix, known = np.empty(q * q * PARTICLES), np.empty(q * q * PARTICLES)
    product = np.empty(q * q * PARTICLES)
    score, left = np.empty(q * PARTICLES), np.empty(q * PARTICLES)
    moved = np.empty(q * PARTICLES)
    pivot, factor, logs = np.empty(PARTICLES), np.empty(PARTICLES), np.empty(PARTICLES)
    total = 0.0
    for first in range(begin, end, PARTICLES):
        count = _load(first, end, information, projected, precision, matrix, known, score)
        _invert(matrix, q, pivot, factor, logs)
        product[:] = 0.0
        moved[:] = 0.0
        left[:] = score
        # inner loops go to one entry after the other: none waits for what was just stored
        for a in range(q):
            for c in range(q):
                add_product(moved, c, matrix, a * q + c, score, a)
                for b in range(q):
                    add_product(product, a * q + b, known, a * q + c, matrix, c * q + b)
        for b in range(q):
            for a in range(q):
                subtract_product(left, a, product, a * q + b, score, b)
        for p in range(count):
            for a in range(q):
                total += 0.5 * moved[a * PARTICLES + p] * score[a * PARTICLES + p]
                features[first + p, a] = left[a * PARTICLES + p]
            total -= 0.5 * logs[p]
        matrix[:] = known
        n = q
        for a in range(q):
            for c in range(q):
                for b in range(a, q):
                    subtract_product(matrix, a * q + b, product, a * q + c, known, c * q + b)
            for b in range(a, q):
                scale = -0.5 if a == b else -1.0
                for p in range(count):
                    features[first + p, n] = scale * matrix[(a * q + b) * PARTICLES + p]
                n += 1
    value[0] = total


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def scatter_sums(begin, end, information, projected, precision, points, sums):  # type: ignore[no-untyped-def]
    """Add the expected scatter of coordinates about their points to ``sums`` (q, q).

    ``points`` (n, q) holds the point of each particle; other arguments as in
    :func:`marginal_features`.
    """
    q = len(precision)
    matrix, known = np.empty(q * q * PARTICLES), np.empty(q * q * PARTICLES)
    total = np.zeros(q * q * PARTICLES)
    score, near = np.empty(q * PARTICLES), np.empty(q * PARTICLES)
    moved = np.empty(q * PARTICLES)
    pivot, factor, logs = np.empty(PARTICLES), np.empty(PARTICLES), np.empty(PARTICLES)
    one = np.empty(PARTICLES)
    for first in range(begin, end, PARTICLES):
        count = _load(first, end, information, projected, precision, matrix, known, score)
        _invert(matrix, q, pivot, factor, logs)
        for p in range(PARTICLES):
            one[p] = 1.0 if p < count else 0.0
            for a in range(q):
                near[a * PARTICLES + p] = points[first + min(p, count - 1), a]
        for b in range(q):
            for a in range(q):
                subtract_product(score, a, known, a * q + b, near, b)
        moved[:] = 0.0
        for b in range(q):
            for a in range(q):
                add_product(moved, a, matrix, a * q + b, score, b)
        for a in range(q):
            for b in range(q):
                add_product(matrix, a * q + b, moved, a, moved, b)
                add_product(total, a * q + b, matrix, a * q + b, one, 0)
    for a in range(q):
        for b in range(q):
            at = (a * q + b) * PARTICLES
            for p in range(PARTICLES):
                sums[a, b] += total[at + p]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def posterior_moments(begin, end, information, projected, means, second):  # type: ignore[no-untyped-def]
    """Moments of (1, z) for coordinates z with a standard normal prior.

    The log-likelihood is ``projected . z - z . information . z / 2``. Fills ``means`` (n, q + 1)
    and ``second`` (n, q + 1, q + 1) float32.
    """
    q = projected.shape[1]
    precision = np.eye(q)
    matrix, known = np.empty(q * q * PARTICLES), np.empty(q * q * PARTICLES)
    score, moved = np.empty(q * PARTICLES), np.empty(q * PARTICLES)
    pivot, factor, logs = np.empty(PARTICLES), np.empty(PARTICLES), np.empty(PARTICLES)
    for first in range(begin, end, PARTICLES):
        count = _load(first, end, information, projected, precision, matrix, known, score)
        _invert(matrix, q, pivot, factor, logs)
        moved[:] = 0.0
        for b in range(q):
            for a in range(q):
                add_product(moved, a, matrix, a * q + b, score, b)
        for a in range(q):
            for b in range(q):
                add_product(matrix, a * q + b, moved, a, moved, b)
        for p in range(count):
            mean, square = means[first + p], second[first + p]
            mean[0] = square[0, 0] = 1.0
            for a in range(q):
                mean[a + 1] = square[0, a + 1] = square[a + 1, 0] = moved[a * PARTICLES + p]
                for b in range(q):
                    square[a + 1, b + 1] = matrix[(a * q + b) * PARTICLES + p]
