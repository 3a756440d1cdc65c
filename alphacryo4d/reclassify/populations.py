"""Populations and energies of states, before and after a reclassification."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array


def changes_by_state(before: Array, after: Array, count: int) -> list[dict[str, int]]:
    """Where the particles of every state went and came from, between two elections.

    Parameters
    ----------
    before, after : (P,) int arrays
        State of every particle from 1 in one numbering; 0 voted out.
    count : int
        Number of states K.

    Returns
    -------
    list of dict
        One a state: ``before`` = ``stayed`` + ``moved_out`` + ``voted_out``, and ``after`` =
        ``stayed`` + ``moved_in`` + ``newly_voted``.
    """
    flow = np.zeros((count + 1, count + 1), np.int64)
    np.add.at(flow, (before, after), 1)
    return [
        {
            "state": k,
            "before": int(flow[k].sum()),
            "stayed": int(flow[k, k]),
            "moved_out": int(flow[k, 1:].sum() - flow[k, k]),
            "voted_out": int(flow[k, 0]),
            "moved_in": int(flow[1:, k].sum() - flow[k, k]),
            "newly_voted": int(flow[0, k]),
            "after": int(flow[:, k].sum()),
        }
        for k in range(1, count + 1)
    ]


def states_gone(before: Array, kept: Array) -> list[dict[str, int]]:
    """States of the first election that the second does not have, with their particles."""
    members = np.bincount(before)
    gone = sorted(set(np.flatnonzero(members).tolist()) - {0, *map(int, kept)})
    return [{"state": k, "particles": int(members[k])} for k in gone]


def voted_energies(particles: Array) -> tuple[Array, Array]:
    """Energy of every state from its particles, and its standard error by counting.

    Parameters
    ----------
    particles : (K,) int array
        Particles of every state.

    Returns
    -------
    (K,) float64, (K,) float64
        ``-ln(n / N)`` in kT, and the standard error ``sqrt((1 - n / N) / n)`` of multinomial
        counts; NaN where a state has no particle.
    """
    counts = np.asarray(particles, np.float64)
    total = max(float(counts.sum()), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        energies = np.where(counts > 0, -np.log(counts / total), np.nan)
        errors = np.where(counts > 0, np.sqrt((1 - counts / total) / counts), np.nan)
    return energies, errors
