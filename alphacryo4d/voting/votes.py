"""Energy-based particle voting (4.8): volumes vote for states, particles follow their votes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import DROPPED, LEFT_OUT

BLOCK = 1 << 16
"""Particles that are counted at a time."""


@dataclass(frozen=True)
class VoteResult:
    """The outcome for every particle (P of them).

    Attributes
    ----------
    states : (P,) int32
        State from 1, or 0 for voted out.
    votes : (P,) uint8
        Votes of the winning state; of the strongest one where the particle was voted out.
    confidence : (P,) float32
        ``votes / M``.
    entropy : (P,) float32
        -sum p ln p in nats over the states and the empty votes; 0 when all votes agree.
    """

    states: Array
    votes: Array
    confidence: Array
    entropy: Array

    @property
    def kept(self) -> int:
        """Number of particles that belong to a state."""
        return int(np.count_nonzero(self.states))


def center_distances(points: Array, centers: Array) -> Array:
    """Euclidean distances (V, K) of points (V, 2) to centres (K, 2)."""
    difference = np.asarray(points, float)[:, None, :] - np.asarray(centers, float)[None, :, :]
    distances: Array = np.sqrt((difference**2).sum(axis=2))
    return distances


def blocks(rows: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices that cover ``rows`` rows in order."""
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))


def check_assignments(block: Array, first_row: int, volumes: int) -> None:
    """Refuse assignments (n, M+1) where a particle does not have exactly M votes.

    Raises
    ------
    InputError
        Names the first faulty particle row (from 1).
    """
    wrong = (block == LEFT_OUT).sum(axis=1) != 1
    if wrong.any():
        row = first_row + int(wrong.argmax()) + 1
        raise InputError(
            f"assignments.npy: particle {row} is not left out of exactly one fold; "
            "run the resample stage again"
        )
    beyond = ((block >= volumes) | (block < DROPPED)).any(axis=1)
    if beyond.any():
        row = first_row + int(beyond.argmax()) + 1
        raise InputError(
            f"assignments.npy: particle {row} names a volume that does not exist "
            f"({volumes} volumes); the files belong to different runs"
        )


def volume_lookup(volume_values: Array, fill: Any) -> Array:
    """Table that an assignment indexes directly: its last two entries serve -1 and -2."""
    return np.concatenate([volume_values, np.full(2, fill, volume_values.dtype)])


def count_block(states_of_copies: Array, state_count: int, out: Array) -> None:
    """Count the votes of a block of particles.

    Parameters
    ----------
    states_of_copies : (n, M+1) int array
        State of each copy of a particle, 0 for an empty vote or where it was left out.
    state_count : int
        K.
    out : (n, K) uint8 array
        Receives the counts. A column holds each particle once, so that plain indexing adds right.
    """
    counts = np.zeros((len(out), state_count + 1), np.uint8)
    rows = np.arange(len(out))
    for copy in range(states_of_copies.shape[1]):
        counts[rows, states_of_copies[:, copy]] += 1
    out[:] = counts[:, 1:]


def elect_block(votes: Array, folds: int, needed: int) -> tuple[Array, Array, Array]:
    """Winner, its votes and the entropy of a block of particles.

    The state with most votes wins when it has at least ``needed``. Two states can tie only
    where ``needed`` is at most M/2; a tie is voted out.

    Parameters
    ----------
    votes : (n, K) uint8 array
    folds : int
        M.
    needed : int
        Smallest number of votes that wins.

    Returns
    -------
    states, top, entropy
        (n,) int32, uint8 and float32.
    """
    winner = votes.argmax(axis=1)
    top = votes[np.arange(len(votes)), winner]
    unique = 2 * needed > folds or (votes == top[:, None]).sum(axis=1) == 1
    states = np.where((top >= needed) & (top > 0) & unique, winner + 1, 0).astype(np.int32)
    share = np.arange(folds + 1) / folds
    terms = np.zeros(folds + 1, np.float32)
    terms[1:] = -share[1:] * np.log(share[1:])
    empty = folds - votes.sum(axis=1, dtype=np.int64)
    entropy = terms[empty]
    rows, columns = np.nonzero(votes)
    entropy = entropy + np.bincount(rows, terms[votes[rows, columns]], len(votes))
    return states, top, entropy.astype(np.float32)


def count_votes(
    assignments: Array, volume_states: Array, state_count: int, *, needed: int, out: Array
) -> VoteResult:
    """Count the votes of all particles and elect their states, block by block.

    Parameters
    ----------
    assignments : (P, M+1) int32 array, may be memory-mapped
        Volume row of every particle in every fold; -1 where left out, -2 where dropped.
    volume_states : (V,) int32 array
        State of each volume from 1, 0 for none.
    state_count : int
        K.
    needed : int
        Votes that a state needs (:func:`alphacryo4d.voting.options.votes_needed`).
    out : (P, K) uint8 array, may be memory-mapped
        Receives the counts.

    Returns
    -------
    VoteResult

    Raises
    ------
    InputError
        A particle has not exactly M votes, or names a volume that does not exist.
    """
    particles, columns = assignments.shape
    folds = columns - 1
    if not 1 <= folds <= 255:
        raise InputError(f"assignments.npy: {columns} folds; 2 to 256 can be counted")
    lookup = volume_lookup(np.asarray(volume_states, np.int32), 0)
    states = np.empty(particles, np.int32)
    top = np.empty(particles, np.uint8)
    entropy = np.empty(particles, np.float32)
    for part in blocks(particles):
        block = np.asarray(assignments[part])
        check_assignments(block, part.start, len(volume_states))
        counts = np.empty((len(block), state_count), np.uint8)
        count_block(lookup[block], state_count, counts)
        out[part] = counts
        states[part], top[part], entropy[part] = elect_block(counts, folds, needed)
    return VoteResult(states, top, (top / np.float32(folds)).astype(np.float32), entropy)


def require_heldout(election: VoteResult, heldout_states: Array) -> VoteResult:
    """Vote out the particles whose left-out fold does not confirm their state.

    Parameters
    ----------
    election : VoteResult
    heldout_states : (P,) int array
        State from 1 that the fold that left the particle out puts it into.
    """
    states = np.where(election.states == heldout_states, election.states, 0).astype(np.int32)
    return VoteResult(states, election.votes, election.confidence, election.entropy)
