"""Compiled loop of the mixture whose particles have errors of their own; imported late."""

from __future__ import annotations

import math

import numba  # noqa: TID253 (this module is itself imported late)
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _factor(information, precision, out):  # type: ignore[no-untyped-def]
    """Cholesky factor of (information + precision) in ``out``; its log-determinant."""
    d = len(precision)
    logs = 0.0
    for a in range(d):
        for b in range(a + 1):
            value = float(information[a, b]) + precision[a, b]
            for c in range(b):
                value -= out[a, c] * out[b, c]
            if a == b:
                out[a, a] = math.sqrt(max(value, 1e-300))
                logs += 2.0 * math.log(out[a, a])
            else:
                out[a, b] = value / out[b, b]
    return logs


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _forward(factor, vector):  # type: ignore[no-untyped-def]
    """Solve ``factor x = vector`` in place; the square of x."""
    square = 0.0
    for a in range(len(vector)):
        value = vector[a]
        for c in range(a):
            value -= factor[a, c] * vector[c]
        vector[a] = value / factor[a, a]
        square += vector[a] * vector[a]
    return square


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _backward(factor, vector):  # type: ignore[no-untyped-def]
    """Solve ``factor^T x = vector`` in place."""
    d = len(vector)
    for a in range(d - 1, -1, -1):
        value = vector[a]
        for c in range(a + 1, d):
            value -= factor[c, a] * vector[c]
        vector[a] = value / factor[a, a]


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def plane_moments(  # type: ignore[no-untyped-def]
    begin, end, information, projected, precisions, slopes, constants, soft, moments, logs
):  # fmt: skip
    """:func:`mixture_moments` in one or two dimensions, in closed form: several times as fast."""
    count, d = slopes.shape
    score, scale = np.empty(count), np.empty(count)
    high, cross, low = np.empty(count), np.zeros(count), np.ones(count)
    one, two = np.empty(count), np.zeros(count)
    for i in range(begin, end):
        top = -np.inf
        for k in range(count):
            high[k] = information[i, 0, 0] + precisions[k, 0, 0]
            one[k] = projected[i, 0] + slopes[k, 0]
            if d == 2:
                cross[k] = information[i, 1, 0] + precisions[k, 1, 0]
                low[k] = information[i, 1, 1] + precisions[k, 1, 1]
                two[k] = projected[i, 1] + slopes[k, 1]
            scale[k] = 1.0 / max(high[k] * low[k] - cross[k] * cross[k], 1e-300)
            a = (low[k] * one[k] - cross[k] * two[k]) * scale[k]
            b = (high[k] * two[k] - cross[k] * one[k]) * scale[k]
            score[k] = constants[k] + 0.5 * (a * one[k] + b * two[k])
            one[k], two[k] = a, b
            top = max(top, score[k])
        total = 0.0
        for k in range(count):
            score[k] = math.exp(score[k] - top) * math.sqrt(scale[k])
            total += score[k]
        logs[i] = top + math.log(total)
        for k in range(count):
            share = score[k] / total
            if len(soft):
                soft[i, k] = share
            if share < 1e-7:
                continue
            moments[k, 0] += share
            moments[k, 1] += share * one[k]
            if d == 1:
                moments[k, 2] += share * (scale[k] + one[k] * one[k])
            else:
                moments[k, 2] += share * two[k]
                moments[k, 3] += share * (low[k] * scale[k] + one[k] * one[k])
                mixed = share * (one[k] * two[k] - cross[k] * scale[k])
                moments[k, 4] += mixed
                moments[k, 5] += mixed
                moments[k, 6] += share * (high[k] * scale[k] + two[k] * two[k])


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def mixture_moments(  # type: ignore[no-untyped-def]
    begin, end, information, projected, precisions, slopes, constants, soft, moments, logs
):  # fmt: skip
    """Posteriors of the Gaussians for some particles, and the sums that EM needs.

    Parameters
    ----------
    begin, end : int
        Particles.
    information, projected : (n, d, d), (n, d)
        The log-likelihood of coordinates z is ``projected . z - z . information . z / 2``.
    precisions, slopes, constants : (K, d, d), (K, d), (K,)
        Inverse covariance P of each Gaussian, P times its mean, and the log of its proportion with
        half the log-determinant of P less half of mean . P . mean.
    soft : (n or 0, K)
        Filled with the posteriors, where it has rows.
    moments : (K, 1 + d + d * d)
        Sums of posteriors, of first and of second moments of the coordinates are added.
    logs : (n,)
        Filled with the log-likelihood of every particle.
    """
    count, d = slopes.shape
    factors = np.empty((count, d, d))
    means = np.empty((count, d))
    score = np.empty(count)
    column = np.empty(d)
    for i in range(begin, end):
        top = -np.inf
        for k in range(count):
            determinant = _factor(information[i], precisions[k], factors[k])
            for a in range(d):
                means[k, a] = projected[i, a] + slopes[k, a]
            square = _forward(factors[k], means[k])
            score[k] = constants[k] + 0.5 * (square - determinant)
            top = max(top, score[k])
        total = 0.0
        for k in range(count):
            score[k] = math.exp(score[k] - top)
            total += score[k]
        logs[i] = top + math.log(total)
        for k in range(count):
            share = score[k] / total
            if len(soft):
                soft[i, k] = share
            if share < 1e-7:
                continue
            _backward(factors[k], means[k])
            moments[k, 0] += share
            for a in range(d):
                moments[k, 1 + a] += share * means[k, a]
                column[:] = 0.0
                column[a] = 1.0
                _forward(factors[k], column)
                _backward(factors[k], column)
                for b in range(d):
                    second = column[b] + means[k, a] * means[k, b]
                    moments[k, 1 + d + a * d + b] += share * second
