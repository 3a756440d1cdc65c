"""States as a mixture in the space of the components, from labels that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.mixture import LatentParticles, Mixture
from alphacryo4d.ml3d.mixture_rounds import refine_mixture
from alphacryo4d.ml3d.mixture_search import ANEW, MANY, SOME, Move, fit_mixture, split_and_merge
from alphacryo4d.reclassify.joint_moments import JointMoments
from alphacryo4d.reclassify.splitting import Latent, without_scatter

FIRST_SCATTER = 0.1
"""Variance of the coordinates within a state that the mixture starts from."""
_ROUNDS, _STEPS, _LAST, _FEW = 7, 3, 5, 8_000


def mixture_of_labels(
    particles: LatentParticles, start: Array, *, split_merge: bool, anew: bool = False, seed: int
) -> tuple[Mixture, list[Move]]:
    """Points, scatter and proportions from soft labels, then searched for better ones.

    Where labels put two states into one, or cut one in two, the mixture ends in a local maximum:
    two points then become one, and a third two, as long as particles get more likely by that. Where
    labels took for states what varies within every state, points lie along that: a mixture that
    knows nothing of the labels takes their place where particles are more likely under it.

    Parameters
    ----------
    particles : LatentParticles
        Their proportions and scatter become those of the mixture.
    start : (n, K) array
        Soft labels; a row of zeros has no say.
    split_merge : bool
        Whether points may be merged and split.
    anew : bool
        Whether a mixture without labels may take the place of theirs.
    seed : int
        Of the particles with which the search and the scatter are found, where there are many.

    Returns
    -------
    mixture : Mixture
    moves : list of Move
        What the search changed.
    """
    classes, rng = start.shape[1], np.random.default_rng(seed)
    rows = particles.drawn(max(MANY, 1000 * classes), rng)
    many = particles if len(rows) == len(start) else particles.rows(rows)
    fewer, some = many.some(_FEW, rng), many.some(max(SOME, 600 * classes), rng)
    points = points_of_labels(many.information, many.projected, start[rows], FIRST_SCATTER)
    members = start.sum(axis=0, dtype=np.float64) + 1
    many.proportions = members / members.sum()
    for few in (many, fewer):
        few.set_scatter(FIRST_SCATTER * np.eye(particles.count))
    mixture, moves = refine_mixture(many, fewer, points, _ROUNDS, _STEPS), list[Move]()
    if split_merge:
        some.proportions = many.proportions
        some.set_scatter(mixture.scatter)
        chance = particles.count / len(some.projected)
        points, moves = split_and_merge(some, mixture.points, least=chance)
        if moves:
            many.proportions = some.proportions
            mixture = refine_mixture(many, fewer, points, _ROUNDS, _STEPS)
    if anew:
        mixture = refine_mixture(many, fewer, mixture.points, _ROUNDS, _STEPS, newton=True)
        proportions = many.proportions
        other = _found_anew(many, fewer, classes, rng)
        if other.value > mixture.value + particles.count / len(some.projected):
            moves = [Move(ANEW, ANEW, ANEW, other.value - mixture.value)]
            mixture, proportions = other, many.proportions
        many.proportions = proportions
    particles.proportions = many.proportions
    particles.set_scatter(mixture.scatter)
    for _ in range(_LAST):
        mixture.points, mixture.value = particles.step(mixture.points)
    return mixture, moves


def _found_anew(
    many: LatentParticles, fewer: LatentParticles, count: int, rng: np.random.Generator
) -> Mixture:
    """The mixture of ``count`` points without labels; its proportions are those of ``many``."""
    many.proportions = None
    known = many.information + np.eye(many.count, dtype=np.float32)
    coordinates = np.linalg.solve(known, many.projected[..., None])[..., 0]
    mixture = fit_mixture(many, coordinates, count, rng)
    many.proportions = np.full(count, 1 / count)
    fewer.set_scatter(mixture.scatter)
    return refine_mixture(many, fewer, mixture.points, _ROUNDS, _STEPS, newton=True)


def points_of_labels(information: Array, projected: Array, soft: Array, scatter: float) -> Array:
    """Points (K, q) that soft labels (n, K) make most likely.

    Coordinates scatter about their point with the variance ``scatter`` in every direction; the
    points have a standard normal prior.
    """
    q = projected.shape[1]
    latent = without_scatter(projected, information, scatter * np.eye(q))
    weights = soft.T.astype(np.float64)
    matrices = np.tensordot(weights, latent.curvature, 1) + np.eye(q)
    points: Array = np.linalg.solve(matrices, (weights @ latent.slope)[:, :, None])[..., 0]
    return points


@dataclass(frozen=True)
class LatentStates:
    """States as points among the components, and what the particles say of them.

    Attributes
    ----------
    points, scatter : (K, q), (q, q) float64
        States, and the covariance of the coordinates within each.
    proportions : (K,) float64
    posteriors : (n, K) float32
    projected, information : (n, q), (n, q, q) float64
        Log-likelihood of coordinates, errors of the poses marginalised.
    """

    points: Array
    scatter: Array
    proportions: Array
    posteriors: Array
    projected: Array
    information: Array

    def latent(self) -> Latent:
        """What the particles say of points, their scatter marginalised too."""
        return without_scatter(self.projected, self.information, self.scatter)


def states_of_moments(
    moments: JointMoments,
    pose_sigma: tuple[float, float],
    so_far: Array,
    start: Array,
    *,
    split_merge: bool,
    anew: bool = False,
    seed: int,
) -> tuple[LatentStates, list[Move]]:
    """Mixture of :func:`mixture_of_labels` with errors of the poses marginalised.

    Parameters
    ----------
    moments, pose_sigma, so_far
        Moments, and prior of the poses, as :meth:`JointMoments.marginalise_pose` takes them.
    start : (n, K) array
        Soft labels.
    split_merge, anew, seed
        As for :func:`mixture_of_labels`.
    """
    _, projected, information = moments.marginalise_pose(pose_sigma, so_far)
    particles = LatentParticles(information, projected, moments.workers)
    mixture, moves = mixture_of_labels(
        particles, start, split_merge=split_merge, anew=anew, seed=seed
    )
    soft, proportions = particles.posteriors(mixture.points), particles.proportions
    assert proportions is not None
    states = LatentStates(
        mixture.points, mixture.scatter, proportions, soft, projected, information
    )
    return states, moves
