"""Is a state real? Agreement of the folds, the held-out fold, and the bias of batches."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.voting.votes import blocks, volume_lookup


def fold_agreement(assignments: Array, volume_states: Array, state_count: int) -> Array:
    """How often two folds put the same particle into the same state.

    Parameters
    ----------
    assignments : (P, M+1) int32 array
    volume_states : (V,) int32 array
        State of each volume from 1, 0 for none.
    state_count : int
        K.

    Returns
    -------
    (K, M+1, M+1) float64 array
        Entry k, i, j: of the particles that fold i puts into state k + 1 and that are in fold j,
        the share that fold j puts there too. NaN where there are none. Folds share particles:
        this is stability, not independent evidence.
    """
    folds = assignments.shape[1]
    same = np.zeros((state_count, folds, folds))
    present = np.zeros((state_count, folds, folds))
    lookup = volume_lookup(np.asarray(volume_states, np.int32), 0)
    for part in blocks(len(assignments)):
        block = np.asarray(assignments[part])
        states = lookup[block]
        there = block != -1
        for i in range(folds):
            for j in range(folds):
                both = there[:, j] & (states[:, i] > 0)
                here = states[both, i]
                present[:, i, j] += np.bincount(here, minlength=state_count + 1)[1:]
                agreed = here[here == states[both, j]]
                same[:, i, j] += np.bincount(agreed, minlength=state_count + 1)[1:]
    return np.divide(same, present, out=np.full_like(same, np.nan), where=present > 0)


def heldout_agreement(
    states: Array, heldout: Array, volume_states: Array, state_count: int
) -> tuple[Array, Array]:
    """How often the fold that never saw a particle puts it into its voted state.

    Parameters
    ----------
    states : (P,) int32 array
        Voted state, 0 for none.
    heldout : (P,) int32 array
        Volume that the particle fits best in the fold that left it out; negative for none.
    volume_states : (V,) int32 array
    state_count : int

    Returns
    -------
    agreement, chance : (K,) float64 arrays
        Share of a state's particles, and the share of all voted particles whose held-out volume
        is in that state (what a coin of the same populations would give).
    """
    lookup = volume_lookup(np.asarray(volume_states, np.int32), 0)
    voted = np.asarray(states) > 0
    own = np.asarray(states)[voted]
    left = lookup[np.asarray(heldout)[voted]]
    members = np.bincount(own, minlength=state_count + 1)[1:]
    agreed = np.bincount(own[own == left], minlength=state_count + 1)[1:]
    agreement = np.divide(agreed, members, out=np.full(state_count, np.nan), where=members > 0)
    chance = np.bincount(left, minlength=state_count + 1)[1:] / max(len(left), 1)
    return agreement, chance


def voted_out_share(votes: Array, states: Array) -> Array:
    """Of the particles that gave a state at least one vote, the share in no state; (K,)."""
    state_count = votes.shape[1]
    touched, lost = np.zeros(state_count), np.zeros(state_count)
    for part in blocks(len(votes)):
        gave = np.asarray(votes[part]) > 0
        touched += gave.sum(axis=0)
        lost += gave[np.asarray(states[part]) == 0].sum(axis=0)
    return np.divide(lost, touched, out=np.full(state_count, np.nan), where=touched > 0)


def batch_bias(states: Array, batches: Array, state_count: int) -> tuple[Array, float]:
    """Populations of the states batch by batch, and how strongly they depend on the batch.

    Parameters
    ----------
    states : (P,) int32 array
        Voted state, 0 for none.
    batches : (P,) int32 array
        Batch from 1.
    state_count : int

    Returns
    -------
    shares : (B, K + 1) float64 array
        Of each batch's particles, the share voted out (column 0) and in each state.
    cramer_v : float
        Cramer's V of batch and outcome: 0 for none, 1 for full dependence. 0 for one batch.
    """
    count = int(batches.max())
    cells = (np.asarray(batches) - 1) * (state_count + 1) + np.asarray(states)
    table = np.bincount(cells, minlength=count * (state_count + 1)).reshape(count, -1)
    totals = table.sum(axis=1, keepdims=True)
    shares = table / np.maximum(totals, 1)
    used = table[:, table.sum(axis=0) > 0]
    smaller = min(used.shape) - 1
    if smaller < 1:
        return shares, 0.0
    expected = totals * used.sum(axis=0, keepdims=True) / table.sum()
    chi2 = float(((used - expected) ** 2 / np.maximum(expected, 1e-300)).sum())
    return shares, float(np.sqrt(chi2 / (table.sum() * smaller)))


def bias_by_chance(particles: int, batches: int, outcomes: int) -> float:
    """Cramer's V to expect of batches that differ by chance alone.

    Parameters
    ----------
    particles : int
    batches : int
    outcomes : int
        States that have particles, and voted out where that happened.

    Returns
    -------
    float
        Root of the expected square: chi squared has (B - 1)(S - 1) degrees of freedom.
    """
    smaller, larger = sorted((batches - 1, outcomes - 1))
    return 0.0 if smaller < 1 else float(np.sqrt(larger / max(particles, 1)))
