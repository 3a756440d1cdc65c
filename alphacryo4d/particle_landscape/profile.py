"""The energy along a path, as smooth as held-out particles allow.

A mixture of few Gaussians has a bump where few particles lie, and an energy has a pass there: the
data hardly tell these apart, so that the barrier takes the shape of the Gaussian. Along a path the
density is one-dimensional. Its logarithm is fitted anew, from the likelihoods of the particles,
with a penalty on its third derivative (Silverman 1982): without data it is that of one Gaussian.
What lies across the path counts together, by the mixture's word of how it is spread there: widths
at a pass are known badly. Everything away from the path stays as the mixture has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.energy import jackknife_error
from alphacryo4d.maths.linear_solvers import root_of_covariance
from alphacryo4d.particle_landscape.mixture import GaussianMixture, Likelihoods
from alphacryo4d.particle_landscape.tube import Tube, shares_of
from alphacryo4d.voting.losses import by_image, mean_and_error

SMOOTHEST, ROUGHEST, STEPS_OF_TEN = 1.0, -6.0, 0.5
"""Powers of ten of the penalties that are tried, and their step; lengths are in errors."""
_COUNTING = 60
_NEWTON, _TOLERANCE, _FURTHEST = 60, 1e-7, 2.0
_HOPELESS = 8.0
"""Nats that held-out particles lose by a rougher energy, from which no rougher one is tried."""


@dataclass(frozen=True)
class Profile:
    """Energies at the images of a path.

    Attributes
    ----------
    energies : (n,) float64
        In kT: -ln of the share of the particles per length.
    replicates : (M + 1, n) float64
        The same without each group of particles.
    draws : (s, n) float64
        The same with the errors of counting, as the likelihood has them.
    likeliest : (n,) float64
        With the penalty that held-out particles find most likely.
    penalty : float
        Of the third derivative, lengths in errors.
    """

    energies: Array
    replicates: Array
    draws: Array
    likeliest: Array
    penalty: float

    def error(self, quantity: Callable[[Array], Array]) -> Array:
        """Standard error of a quantity of the energies.

        The larger of counting and delete-one-group jackknife, and in quadrature what the likeliest
        penalty changes.
        """
        groups = jackknife_error(np.array([quantity(one) for one in self.replicates]))
        counting = np.array([quantity(one) for one in self.draws]).std(axis=0)
        changed = quantity(self.likeliest) - quantity(self.energies)
        return np.asarray(np.hypot(np.maximum(groups, counting), changed))


def smooth_profile(
    data: Likelihoods,
    groups: Array,
    mixture: GaussianMixture,
    images: Array,
    *,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Profile | None:
    """Energies along a path from the particles, the smoothest that held-out ones do not refuse.

    Every group is left out in turn, for penalties from the largest to smaller ones. The largest
    penalty counts whose held-out likelihood is within a standard error of the best one.

    Parameters
    ----------
    data : Likelihoods
    groups : (n,) int array
        Group of every particle.
    mixture : GaussianMixture
        The density, which says what lies across the path.
    images : (m, d) array
        The path, at equal distances.
    seed : int
        Of the points that stand for what lies across the path.
    check : callable
        Called before every fit; stops the work by raising.

    Returns
    -------
    Profile or None
        None where the path is too short to be cut into bins, or leads through nothing.
    """
    tube = Tube.along(data, mixture, images, np.random.default_rng(seed))
    if tube is None:
        return None
    ratio, rough = tube.ratios(data, mixture), tube.roughness()
    powers = np.arange(SMOOTHEST, ROUGHEST - 0.5 * STEPS_OF_TEN, -STEPS_OF_TEN)
    penalties = [10.0**power * rough for power in powers]
    tried, values = _tried(ratio, groups, penalties, tube.start, check)

    def energies(logs: Array) -> Array:
        return tube.energies(logs, images)

    def whole(number: int) -> Array:
        return _fitted(ratio, penalties[number], np.mean(tried[number], axis=0))

    chosen = _smoothest(values, data.images)
    logs = whole(chosen)
    root = _root_of_errors(ratio, penalties[chosen], logs, data.images)
    noise = np.random.default_rng(seed).standard_normal((_COUNTING, len(root)))
    return Profile(
        energies(logs),
        np.array([energies(each) for each in tried[chosen]]),
        np.array([energies(logs + root @ each) for each in noise]),
        energies(whole(_likeliest(values))),
        float(10.0 ** powers[chosen]),
    )


def _tried(
    ratio: Array,
    groups: Array,
    penalties: list[Array],
    start: Array,
    check: Callable[[], None],
) -> tuple[list[list[Array]], list[Array]]:
    """Fits without each group, and log-likelihoods (n,) of those left out, for every penalty.

    Penalties fall; where held-out particles are much less likely than before the rest is left out.
    """
    labels = np.unique(groups)
    fits: list[list[Array]] = []
    values: list[Array] = []
    logs = [start] * len(labels)
    for penalty in penalties:
        value = np.empty(len(ratio))
        for side, label in enumerate(labels):
            check()
            left = groups == label
            logs[side] = _fitted(ratio[~left], penalty, logs[side])
            value[left] = np.log(np.maximum(ratio[left] @ shares_of(logs[side]), 1e-300))
        fits.append(list(logs))
        values.append(value)
        sums = [float(each.sum()) for each in values]
        if sums[-1] < max(sums) - _HOPELESS:
            break
    return fits, values


def _likeliest(values: list[Array]) -> int:
    return int(np.argmax([value.sum() for value in values]))


def _smoothest(values: list[Array], images: Array | None) -> int:
    """The first penalty (they fall) within a standard error of the most likely one."""
    best = values[_likeliest(values)]
    for number, value in enumerate(values):
        lost, error = mean_and_error(best - value, images)
        if lost <= error:
            return number
    return len(values) - 1


def _fitted(ratio: Array, penalty: Array, start: Array) -> Array:
    """Logarithms (B + 1,) of the shares of bins and rest, by Newton's method with damping.

    Parameters
    ----------
    ratio : (n, B + 1) array
        Likelihood of every particle in each bin and in the rest, up to a factor of its own.
    penalty : (B + 1, B + 1) array
        Half of its quadratic form is added to the mean negative log-likelihood.
    start : (B + 1,) array
    """
    logs, damping = start.copy(), 1e-3
    value, shares, each = _objective(ratio, penalty, logs)
    for _ in range(_NEWTON):
        soft = ratio * shares / np.maximum(each, 1e-300)[:, None]
        members = soft.mean(axis=0)
        gradient = shares - members + penalty @ logs
        whole = np.diag(shares) - np.outer(shares, shares) + penalty
        own = whole - np.diag(members) + soft.T @ soft / len(soft)
        before = value
        while damping < 1e6:
            # the matrix of complete data is positive: with enough of it every step descends
            matrix = own + damping * whole
            matrix[np.diag_indices_from(matrix)] += 1e-10
            step = _descent(matrix, gradient)
            if step is not None:
                tried, some, those = _objective(ratio, penalty, logs + step)
                if tried <= value:
                    logs = logs + step
                    value, shares, each = tried, some, those
                    break
            damping = max(4 * damping, 1e-3)
        damping = max(damping / 4, 1e-6)
        if before - value < _TOLERANCE:
            break
    centred: Array = logs - logs.max()
    return centred


def _root_of_errors(ratio: Array, penalty: Array, logs: Array, images: Array | None) -> Array:
    """Root (B + 1, B + 1) of the covariance of the logarithms, as counting particles has it."""
    shares = shares_of(logs)
    soft = ratio * shares / np.maximum(ratio @ shares, 1e-300)[:, None]
    members, second = soft.mean(axis=0), soft.T @ soft / len(soft)
    matrix = np.diag(shares - members) + second - np.outer(shares, shares) + penalty
    values, vectors = np.linalg.eigh(matrix)
    # the sum of all logarithms means nothing
    inverse = (vectors / np.maximum(values, 1e-4 * shares.max())) @ vectors.T
    scores = second - np.outer(members, members)
    if images is not None:
        of_image = by_image(soft - members, images)
        scores = of_image.T @ of_image / len(soft)
    root: Array = inverse @ root_of_covariance(scores) / np.sqrt(len(ratio))
    return root


def _descent(matrix: Array, gradient: Array) -> Array | None:
    """Newton's step, no longer than is safe; None where the matrix is not positive."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    step: Array = -np.linalg.solve(matrix, gradient)
    step -= step.mean()
    return step * min(1.0, _FURTHEST / max(float(np.abs(step).max()), 1e-12))


def _objective(ratio: Array, penalty: Array, logs: Array) -> tuple[float, Array, Array]:
    """Penalised mean negative log-likelihood, the shares, and the likelihoods (n,)."""
    shares = shares_of(logs)
    each = ratio @ shares
    value = -float(np.log(np.maximum(each, 1e-300)).mean()) + 0.5 * float(logs @ penalty @ logs)
    return value, shares, each
