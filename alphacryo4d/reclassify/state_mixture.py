"""States as a mixture in the space of the components, from labels that may be wrong."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.mixture import LatentParticles, Mixture, refine_mixture
from alphacryo4d.ml3d.mixture_search import MANY, SOME, Move, split_and_merge
from alphacryo4d.reclassify.splitting import without_scatter

FIRST_SCATTER = 0.1
"""Variance of the coordinates within a state that the mixture starts from."""
_ROUNDS, _STEPS, _LAST, _FEW = 7, 3, 5, 8_000


def mixture_of_labels(
    particles: LatentParticles, start: Array, *, split_merge: bool, seed: int
) -> tuple[Mixture, list[Move]]:
    """Points, scatter and proportions from soft labels, then searched for better ones.

    Where labels put two states into one, or cut one in two, the mixture ends in a local maximum:
    two points then become one, and a third two, as long as particles get more likely by that.

    Parameters
    ----------
    particles : LatentParticles
        Their proportions and scatter become those of the mixture.
    start : (n, K) array
        Soft labels; a row of zeros has no say.
    split_merge : bool
        Whether to search.
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
        points, moves = split_and_merge(some, mixture.points)
        if moves:
            many.proportions = some.proportions
            mixture = refine_mixture(many, fewer, points, _ROUNDS, _STEPS)
    particles.proportions = many.proportions
    particles.set_scatter(mixture.scatter)
    for _ in range(_LAST):
        mixture.points, mixture.value = particles.step(mixture.points)
    return mixture, moves


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
