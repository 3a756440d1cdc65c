"""Scores of classes against the truth, as the blind assessment defines them (4.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alphacryo4d.assessment.imaging import FloatArray
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError

FOUND_SHARE = 0.1
"""A state is found when its class holds at least this share of its particles."""


@dataclass(frozen=True)
class Score:
    """Scores of one classification; arrays are (K,) in the order of ``states``.

    ``states`` are the numbers in the truth, ``particles`` how many each has, ``classes`` the
    class of each state (0: none is labelled with it). ``precision`` and ``recall`` are 0 for a
    state that is not found. ``kept`` is the share of the particles with a state that are in a
    class, ``junk_kept`` that of the others; None where there are none.
    """

    states: npt.NDArray[np.int64]
    particles: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    precision: FloatArray
    recall: FloatArray
    found: npt.NDArray[np.bool_]
    kept: float
    junk_kept: float | None = None

    @property
    def mean_precision(self) -> float:
        """Mean over all states."""
        return float(self.precision.mean())

    @property
    def mean_recall(self) -> float:
        """Mean over all states."""
        return float(self.recall.mean())

    @property
    def states_found(self) -> int:
        """Number of states found."""
        return int(self.found.sum())

    def summary(self) -> dict[str, Any]:
        """The four figures that are always reported together, and the junk kept."""
        figures: dict[str, Any] = {
            "precision": self.mean_precision,
            "recall": self.mean_recall,
            "states_found": self.states_found,
            "states": len(self.states),
            "kept": self.kept,
        }
        return figures if self.junk_kept is None else figures | {"junk_kept": self.junk_kept}


def confusion(labels: Array, truth: Array) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Particles of every class in every state.

    Parameters
    ----------
    labels : (P,) int array
        Class of every particle; 0 and below: in no class.
    truth : (P,) int array
        State of every particle, from 1; 0: junk.

    Returns
    -------
    classes : (C,) array
        Class numbers in use.
    states : (K,) array
        State numbers in use.
    counts : (C, K) array
        Particles.
    """
    kept = labels > 0
    classes, rows = np.unique(labels[kept], return_inverse=True)
    states, columns = np.unique(truth, return_inverse=True)
    flat = np.bincount(rows * len(states) + columns[kept], minlength=len(classes) * len(states))
    return classes, states, flat.reshape(len(classes), len(states)).astype(np.int64)


def score_classes(labels: Array, truth: Array) -> Score:
    """Precision and recall of every state.

    A class is labelled with its majority state. The class of a state is the one, among those
    labelled with it, that holds most of its particles. Precision is the share of the state in
    its class, recall the share of its particles that are there; both are 0 where that is less
    than a tenth of the state. Junk has no state, and counts as wrong in its class; a class of which
    it is the majority is no state's.

    Parameters
    ----------
    labels : (P,) int array
        Class of every particle; 0: voted out.
    truth : (P,) int array
        State of every particle, from 1; 0: junk.

    Raises
    ------
    InputError
        Numbers of particles differ, or there are none.
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape or labels.ndim != 1 or not len(truth):
        raise InputError(
            f"classes of {len(labels)} particles cannot be scored by the truth of {len(truth)}; "
            "both must follow one table"
        )
    classes, states, counts = confusion(labels, truth)
    particles = np.bincount(np.searchsorted(states, truth), minlength=len(states))
    majority = counts.argmax(axis=1) if len(classes) else np.empty(0, np.int64)
    all_of_class = counts.sum(axis=1)
    junk = int(states[0] == 0)
    states, particles, counts, majority = (
        states[junk:],
        particles[junk:],
        counts[:, junk:],
        majority - junk,
    )
    if not len(states):
        raise InputError("the truth has no particle with a state")
    chosen = np.zeros(len(states), np.int64)
    precision, recall = np.zeros(len(states)), np.zeros(len(states))
    for state in range(len(states)):
        rows = np.flatnonzero(majority == state)
        if not len(rows):
            continue
        row = rows[counts[rows, state].argmax()]
        chosen[state] = classes[row]
        precision[state] = counts[row, state] / all_of_class[row]
        recall[state] = counts[row, state] / particles[state]
    found = recall >= FOUND_SHARE
    return Score(
        states=states,
        particles=particles,
        classes=chosen,
        precision=np.where(found, precision, 0.0),
        recall=np.where(found, recall, 0.0),
        found=found,
        kept=float((labels > 0)[truth > 0].mean()),
        junk_kept=float((labels > 0)[truth == 0].mean()) if junk else None,
    )


def volume_labels(assignments: Array, truth: Array) -> tuple[Array, float]:
    """Majority state of every resampled volume, and their mean precision.

    Parameters
    ----------
    assignments : (P, M + 1) int array
        Volume of every particle in every fold; negative: none.
    truth : (P,) int array
        State of every particle, from 1.

    Returns
    -------
    labels : (V,) array
        Majority state; 0 for a volume without particles.
    precision : float
        Share of the majority state, weighted by particles: the purity of the classes.
    """
    used = assignments >= 0
    volumes = assignments[used]
    states = np.broadcast_to(truth[:, None], assignments.shape)[used]
    width = int(truth.max()) + 1
    count = int(volumes.max()) + 1 if len(volumes) else 0
    counts = np.bincount(volumes * np.int64(width) + states, minlength=count * width)
    counts = counts.reshape(count, width)
    total = counts.sum()
    purity = float(counts.max(axis=1).sum() / total) if total else 0.0
    return np.where(counts.any(axis=1), counts.argmax(axis=1), 0), purity


def perfect_votes(assignments: Array, truth: Array) -> Array:
    """State (P,) by votes V > M/2 if every volume had its true label; 0: voted out.

    What is lost between this and the truth is lost by the classes; what is lost between this
    and the found states is lost by state finding.
    """
    labels, _ = volume_labels(assignments, truth)
    folds = assignments.shape[1] - 1
    votes = np.zeros((len(truth), int(truth.max()) + 1), np.int32)
    for column in assignments.T:
        rows = np.flatnonzero(column >= 0)
        votes[rows, labels[column[rows]]] += 1
    votes[:, 0] = 0
    return np.where(votes.max(axis=1) > folds / 2, votes.argmax(axis=1), 0)


def keep_most_certain(labels: Array, certainty: Array, share: float) -> Array:
    """Labels with the least certain particles set to 0, so that ``share`` of them is kept."""
    count = int(round(share * len(labels)))
    order = np.argsort(-np.asarray(certainty), kind="stable")
    kept = np.zeros(len(labels), labels.dtype)
    kept[order[:count]] = labels[order[:count]]
    return kept
