"""Populations of states, from what held-out folds say of every particle."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.energy import jackknife_error
from alphacryo4d.particle_landscape.points import improved_points, likelihood_features

MOST = 200_000
"""Particles that states are placed by."""
_PLACING, _AGAIN = 80, 30
"""Steps of EM that place the states, and again without each group."""
_FAR = 0.5
"""How far a state may move, in the way to the nearest other one."""
_STEPS = 500
_TOLERANCE = 1e-6


def state_populations(
    states: Array, groups: Array, images: Array | None = None
) -> tuple[Array, Array]:
    """Populations of states that make the particles most likely, and their standard errors.

    The posterior of a particle is not counted for a state as a vote is: what overlaps is
    disentangled by EM of the proportions.

    Parameters
    ----------
    states : (n, K) array
        Log-likelihoods of the states, up to a number of each particle's own.
    groups : (n,) int array
        Group of every particle; errors are those of the delete-one-group jackknife, and never less
        than those of counting as many particles.
    images : (n,) int array, optional
        Image of every particle, where some are copies of one: these count as one.

    Returns
    -------
    populations, errors : (K,) float64 arrays
        The populations add up to 1.
    """
    scaled = np.exp(states - states.max(axis=1, keepdims=True), dtype=np.float64)
    whole = _proportions(scaled, np.full(states.shape[1], 1 / states.shape[1]))
    left = [_proportions(scaled[groups != group], whole) for group in np.unique(groups)]
    return whole, _error(whole, np.array(left), groups, images)


def placed_populations(
    projected: Array,
    information: Array,
    votes: Array,
    groups: Array,
    count: int,
    images: Array | None = None,
) -> tuple[Array, Array] | None:
    """Populations of states that are points in the frame, and their standard errors.

    Volumes of voted states hold particles of their neighbours, which draws the states at the ends
    of a motion inward: they then take particles from the next ones. So EM moves the points too,
    from the centres of the votes.

    Parameters
    ----------
    projected, information : (n, q), (n, q, q) arrays
        The log-likelihood of coordinates is ``projected . z - z . information . z / 2``.
    votes : (n,) int array
        State of every particle from 1, 0 for none.
    groups, images : (n,) int arrays
        As for :func:`state_populations`.
    count : int
        States K.

    Returns
    -------
    populations, errors : (K,) float64 arrays
        Or None where a state has no centre or leaves its place for another's.
    """
    features = likelihood_features(projected, information)
    d = projected.shape[1]
    sums = np.zeros((count, features.shape[1]))
    for state in range(count):
        sums[state] = features[votes == state + 1].sum(axis=0)
    matrices = sums[:, d:].reshape(-1, d, d)
    if count < 2 or (np.linalg.eigvalsh(matrices)[:, 0] <= 0).any():
        return None
    start = np.linalg.solve(matrices, sums[:, :d, None])[..., 0]
    even = np.full(count, 1 / count)
    points, whole = improved_points(features, start, even, steps=_PLACING)
    if not _stayed(start, points, information.mean(axis=0, dtype=np.float64)):
        return None
    left = [
        improved_points(features[groups != group], points, whole, steps=_AGAIN)[1]
        for group in np.unique(groups)
    ]
    return whole, _error(whole, np.array(left), groups, images)


def _error(whole: Array, left: Array, groups: Array, images: Array | None) -> Array:
    """Standard errors (K,) of populations: of the groups, and at least of counting particles."""
    particles = len(groups) if images is None else len(np.unique(images))
    counting = np.sqrt(whole * (1 - whole) / particles)
    return np.asarray(np.maximum(jackknife_error(left), counting))


def _stayed(start: Array, points: Array, information: Array) -> bool:
    """Whether every point is nearer to where it was than half the way to another's place."""

    def apart(one: Array, other: Array) -> Array:
        away = one - other
        square = np.einsum("...i,ij,...j->...", away, information, away)
        return np.asarray(np.sqrt(np.maximum(square, 0)))

    between = apart(start[:, None], start)
    np.fill_diagonal(between, np.inf)
    return bool((apart(start, points) < _FAR * between.min(axis=1)).all())


def _proportions(likelihoods: Array, start: Array) -> Array:
    """Proportions (K,) of likelihoods (n, K), by EM."""
    share = start.astype(np.float64)
    for _ in range(_STEPS):
        each = likelihoods @ share
        new = share * ((1 / np.maximum(each, 1e-30)) @ likelihoods) / len(likelihoods)
        new /= new.sum()
        change, share = float(np.abs(new - share).max()), new
        if change < _TOLERANCE:
            break
    return share


def voted_populations(labels: Array, count: int) -> Array:
    """Share (K,) of every state among the particles that have one; labels from 1, 0 for none."""
    counts = np.bincount(labels, minlength=count + 1)[1 : count + 1].astype(np.float64)
    shares: Array = counts / max(1.0, counts.sum())
    return shares
