"""Cards of states: figures, curves, slices, views and small maps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import AlphaCryo4DError
from alphacryo4d.maths.contrast import level_of
from alphacryo4d.report.checks import null_of
from alphacryo4d.report.maps import ShownMap, bytes_of, grey_window, shown_map
from alphacryo4d.report.payload import Payload
from alphacryo4d.report.project_files import StateSet, logger, read_columns, read_json
from alphacryo4d.selection.sets_stage import of_single_particles
from alphacryo4d.voting.summary import ONE


def set_of_states(
    state_set: StateSet, payload: Payload, energies: dict[int, float], *, image: int, box: int
) -> dict[str, Any]:
    """Everything about the states of one set, its pictures in the payload.

    Parameters
    ----------
    state_set : StateSet
    payload : Payload
        Gets slices, projections and maps.
    energies : dict
        Error of each state's energy (kT) by its number.
    image, box : int
        Largest edge of the images and of the maps for the 3D view (pixels).
    """
    maps = _read_maps(state_set, image=image, box=box)
    resolution = {entry["state"]: entry for entry in state_set.reconstruction.get("states", [])}
    beside = read_json(state_set.local / "reconstruction.json").get("states", [])
    local = {entry["state"]: entry.get("local_resolution") for entry in beside}
    entries = [
        _entry(state_set, row, resolution.get(row["state"], {}), energies, row["state"] in maps)
        | {"local_resolution": local.get(row["state"])}
        for row in state_set.report.get("per_state", [])
    ]
    data = {
        "key": state_set.key,
        "label": state_set.label,
        "states": entries,
        "note": state_set.reconstruction.get("note"),
        "tree": merge_tree(state_set.report),
        **{name: state_set.report.get(name) for name in _WHOLE},
        "single_particles": of_single_particles(state_set.folder, state_set.report),
        "null": null_of(state_set.folder, state_set.report),
        "pose_errors": pose_errors(state_set.report.get("log") or []),
        "numbers": [entry["state"] for entry in entries],
    }
    if maps:
        data["maps"] = _add_maps(state_set.key, maps, payload)
    return data


_WHOLE = (
    "particles", "voted", "voted_out", "folds", "votes_needed", "heldout_agreement",
    "heldout_chance", "support", "verdict", "batches", "assign", "merging_loss",
    "merging_loss_error", "first_states", "changes", "resolution", "log",
)  # fmt: skip


_POSES = re.compile(
    r"(batch \d+ fold \d+): .*?(?:pose sigma|errors of the poses) ([\d.]+) degrees, ([\d.]+) A"
)


def pose_errors(log: list[str]) -> list[float] | None:
    """Spread of the poses' errors (degrees, A) by the log of a reclassification.

    The mean over the folds of what each said last; None where poses were not moved.
    """
    last = {}
    for line in log:
        if match := _POSES.match(line):
            last[match[1]] = (float(match[2]), float(match[3]))
    known = [sigma for sigma in last.values() if min(sigma) > 0]
    return [float(x) for x in np.mean(known, axis=0)] if known else None


def _entry(
    state_set: StateSet,
    row: dict[str, Any],
    made: dict[str, Any],
    energies: dict[int, float],
    mapped: bool,
) -> dict[str, Any]:
    state = int(row["state"])
    alone = row.get("advice") == ONE
    unneeded = ("merges_with", "support_gain", "support_error") if alone else ()
    curve = read_columns(state_set.folder / f"class{state:03d}_fsc.csv")
    return {
        **{name: value for name, value in row.items() if name != "agreement_matrix"},
        **dict.fromkeys(unneeded),
        "name": str(row.get("name") or ""),
        "energy_error": energies.get(state, _sampling_error(row, state_set.report)),
        "resolution": made.get("resolution_masked"),
        "at_pixel_limit": made.get("at_pixel_limit", False),
        "resolution_unmasked": made.get("resolution_unmasked"),
        "fsc": None
        if not all(name in curve and curve[name].dtype.kind == "f" for name in _CURVES)
        else {
            "resolution": np.round(curve["resolution_angstrom"], 3),
            "masked": np.round(curve["fsc_corrected"], 3),
            "unmasked": np.round(curve["fsc_unmasked"], 3),
        },
        "verdict": verdict_of_state(row),
        "mapped": mapped,
    }


_CURVES = ("resolution_angstrom", "fsc_corrected", "fsc_unmasked")


def _sampling_error(row: dict[str, Any], report: dict[str, Any]) -> float | None:
    """Error of -ln(n/N) in kT from counting alone: sqrt(1/n - 1/N)."""
    count, total = row.get("particles", 0), report.get("voted", 0)
    return float(np.sqrt(max(1 / count - 1 / total, 0))) if count and total else None


def verdict_of_state(row: dict[str, Any]) -> dict[str, str]:
    """What held-out particles say of one state: a level (good, warn, off) and words."""
    if row.get("particles", 0) == 0:
        return {"level": "warn", "text": "no particles"}
    if row.get("junk"):
        return {"level": "warn", "text": "junk: its images show no particle"}
    if row.get("supported") is None:
        return {"level": "off", "text": "not tested on held-out particles"}
    if row.get("advice") == ONE:
        return {"level": "off", "text": "one conformation: no other state has particles"}
    if row["supported"]:
        return {"level": "good", "text": "supported by held-out particles"}
    return {
        "level": "warn",
        "text": f"not needed: held-out particles do as well with state {row.get('merges_with')}",
    }


def merge_tree(report: dict[str, Any]) -> list[list[float]] | None:
    """Average-linkage tree of the losses (nats) of merging two states; None without losses.

    Returns
    -------
    list of [first, second, loss, size]
        As of ``scipy.cluster.hierarchy.linkage``: numbers from 0, merged ones go on counting.
    """
    losses = report.get("merging_loss")
    if not losses or len(losses) < 2:
        return None
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    matrix = np.array([[np.nan if x is None else x for x in row] for row in losses], np.float64)
    highest = np.nanmax(matrix) if np.isfinite(matrix).any() else 0.0
    matrix = np.where(np.isfinite(matrix), matrix, highest)
    matrix = np.maximum((matrix + matrix.T) / 2, 0)
    np.fill_diagonal(matrix, 0)
    tree: list[list[float]] = linkage(squareform(matrix), "average").round(5).tolist()
    return tree


def _read_maps(state_set: StateSet, *, image: int, box: int) -> dict[int, tuple[ShownMap, Array]]:
    """Map of every state that has one, with its local resolution (three slices, or none)."""
    from alphacryo4d.io.mrc import read_volume

    maps = {}
    for row in state_set.report.get("per_state", []):
        path = state_set.folder / f"class{int(row['state']):03d}.mrc"
        volume = _volume(path, read_volume)
        if volume is None:
            continue
        shown = shown_map(volume[0], volume[1], image=image, box=box)
        local = _volume(state_set.local / f"{path.stem}_locres.mrc", read_volume)
        slices = np.zeros((0,), np.float32)
        if local is not None:
            slices = shown_map(local[0], local[1], image=image, box=box).slices
        maps[int(row["state"])] = (shown, slices)
    return maps


def _volume(path: Path, read: Any) -> tuple[Array, float] | None:
    if not path.is_file():
        return None
    try:
        volume: tuple[Array, float] = read(path)
    except AlphaCryo4DError as error:
        logger.warning("%s; the page goes without it", error)
        return None
    return volume


def _add_maps(
    key: str, maps: dict[int, tuple[ShownMap, Array]], payload: Payload
) -> dict[str, Any]:
    """Put slices, projections and maps into the payload, each on one scale for all states."""
    shown = {state: views for state, (views, _) in maps.items()}
    first = next(iter(shown.values()))
    same = {state: one for state, one in shown.items() if one.slices.shape == first.slices.shape}
    described: dict[str, Any] = {
        "states": list(same),
        "edge": int(first.slices.shape[-1]),
        "box": len(first.volume),
        "voxel_size": first.voxel_size,
    }
    for name in ("slices", "projections"):
        images = [getattr(one, name) for one in same.values()]
        described[name] = payload.add(
            f"{key}/{name}", bytes_of(np.stack(images), *grey_window(images))
        )
    cubes = np.stack([one.volume for one in same.values()])
    low, high = 0.0, float(np.percentile(cubes.max(axis=(1, 2, 3)), 90))
    low = float(min(np.percentile(cubes, 2), 0.0))
    described |= {
        "volumes": payload.add(f"{key}/volumes", bytes_of(quiet(cubes), low, high)),
        "range": [low, high],
        "level": float(np.median([level_of(one) for one in cubes])),
    }
    local = {state: slices for state, (_, slices) in maps.items() if slices.size}
    if local:
        values = np.stack(list(local.values()))
        low, high = (float(x) for x in np.percentile(values, [2, 90]))
        described["local"] = {
            "states": list(local),
            "range": [low, high],
            "slices": payload.add(f"{key}/local", bytes_of(values, low, high)),
        }
    return described


def quiet(cubes: Array) -> Array:
    """Cubes (K, n, n, n) with zeros in the corners, outside the sphere that every map has."""
    edge = cubes.shape[-1]
    axis = (np.arange(edge) - edge // 2) ** 2
    outside = axis[:, None, None] + axis[:, None] + axis > (edge / 2) ** 2
    return np.where(outside, np.float32(0), cubes)
