"""Compiled loops of the expectation of classes.

A sample of K classes reads 64 K bytes and does 20 K multiply-adds. With references of 20 classes
in the second and third level of the cache it takes about 25 ns: fewer bytes, not fewer
operations, would be the next gain.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.basic import place_samples, scale
from alphacryo4d.ml3d.compiled.cache import FAST, kernel
from alphacryo4d.ml3d.compiled.operations import AHEAD, MOST, fetch, score_columns
from alphacryo4d.ml3d.compiled.vectors import FOUR


@kernel
def expect_classes(  # type: ignore[no-untyped-def]
    begin, end, data, ctf, matrices, rows, kx, ky, starts, group, inverse_noise, grid, size,
    log_weights, temperature, before, uncertainty, posteriors, evidence, residual, moments,
):  # fmt: skip
    """Posteriors of the classes (expectation); fills the last four arrays.

    Parameters
    ----------
    data, ctf : (P, S, 2), (P, S) float32
        Fourier samples and CTF of every particle.
    matrices : (P, 2, 3) float32
        The two first rows of each rotation matrix times padding (and times the scale of grids).
    rows : (n,) int64
        Particles to work on; ``begin:end`` of them.
    kx, ky : (S,) float32
        Position of the samples in use (pixels), sorted by shell, and zeros up to a multiple of 8.
    starts : (shells + 1,) int64
        First sample of every shell, and the end of the last.
    group, inverse_noise : (P,), (G, shells)
        Optics group and inverse noise power of its shells.
    grid : (N * N * (N // 2 + 1) * K / 4 * 8,) float32
        References (``Grid.class_references``): of a voxel, four real parts, then the imaginary
        parts of the same four columns, and so on; K is a multiple of 4.
    size : int
        N.
    log_weights : (K,) float32
        Log of the prior probability; very low for a column that is not used.
    before, uncertainty : (n * K,), (shells * K,) float32
        Posteriors with which the references were made, and the posterior variance of their
        Fourier components: what a particle added to a reference itself is taken off its score.
    posteriors : (n, K) float32
    evidence : (n,) float64
        Log of the sum over classes of weight times likelihood ratio against noise alone.
    residual : (G, shells) float64
        Expected power of data minus reference; added to.
    moments : (n, 2) float32
        Expected inner product of data and reference, and norm of the reference.
    """
    columns = posteriors.shape[1]
    shells = inverse_noise.shape[1]
    samples = len(kx)
    index, weight = np.zeros(4 * samples + AHEAD, np.int32), np.empty(8 * samples, np.float32)
    datum = np.zeros(3 * samples, np.float32)
    transfer = datum[2 * samples :]
    nearest, sign = np.empty(samples, np.int32), np.empty(samples, np.float32)
    part = np.empty(3 * samples, np.float32)
    cross, norm = np.empty(shells * columns, np.float32), np.empty(shells * columns, np.float32)
    power = np.zeros((shells, 2), np.float32)
    noise, taken = np.zeros(shells), np.zeros(shells)
    score = np.empty(columns, np.float64)
    vectors = columns // FOUR
    blocks = -(-vectors // MOST)
    for i in range(begin, end):
        p = rows[i]
        if i + 1 < end:
            fetch(data[rows[i + 1]].ravel(), 0, 2 * starts[shells])
            fetch(ctf[rows[i + 1]], 0, starts[shells])
        for s in range(starts[shells]):
            transfer[s] = ctf[p, s]
        place_samples(kx, ky, matrices[p], size, index, weight, nearest, sign, part)
        for j in range(8):
            scale(weight[j * samples : (j + 1) * samples], transfer)
        _turn(data[p], starts[shells], sign, datum)
        for block in range(blocks):
            first = block * vectors // blocks
            count = (block + 1) * vectors // blocks - first
            for h in range(1, shells):
                score_columns(
                    count, grid, 2 * columns, 2 * FOUR * first, index, weight, datum, samples,
                    starts[h], starts[h + 1], cross, norm, h * columns + FOUR * first, power[h],
                )  # fmt: skip
        for h in range(1, shells):
            noise[h] = inverse_noise[group[p], h]
            taken[h] = 2.0 * noise[h] * power[h, 1]
        own = before[i * columns : (i + 1) * columns]
        _column_scores(cross, norm, noise, own, uncertainty, taken, score)
        evidence[i] = _softmax(score, temperature, log_weights)
        for k in range(columns):
            posteriors[i, k] = score[k]
        inner, square = 0.0, 0.0
        for h in range(1, shells):
            mean_cross = _expected(cross[h * columns : (h + 1) * columns], score)
            mean_norm = _expected(norm[h * columns : (h + 1) * columns], score)
            residual[group[p], h] += power[h, 0] - 2.0 * mean_cross + mean_norm
            inner += noise[h] * mean_cross
            square += noise[h] * mean_norm
        moments[i, 0], moments[i, 1] = inner, square


@kernel
def _column_scores(cross, norm, noise, own, uncertainty, taken, score):  # type: ignore[no-untyped-def]
    """Sum over shells h of ``noise[h] (2 cross - norm)[h] - taken[h] own uncertainty[h]``.

    ``cross``, ``norm``, ``uncertainty`` (shells * columns,) and ``own`` (columns,) float32;
    ``noise``, ``taken`` (shells,) and ``score`` (columns,) float64. Shell 0 is left out.
    """
    columns = len(score)
    for k in range(columns):
        score[k] = 0.0
    for h in range(1, len(noise)):
        first, known, used = h * columns, noise[h], taken[h]
        for k in range(columns):
            less = 2.0 * cross[first + k] - norm[first + k]
            score[k] += known * less - used * (own[k] * uncertainty[first + k])


@kernel
def _expected(values, soft):  # type: ignore[no-untyped-def]
    """Sum of float32 values times their probabilities."""
    total = 0.0
    for k in range(len(soft)):
        total += soft[k] * values[k]
    return total


@numba.njit(inline="always")
def _turn(data, last, sign, datum):  # type: ignore[no-untyped-def]
    """Real parts of the data, then their imaginary parts turned to the half grid."""
    for s in range(last):
        datum[s] = data[s, 0]
    rest = datum[len(sign) :]
    for s in range(last):
        rest[s] = data[s, 1] * sign[s]


@numba.njit(inline="always", fastmath=FAST)
def _softmax(score, temperature, log_weights):  # type: ignore[no-untyped-def]
    """Turn scores into probabilities; log of the sum that they are divided by."""
    top = -np.inf
    total = 0.0
    for k in range(len(score)):
        score[k] = score[k] / temperature + log_weights[k]
        top = max(top, score[k])
    for k in range(len(score)):
        score[k] = math.exp(score[k] - top)
        total += score[k]
    for k in range(len(score)):
        score[k] /= total
    return top + math.log(total)
