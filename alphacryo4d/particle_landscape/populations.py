"""Populations of states, from what held-out folds say of every particle."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.energy import jackknife_error

_STEPS = 500
_TOLERANCE = 1e-6


def state_populations(states: Array, groups: Array) -> tuple[Array, Array]:
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

    Returns
    -------
    populations, errors : (K,) float64 arrays
        The populations add up to 1.
    """
    scaled = np.exp(states - states.max(axis=1, keepdims=True)).astype(np.float32)
    whole = _proportions(scaled, np.full(states.shape[1], 1 / states.shape[1]))
    left = [_proportions(scaled[groups != group], whole) for group in np.unique(groups)]
    counting = np.sqrt(whole * (1 - whole) / len(scaled))
    return whole, np.maximum(jackknife_error(np.array(left)), counting)


def _proportions(likelihoods: Array, start: Array) -> Array:
    """Proportions (K,) of likelihoods (n, K), by EM."""
    share = start.astype(np.float64)
    for _ in range(_STEPS):
        each = likelihoods @ share.astype(np.float32)
        new = share * ((1 / np.maximum(each, 1e-30)) @ likelihoods) / len(likelihoods)
        new /= new.sum()
        change, share = float(np.abs(new - share).max()), new
        if change < _TOLERANCE:
            break
    return share


def voted_populations(labels: Array, count: int) -> Array:
    """Share (K,) of every state among the particles that have one; labels from 1, 0 for none."""
    found = np.bincount(labels, minlength=count + 1)[1 : count + 1].astype(np.float64)
    shares: Array = found / max(1.0, found.sum())
    return shares
