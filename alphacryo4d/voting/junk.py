"""Junk in the results of a vote: columns of the tables and figures of the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import NO_ROWS, Array
from alphacryo4d.core.words import plural
from alphacryo4d.voting.null_figures import number

logger = logging.getLogger(__name__)

SIGNAL, OUTLIER = "ac4dSignal", "ac4dOutlier"
JUNK = "junk: its images show no particle"
"""Verdict on a state of junk."""
_SURE = 4.0
_LEAST_SIGNAL = 0.5
"""Mean amplitude of a state's images below which it is junk: halfway from a particle to none."""
_ESCAPED = 0.65
"""The same of a small group, which junk that has more than half a signal may fill."""
_WEAKEST, _LEAST_SHARE, _GAIN, _STEPS = 0.6, 0.04, 4.5, 200
"""Of junk that escaped: its strongest signal, as a part of a particle's; its least share of a
state; the least gain of the state's log-likelihood by it; most steps of the EM."""


def signal_columns(signal: Array | None, outliers: Array) -> dict[str, Array]:
    """Columns of the particle tables; none where nothing was measured or named.

    Parameters
    ----------
    signal : (P, 3) array or None
        Amplitude, error and 1 for junk; amplitudes may be NaN.
    outliers : (n,) int array
        Rows, from 0, that took no part.
    """
    if signal is None:
        return {}
    out = signal[:, 2] > 0
    out[outliers] = True
    amplitude = np.nan_to_num(signal[:, 0].astype(np.float64))
    return {SIGNAL: np.round(amplitude, 4), OUTLIER: out.astype(np.int32)}


def groups_of_junk(amplitude: Array, labels: Array, count: int) -> Array:
    """Groups of particles whose images show no particle in the mean, (count,) bool.

    The mean must lie below half a particle by four standard errors. Junk that was not named has
    just more than that, and gathers in small groups: one of less than half the median size is
    junk, too, where its mean lies below 0.65 by four of its own standard errors.

    Parameters
    ----------
    amplitude : (P,) array
        Of the particle in every image; NaN where it was not measured.
    labels : (P, ...) int array
        Groups of every particle, from 0; negative for none.
    count : int
    """
    known = np.isfinite(amplitude)
    labels = labels[known].reshape(int(known.sum()), labels.size // max(1, len(labels)))
    inside = labels >= 0
    values = np.broadcast_to(amplitude[known, None], labels.shape)[inside]
    sizes = np.bincount(labels[inside], minlength=count)
    sums = np.bincount(labels[inside], values, minlength=count)
    spread = amplitude[known].std() if known.any() else 0.0
    highest = sums + _SURE * spread * np.sqrt(sizes)
    squares = np.bincount(labels[inside], values**2, minlength=count)
    own = _SURE * np.sqrt(np.maximum(squares - sums**2 / np.maximum(sizes, 1), 0.0))
    small = sizes < 0.5 * np.median(sizes[sizes > 0]) if (sizes > 0).any() else sizes > 0
    escaped = small & (sums + own < _ESCAPED * sizes)
    return np.asarray((sizes > 0) & ((highest < _LEAST_SIGNAL * sizes) | escaped))


def states_of_junk(signal: Array, states: Array) -> Array:
    """Numbers, from 1, of states whose images show no particle in the mean.

    Parameters
    ----------
    signal : (P, 3) array
        Of which the first column, the amplitude, is read.
    states : (P,) int array
        State of every particle from 1, 0 for none.
    """
    count = int(states.max(initial=0))
    known = np.isfinite(signal[:, 0])
    mine = states[known]
    members = np.bincount(mine, minlength=count + 1)[1:]
    sums = np.bincount(mine, signal[known, 0], minlength=count + 1)[1:]
    weak = (members > 0) & (sums < _LEAST_SIGNAL * members)
    return 1 + np.flatnonzero(weak | groups_of_junk(signal[:, 0], states - 1, count))


def without_states_of_junk(
    states: Array, signal: Array | None, outliers: Array = NO_ROWS
) -> tuple[Array, Array | None, Array]:
    """States without those of junk, whose particles are named junk.

    Volumes of a few images without the particle lie so far from the others that the prior of the
    components would be about them alone, and a mixture would give such images a state again.

    Parameters
    ----------
    states : (P,) int array
        State of every particle from 1, 0 for none.
    signal, outliers : arrays
        As :func:`signal_columns` takes them.

    Returns
    -------
    states, signal, outliers
        What was given where no state is junk, or all are.
    """
    if signal is None:
        return states, signal, outliers
    junk = states_of_junk(signal, states)
    named = np.isin(states, junk)
    if not named.any() or not (states[~named] > 0).any():
        return states, signal, outliers
    logger.info(
        "junk among the states of the votes, whose images show no particle, is left out: state %s",
        ", ".join(map(str, junk)),
    )  # fmt: skip
    signal = signal.copy()
    signal[named, 2] = 1
    kept = np.where(named, 0, states).astype(states.dtype)
    return kept, signal, np.union1d(outliers, np.flatnonzero(named))


def escaped_junk(
    signal: Array | None, states: Array, count: int, images: Array | None = None
) -> Array:
    """Junk that was not named at first and gathers in a small state, (P,) bool.

    The signals of a state are normal about their own mean, with the deviation that all states have
    about theirs; those of junk that escaped lie anywhere between the weakest that was kept and 0.6
    of a particle. Its share is found state by state, by EM: what is a weak particle in a large
    state is junk where such signals are many. Where that is less than 4% of the state, or makes its
    signals likelier by less than 4.5 nats (three deviations), there is none.

    Parameters
    ----------
    signal : (P, 3) array or None
        As :func:`signal_columns` takes it; nothing escaped where none was named.
    states : (P,) int array
        State of every particle from 1, 0 for none.
    count : int
        States K.
    images : (P,) int array, optional
        Image of every particle, where some are copies of one: they count as one.
    """
    out = np.zeros(len(states), bool)
    if signal is None or not (signal[:, 2] > 0).any():
        return out
    amplitude = signal[:, 0].astype(np.float64)
    known = np.isfinite(amplitude) & (states > 0) & (signal[:, 2] == 0)
    if not known.any():
        return out
    weight = np.ones(len(states))
    if images is not None:
        _, place, copies = np.unique(images, return_inverse=True, return_counts=True)
        weight = 1 / copies[place]
    middle = np.zeros(count + 1)
    members = {k: np.flatnonzero(known & (states == k)) for k in range(1, count + 1)}
    for state, rows in members.items():
        middle[state] = np.median(amplitude[rows]) if len(rows) else 0
    spread = 1.4826 * float(np.median(np.abs(amplitude - middle[states])[known]))
    least, most = float(amplitude[known].min()), _WEAKEST * float(np.median(amplitude[known]))
    if 0 < least < most and spread > 0:
        for rows in members.values():
            if len(rows):
                density = (amplitude[rows] < most) / (most - least)
                out[rows] = _more_often_junk(amplitude[rows], spread, density, weight[rows])
    return out


def _more_often_junk(amplitude: Array, spread: float, density: Array, weight: Array) -> Array:
    """Whether each of the particles (n,) of a state is more likely junk, of the density (n,)."""

    def particle(mean: float) -> Array:
        away = np.square((amplitude - mean) / spread)
        return np.asarray(np.exp(-0.5 * away) / (np.sqrt(2 * np.pi) * spread) + 1e-300)

    alone = particle(float(np.average(amplitude, weights=weight)))
    mean, share, junk = float(np.median(amplitude)), 0.1, np.zeros(len(amplitude))
    for _ in range(_STEPS):
        both = (1 - share) * particle(mean) + share * density
        junk = share * density / both
        mean = float(np.average(amplitude, weights=weight * (1 - junk) + 1e-12))
        before, share = share, float(np.average(junk, weights=weight))
        if abs(share - before) < 1e-6:
            break
    both = (1 - share) * particle(mean) + share * density
    gain = float(weight @ np.log(both / alone))
    return np.asarray((junk > 0.5) & (gain > _GAIN) & (share > _LEAST_SHARE))


def add_junk(report: dict[str, Any], signal: Array | None, outliers: Array, states: Array) -> None:
    """Put into a report what is junk among the particles, and how strong the states' signals are.

    Parameters
    ----------
    report : dict
        Of :func:`alphacryo4d.voting.report.make_report`.
    signal, outliers : arrays
        As :func:`signal_columns` takes them.
    states : (P,) int array
        State of every particle from 1, 0 for none.
    """
    junk = np.zeros(len(states), bool) if signal is None else signal[:, 2] > 0
    report["outliers"] = [int(row) + 1 for row in outliers if not junk[row]]
    report["no_signal"] = int(junk[outliers].sum())
    if signal is None or not np.isfinite(signal[:, 0]).any():
        return
    report["no_signal_kept"] = int((junk & (states > 0)).sum())
    named = states_of_junk(signal, states)
    for entry in report["per_state"]:
        mine = signal[states == entry["state"], 0]
        mine = mine[np.isfinite(mine)]
        entry["signal"] = number(mine.mean()) if len(mine) else None
        entry["junk"] = entry["state"] in named
    report["junk_states"] = [one["state"] for one in report["per_state"] if one["junk"]]


def outliers_named(report: Mapping[str, Any]) -> str:
    """Say how many are voted out, and which of them since their images show no particle."""
    rows, junk = report.get("outliers", []), report.get("no_signal", 0)
    parts = [f"{junk} of them junk: no signal of the particle"] if junk else []
    if rows:
        more = " ..." if len(rows) > 10 else ""
        named = f"row {str(rows[:10])[1:-1]}{more}"
        parts.append(f"{len(rows)} of them images unlike all others: {named}")
    out = f"{report['voted_out']} voted out"
    return f"{out} ({'; '.join(parts)})" if parts else out


def junk_lines(report: Mapping[str, Any]) -> list[str]:
    """Line that names the states of junk, and the junk that was kept."""
    states, kept = report.get("junk_states", []), report.get("no_signal_kept", 0)
    lines = []
    if states:
        named = ", ".join(map(str, states))
        lines.append(f"JUNK: the images of state {named} show no particle; they are no states")
    if kept:
        lines.append(f"{plural(kept, 'particle')} with a state and without signal of the particle")
    return lines
