"""Does a state hold two? Split in the space of the components, judged by left-out particles.

Every fold splits a state along the direction in which its particles differ most beyond what the
data and the common scatter explain. Left-out particles then say whether two points explain them
better than one. Each fold finds its own sides: their labels are matched by the particles that
folds share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import stretched_direction
from alphacryo4d.voting.losses import by_image

_STEPS = 15
_MEMBER = 0.05
"""Posterior from which a particle has a say in the split of a state."""


@dataclass(frozen=True)
class Latent:
    """What data say of the point of a particle, scatter about the point and pose marginalised.

    The log-likelihood of a point m is ``slope . m - m . curvature . m / 2``.

    Attributes
    ----------
    slope : (n, q) array
    curvature : (n, q, q) array
    """

    slope: Array
    curvature: Array

    def of(self, points: Array) -> Array:
        """Log-likelihoods (n, K) of points (K, q)."""
        square = np.einsum("ki,nij,kj->nk", points, self.curvature, points, optimize=True)
        logs: Array = self.slope @ points.T - 0.5 * square
        return logs

    def rows(self, chosen: Array) -> Latent:
        """The same of some particles."""
        return Latent(self.slope[chosen], self.curvature[chosen])


def without_scatter(projected: Array, information: Array, scatter: Array) -> Latent:
    """Integrate the scatter (q, q) about the point out of ``projected . z - z information z / 2``.

    With z = point + N(0, scatter): curvature ``(information^-1 + scatter)^-1``, slope
    ``(1 + information scatter)^-1 projected``.
    """
    q = projected.shape[1]
    slope, curvature = np.empty_like(projected), np.empty_like(information)
    for begin in range(0, len(projected), 4096):
        part = slice(begin, begin + 4096)
        right = np.concatenate([information[part], projected[part, :, None]], axis=2)
        solved = np.linalg.solve(np.eye(q) + information[part] @ scatter, right)
        slope[part] = solved[:, :, q]
        curvature[part] = 0.5 * (solved[:, :, :q] + solved[:, :, :q].transpose(0, 2, 1))
    return Latent(slope, curvature)


def at_mean(projected: Array, information: Array, scatter: Array) -> Array:
    """Log-likelihood (n,) of the point 0; :func:`without_scatter` has the others.

    ``log E exp(projected . z - z information z / 2)`` over z = N(0, scatter), which is
    ``projected . scatter slope / 2 - log det(1 + information scatter) / 2``.
    """
    values = np.empty(len(projected))
    for begin in range(0, len(projected), 4096):
        part = slice(begin, begin + 4096)
        matrix = np.eye(len(scatter)) + information[part] @ scatter
        slope = np.linalg.solve(matrix, projected[part, :, None])[..., 0]
        values[part] = np.einsum("ni,ni->n", projected[part] @ scatter, slope)
        values[part] -= np.linalg.slogdet(matrix)[1]
    return 0.5 * values


@dataclass(frozen=True)
class Split:
    """Two points in place of one.

    Attributes
    ----------
    points : (2, q) float64
    proportions : (2,) float64
        Of the particles of the state; they add up to 1.
    """

    points: Array
    proportions: Array

    def sides(self, latent: Latent) -> Array:
        """Log of the ratio of the two sides for every particle, (n,)."""
        values = latent.of(self.points) + np.log(self.proportions)
        return np.asarray(values[:, 1] - values[:, 0])

    def gains(self, latent: Latent, point: Array, posteriors: Array) -> Array:
        """Rise of the log-likelihood (n,) of particles when the state becomes these two.

        Parameters
        ----------
        latent : Latent
            Of particles that the points have not seen.
        point : (q,) array
            The state as it was.
        posteriors : (n,) array
            Its posterior.
        """
        before = latent.of(point[None])[:, 0]
        ratio = (
            np.exp(np.clip(latent.of(self.points) - before[:, None], -500, 500)) @ self.proportions
        )
        return np.asarray(np.log(np.maximum(1 - posteriors + posteriors * ratio, 1e-12)))


def split_state(latent: Latent, point: Array, posteriors: Array) -> Split:
    """The best two points in place of one, by EM from its most stretched direction.

    Parameters
    ----------
    latent : Latent
    point : (q,) array
    posteriors : (n,) array
        Of the state.
    """
    chosen = np.flatnonzero(posteriors > _MEMBER)
    q = len(point)
    if len(chosen) <= 2 * q:
        return Split(np.stack([point, point]), np.full(2, 0.5))
    weight, some = posteriors[chosen].astype(np.float64), latent.rows(chosen)
    score = some.slope - some.curvature @ point
    known = np.tensordot(weight, some.curvature, 1)
    excess, direction = stretched_direction(score, weight, known)
    deviation = np.sqrt(max(excess, 0.05) * weight.sum())
    points = point + np.outer([-1.0, 1.0], direction * deviation)
    proportions = np.full(2, 0.5)
    for _ in range(_STEPS):
        soft = softmax(some.of(points) + np.log(proportions), axis=1) * weight[:, None]
        proportions = (soft.sum(axis=0) + 1) / (soft.sum() + 2)
        matrices = np.tensordot(soft.T, some.curvature, 1) + np.eye(q)
        points = np.linalg.solve(matrices, (soft.T @ some.slope)[:, :, None])[..., 0]
    return Split(points, proportions)


def try_splits(
    points: Array,
    posteriors: Array,
    latent: Latent,
    heldout_posteriors: Array,
    heldout: Latent,
    copies: Array | None = None,
) -> tuple[Array, Array]:
    """Split every state of a fold, and ask the particles that the fold left out.

    Parameters
    ----------
    points : (K, q) array
    posteriors, latent
        Of the fold's n particles, (n, K).
    heldout_posteriors, heldout
        Of the particles that it left out.
    copies : (m,) int array, optional
        Image of each of these, where some are copies of one.

    Returns
    -------
    sides : (n,) float32 array
        Of every particle, within its most likely state.
    gains : (2, K) float64 array
        Sum over left-out particles of what they gain by the split of a state, and of its square
        (of the sums by image).
    """
    labels = posteriors.argmax(axis=1)
    sides, gains = np.zeros(len(labels), np.float32), np.zeros((2, len(points)))
    for k, point in enumerate(points):
        split = split_state(latent, point, posteriors[:, k])
        mine = np.flatnonzero(labels == k)
        sides[mine] = split.sides(latent.rows(mine))
        gained = split.gains(heldout, point, heldout_posteriors[:, k])
        gains[:, k] = gained.sum(), np.square(by_image(gained, copies)).sum()
    return sides, gains


def matched_sides(sides: Array, labels: Array, states: Array, batches: Array) -> Array:
    """Which half of its state every particle is in, by the vote of the folds.

    Parameters
    ----------
    sides : (n, folds) array
        Log of the ratio of the two sides in each fold; NaN where the fold left the particle out.
    labels : (n, folds) int array
        State whose sides they are, from 0.
    states : (n,) int array
        State of the particle, from 0; negative where there is none.
    batches : (n,) int array
        Batch of the particle; batches have folds of their own.

    Returns
    -------
    (n,) bool array
        State by state, the sides of a fold are matched to those of the folds before it.
    """
    known = np.isfinite(sides) & (labels == states[:, None])
    signs = np.where(known, np.tanh(0.5 * np.where(known, sides, 0.0)), 0.0)
    second = np.zeros(len(sides), bool)
    for batch in np.unique(batches):
        for state in np.unique(states[states >= 0]):
            mine = np.flatnonzero((states == state) & (batches == batch))
            total = np.zeros(len(mine))
            for column in signs[mine].T:
                total += column if total @ column >= 0 else -column
            second[mine] = total > 0
    return second
