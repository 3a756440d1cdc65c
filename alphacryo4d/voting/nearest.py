"""Distance-based assignment without votes (4.9)."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.voting.votes import (
    VoteResult,
    blocks,
    center_distances,
    check_assignments,
    count_block,
    elect_block,
    volume_lookup,
)


def assign_nearest(
    assignments: Array, points: Array, centers: Array, *, cutoff: float | None = None, out: Array
) -> VoteResult:
    """Put every particle into the state nearest to any of its M copies.

    A particle gets one state, so duplicates cannot arise. At equal distance the lower state
    number wins.

    Parameters
    ----------
    assignments : (P, M+1) int32 array, may be memory-mapped
        Volume row of every particle in every fold; -1 where left out, -2 where dropped.
    points : (V, 2) array
        Embedding of the volumes.
    centers : (K, 2) array
        Centres of the states.
    cutoff : float, optional
        Particles farther than this from every centre get no state. At the distance itself they
        still do.
    out : (P, K) uint8 array
        Receives for every particle how many of its copies are nearest to each centre (within the
        cut-off), so that the confidence means the same as with votes.

    Returns
    -------
    VoteResult
    """
    folds = assignments.shape[1] - 1
    distances = center_distances(points, centers)
    nearest = distances.argmin(axis=1)
    distance = distances[np.arange(len(points)), nearest]
    if cutoff is not None:
        distance = np.where(distance <= cutoff, distance, np.inf)
    state_of = volume_lookup(np.where(np.isfinite(distance), nearest + 1, 0).astype(np.int32), 0)
    distance_of = volume_lookup(distance, np.inf)
    particles = len(assignments)
    states = np.empty(particles, np.int32)
    top = np.empty(particles, np.uint8)
    entropy = np.empty(particles, np.float32)
    for part in blocks(particles):
        block = np.asarray(assignments[part])
        check_assignments(block, part.start, len(points))
        counts = np.empty((len(block), len(centers)), np.uint8)
        count_block(state_of[block], len(centers), counts)
        out[part] = counts
        chosen = _nearest_copy(state_of[block], distance_of[block])
        states[part] = chosen
        _, strongest, entropy[part] = elect_block(counts, folds, 1)
        own = counts[np.arange(len(block)), np.maximum(chosen, 1) - 1]
        top[part] = np.where(chosen > 0, own, strongest)
    return VoteResult(states, top, (top / np.float32(folds)).astype(np.float32), entropy)


def _nearest_copy(states: Array, distances: Array) -> Array:
    """State (n,) of the copy with the least distance, lower state number at ties."""
    least = distances.min(axis=1)
    candidates = np.where(
        np.isfinite(distances) & (distances == least[:, None]), states, np.iinfo(np.int32).max
    )
    chosen = candidates.min(axis=1)
    return np.where(np.isfinite(least), chosen, 0).astype(np.int32)
