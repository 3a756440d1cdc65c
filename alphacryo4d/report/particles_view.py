"""Particles for the page: states of every set, confidence, views, defocus, coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import AlphaCryo4DError
from alphacryo4d.io.star import MICROGRAPH_COLUMN
from alphacryo4d.report.advice import select_command
from alphacryo4d.report.maps import bytes_of
from alphacryo4d.report.payload import Payload
from alphacryo4d.report.project_files import StateSet, logger, read_optional
from alphacryo4d.selection.sets_stage import volume_states_file
from alphacryo4d.voting.votes import elect_block

MOST = 400_000
"""Particles that travel with the page; of more, an even sample does."""
_WANTED = (
    "rlnClassNumber", "ac4dConfidence", "rlnAngleRot", "rlnAngleTilt", "rlnDefocusU",
    MICROGRAPH_COLUMN,
)  # fmt: skip
DEFOCUS_BINS, MICROGRAPH_BINS = 12, 24
VIEW_BINS = ((18, 36), (12, 24), (9, 18), (6, 12), (4, 8))
"""Bins of the tilt and of the rot, from fine to coarse."""
LEAST_IN_BIN = 10
"""Particles of a state of the median size in a bin of its views; chance is most of fewer."""


def particles_view(project: Path, sets: list[StateSet], payload: Payload) -> dict[str, Any] | None:
    """Everything about the particles; None where no set has any."""
    tables = {state_set.key: _read(state_set.folder / files.PARTICLES_STAR) for state_set in sets}
    tables = {key: table for key, table in tables.items() if "rlnClassNumber" in table}
    if not tables:
        return None
    count = max(len(table["rlnClassNumber"]) for table in tables.values())
    tables = {key: t for key, t in tables.items() if len(t["rlnClassNumber"]) == count}
    rows = np.arange(count) if count <= MOST else np.linspace(0, count - 1, MOST).astype(np.int64)
    points = coordinates(project, count)
    data: dict[str, Any] = {
        "count": count,
        "shown": len(rows),
        "rows": payload.add("particles/rows", rows.astype(np.uint32)),
        "sets": {},
        "flows": _flows(tables, sets),
        "select_commands": {key: select_command(project, key) for key in tables},
    }
    if points is not None:
        places, source = points
        data["points"] = payload.add("particles/points", places[rows].astype(np.float32))
        data["source"] = source
    for state_set in sets:
        if state_set.key in tables:
            table = tables[state_set.key]
            judged = _judged(state_set, table["rlnClassNumber"])
            agreed = _agrees(project, state_set, judged)
            one = _one_set(state_set.key, table, agreed, rows, payload)
            if agreed is not None:
                one["agreed_counts"] = counts_of(judged.astype(np.int64), agreed, 3)
                one["disagreeing_out"] = "voted_before_heldout" in state_set.report
            data["sets"][state_set.key] = one
    return data


def _read(path: Path) -> dict[str, Array]:
    from alphacryo4d.particles.open import open_table

    if not path.is_file():
        return {}
    try:
        table = open_table(path)
        return table.read([name for name in _WANTED if name in table.columns])
    except AlphaCryo4DError as error:
        logger.warning("%s; the page goes without it", error)
        return {}


def coordinates(project: Path, count: int) -> tuple[Array, str] | None:
    """Where every particle lies (P, 2), and what says so.

    The mean place of the volumes that a particle belongs to, over its folds, on the landscape of
    the volumes: made of the votes alone, so that every project has it.
    """
    embedding = read_optional(project / files.LANDSCAPE / files.EMBEDDING_NPY, ndim=2)
    volumes = read_optional(project / files.RESAMPLE / files.ASSIGNMENTS_NPY, ndim=2)
    if embedding is None or volumes is None or len(volumes) != count:
        return None
    if embedding.shape[1] != 2 or volumes.max(initial=-1) >= len(embedding):
        return None
    total, seen = np.zeros((count, 2)), np.zeros(count)
    for column in volumes.T:
        known = column >= 0
        total[known] += embedding[column[known]]
        seen += known
    places = np.full((count, 2), np.nan, np.float32)
    places[seen > 0] = (total / np.maximum(seen, 1)[:, None])[seen > 0]
    return places, "mean place of the particle's volumes over the folds"


def _heldout_states(project: Path, folder: Path, count: int) -> Array | None:
    """State (P,) of the votes' volumes that each particle fits best in the fold without it."""
    best = read_optional(project / files.RESAMPLE / files.HELDOUT_NPY, ndim=1)
    of_volume = read_optional(volume_states_file(folder), ndim=1)
    if best is None or of_volume is None or len(best) != count:
        return None
    known = (best >= 0) & (best < len(of_volume))
    states = np.zeros(count, np.int32)
    states[known] = of_volume[best[known]]
    return states


def _judged(state_set: StateSet, states: Array) -> Array:
    """States (P,) that held-out folds were asked about, as for the report.

    A reclassification votes out what they do not confirm, so that none of its states would ever
    disagree: these are the states of its votes before that.
    """
    report = state_set.report
    if "voted_before_heldout" not in report:
        return states
    votes = read_optional(state_set.folder / files.VOTES_NPY, ndim=2)
    if votes is None or len(votes) != len(states):
        return states
    return elect_block(votes, report["folds"] - 1, report["votes_needed"])[0]


def _agrees(project: Path, state_set: StateSet, states: Array) -> Array | None:
    """Whether the fold that left a particle out agrees with its state: 1, 0, or 2 if unknown."""
    own = read_optional(state_set.folder / files.HELDOUT_NPY, ndim=1)
    if own is None:
        heldout = _heldout_states(project, state_set.folder, len(states))
    else:
        heldout = None if len(own) != len(states) else _reclassified(state_set, own)
    if heldout is None:
        return None
    agreed: Array = (heldout == states).astype(np.uint8)
    agreed[(states <= 0) | (heldout <= 0)] = 2
    return agreed


def _reclassified(state_set: StateSet, best: Array) -> Array:
    """States of a reclassification's volumes, which are numbered state by state in each fold."""
    count = max(len(state_set.report.get("per_state", [])), 1)
    return np.where(best >= 0, best % count + 1, 0)


def _one_set(
    key: str, table: dict[str, Array], agreed: Array | None, rows: Array, payload: Payload
) -> dict[str, Any]:
    states = np.clip(table["rlnClassNumber"].astype(np.int64), 0, 255)
    most = int(states.max(initial=0))
    data: dict[str, Any] = {
        "states": payload.add(f"particles/{key}/states", states[rows].astype(np.uint8)),
        "counts": np.bincount(states, minlength=most + 1),
    }
    if "ac4dConfidence" in table:
        confidence = table["ac4dConfidence"].astype(np.float64)
        data["confidence"] = payload.add(
            f"particles/{key}/confidence", bytes_of(confidence[rows], 0, 1)
        )
        data["confidence_counts"] = np.histogram(confidence, 20, (0, 1.0001))[0]
    if agreed is not None:
        data["agreed"] = payload.add(f"particles/{key}/agreed", agreed[rows])
    if {"rlnAngleRot", "rlnAngleTilt"} <= set(table):
        data["views"] = payload.add(
            f"particles/{key}/views",
            views_of(states, table["rlnAngleRot"], table["rlnAngleTilt"], most),
        )
    if "rlnDefocusU" in table:
        defocus = table["rlnDefocusU"].astype(np.float64)
        edges = np.unique(np.quantile(defocus, np.linspace(0, 1, DEFOCUS_BINS + 1)))
        if len(edges) > 2:
            bins = np.clip(np.searchsorted(edges, defocus, "right") - 1, 0, len(edges) - 2)
            data["defocus"] = {"edges": edges.round(0), "counts": counts_of(states, bins)}
    if MICROGRAPH_COLUMN in table:
        data["micrographs"] = by_micrograph(states, table[MICROGRAPH_COLUMN])
    return data


def counts_of(states: Array, bins: Array, size: int | None = None) -> Array:
    """Particles (K+1, bins) of every state, 0 for voted out, in every bin."""
    size = int(bins.max(initial=0)) + 1 if size is None else size
    most = int(states.max(initial=0)) + 1
    flat = np.bincount(states * size + bins.astype(np.int64), minlength=most * size)
    return flat.reshape(most, size)


def views_of(states: Array, rot: Array, tilt: Array, most: int) -> Array:
    """Particles (K+1, tilt, rot) of every state in bins of equal area of the sphere."""
    _, sizes = np.unique(states[states > 0], return_counts=True)
    size = float(np.median(sizes)) if len(sizes) else 0.0
    enough = [bins for bins in VIEW_BINS if size >= LEAST_IN_BIN * bins[0] * bins[1]]
    tilts, rots = (enough or VIEW_BINS[-1:])[0]
    across = np.floor(np.mod(rot.astype(np.float64), 360) / 360 * rots).astype(np.int64)
    height = (1 - np.cos(np.deg2rad(tilt.astype(np.float64)))) / 2
    down = np.floor(height * tilts).astype(np.int64)
    across, down = np.clip(across, 0, rots - 1), np.clip(down, 0, tilts - 1)
    flat = (states * tilts + down) * rots + across
    counts = np.bincount(flat, minlength=(most + 1) * tilts * rots)
    return counts.reshape(-1, tilts, rots).astype(np.uint32)


def by_micrograph(states: Array, names: Array) -> dict[str, Any]:
    """States against micrographs: Cramer's V, the same by chance, and the odd ones.

    Micrographs are few or many; the table holds those that differ most from the whole.
    """
    known, numbers = np.unique(names, return_inverse=True)
    counts = counts_of(states, numbers, len(known)).T.astype(np.float64)
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(total, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.where(expected > 0, (counts - expected) ** 2 / expected, 0)
    used = (counts.sum(axis=0) > 0).sum()
    degrees = max(min(len(known), used) - 1, 0)
    cramer = float(np.sqrt(parts.sum() / (total * degrees))) if degrees and total else None
    chance = float(np.sqrt((len(known) - 1) * (used - 1) / (total * degrees))) if degrees else None
    odd = np.argsort(-parts.sum(axis=1), kind="stable")[:MICROGRAPH_BINS]
    return {
        "count": len(known),
        "cramer_v": cramer,
        "cramer_v_by_chance": chance,
        "odd": [
            {"name": str(known[i]), "counts": counts[i].astype(int), "chi2": float(parts[i].sum())}
            for i in odd
        ],
    }


def _flows(tables: dict[str, dict[str, Array]], sets: list[StateSet]) -> dict[str, dict[str, Any]]:
    """Particles (K+1, K'+1), 0 for voted out, from the states that a reclassification began with.

    By the key of the reclassification: ``first``, the key of those, and ``counts``.
    """
    flows = {}
    for one in sets:
        first = one.report.get("first_selection", files.VOTE)
        again = one.key == files.RECLASSIFY or "first_states" in one.report
        if again and {first, one.key} <= set(tables):
            before, after = (
                tables[key]["rlnClassNumber"].astype(np.int64) for key in (first, one.key)
            )
            flows[one.key] = {"first": first, "counts": counts_of(before, after)}
    return flows
