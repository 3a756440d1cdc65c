"""States on the landscape as each set numbers them: its circles, and the state of every volume."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.report.project_files import StateSet, read_optional, read_table
from alphacryo4d.selection.sets_stage import of_single_particles


def states_by_set(
    sets: list[StateSet], states: list[dict[str, Any]], labels: Array | None
) -> dict[str, dict[str, Any]]:
    """States and labels of the volumes of every set that has its own.

    Parameters
    ----------
    sets : list of StateSet
    states : list of dict
        States of the landscape: state, x, y, radius.
    labels : (V,) int array, optional
        State of every volume on the landscape, 0 for none.

    Returns
    -------
    dict
        By the key of a set: ``states``, and ``values``, one a volume. A set without an entry has
        the states of the landscape; states of single particles have no place on it.
    """
    by_set: dict[str, dict[str, Any]] = {}
    for one in sets:
        own = read_optional(one.folder / files.VOLUME_STATES_NPY, ndim=1)
        if own is not None and (labels is None or len(own) == len(labels)):
            circles = circles_of(read_table(one.folder / files.STATES_STAR, "states"))
            by_set[one.key] = {"states": circles, "values": own}
        elif of_single_particles(one.folder, one.report):
            none = None if labels is None else np.zeros_like(labels)
            by_set[one.key] = {"states": [], "values": none}
    waiting = [one for one in sets if one.key not in by_set and one.report.get("first_states")]
    keys = {one.key for one in waiting}
    for one in sorted(waiting, key=lambda one: one.report.get("first_selection") in keys):
        begun = by_set.get(one.report.get("first_selection", files.VOTE))
        begun = begun or {"states": states, "values": labels}
        if begun["values"] is not None:
            first = [int(k) for k in one.report["first_states"]]
            by_set[one.key] = renumbered(begun["states"], begun["values"], first)
        elif not begun["states"]:
            by_set[one.key] = begun
    return by_set


def circles_of(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Number, place and radius of every state of ``states.star``."""
    columns = ("ac4dState", "ac4dCenterX", "ac4dCenterY", "ac4dRadius")
    if not set(columns) <= set(table):
        return []
    rows = zip(*(table[name] for name in columns), strict=True)
    return [
        {"state": int(state), "x": float(x), "y": float(y), "radius": float(radius)}
        for state, x, y, radius in rows
    ]


def renumbered(states: list[dict[str, Any]], labels: Array, first: list[int]) -> dict[str, Any]:
    """States of a reclassification, which keeps some of those it began with, in its numbers.

    Parameters
    ----------
    states : list of dict
        States that it began with.
    labels : (V,) int array
        State of every volume among those.
    first : list of int
        For each new state from 1: the one that it began as.
    """
    new = {old: number for number, old in enumerate(first, 1)}
    lookup = np.zeros(max(int(labels.max(initial=0)), *first) + 1, np.int32)
    lookup[first] = np.arange(1, len(first) + 1)
    shown = [state | {"state": new[state["state"]]} for state in states if state["state"] in new]
    return {"states": shown, "values": lookup[np.maximum(labels, 0)]}
