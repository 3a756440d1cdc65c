"""The landscape for the page: map of energy, volumes, states, path and what lies along it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.io.mrc import release_pages
from alphacryo4d.landscape.barriers import Interval
from alphacryo4d.landscape.heights import Heights
from alphacryo4d.landscape.plots import colour_range
from alphacryo4d.maths.contrast import level_of
from alphacryo4d.report.checks import stability_of
from alphacryo4d.report.landscape_sets import states_by_set
from alphacryo4d.report.maps import along_path, bytes_of, grey_window, resized
from alphacryo4d.report.payload import Payload
from alphacryo4d.report.project_files import StateSet, read_columns, read_optional, read_table
from alphacryo4d.report.states import quiet

THUMBNAIL = 40
FRAMES = 21
"""Maps along the path that the morph goes through."""


def landscape_views(
    project: Path, sets: list[StateSet], payload: Payload, *, box: int
) -> dict[str, dict[str, Any]]:
    """Landscape of the project and those that sets are of, by their folders; those that exist."""
    folders = {files.LANDSCAPE: project / files.LANDSCAPE}
    folders |= {one.landscape.name: one.landscape for one in sets}
    views = {
        key: landscape_view(
            project, folder, [one for one in sets if one.landscape.name == key], payload, box=box
        )
        for key, folder in folders.items()
    }
    return {key: view for key, view in views.items() if view is not None}


def landscape_view(
    project: Path, folder: Path, sets: list[StateSet], payload: Payload, *, box: int
) -> dict[str, Any] | None:
    """Everything about one landscape and the sets of it; None where there is none."""
    points = read_optional(folder / files.EMBEDDING_NPY, ndim=2)
    if points is None or points.shape[1] != 2:
        return None
    points = np.asarray(points, np.float64)
    volumes = _volume_columns(project, len(points))
    states = read_table(folder / files.STATES_STAR, "states")
    data: dict[str, Any] = {
        "folder": folder.name,
        "points": payload.add(f"{folder.name}/points", points.astype(np.float32)),
        "count": len(points),
        "columns": _columns(folder, volumes, len(points)),
        "names": volumes.get("names", [f"volume {i + 1}" for i in range(len(points))]),
        "states": [
            {
                "state": int(states["ac4dState"][i]),
                "x": float(states["ac4dCenterX"][i]),
                "y": float(states["ac4dCenterY"][i]),
                "radius": float(states["ac4dRadius"][i]),
                "energy": float(states["ac4dEnergy"][i]),
                "error": float(states["ac4dEnergyError"][i]),
            }
            for i in range(len(states.get("ac4dState", [])))
            if "ac4dEnergyError" in states
        ],
        "grid": _grid(folder, points, payload),
        "path": _path(folder),
        "stability": stability_of(folder),
    }
    labels = read_optional(folder / files.VOLUME_STATES_NPY, ndim=1)
    if labels is None or len(labels) == len(points):
        data["sets"] = states_by_set(sets, data["states"], labels)
    space = read_optional(folder / "embedding3d.npy", ndim=2)
    if space is not None and space.shape == (len(points), 3):
        data["space"] = payload.add(f"{folder.name}/space", space.astype(np.float32))
    stack = read_optional(project / files.RESAMPLE / files.VOLUMES_NPY, ndim=4, memory_map=True)
    if stack is not None and len(stack) == len(points):
        data["slices"] = _slices(stack, payload)
        data["morph"] = _morph(stack, points, volumes, data, payload, box=box)
    return data


def _volume_columns(project: Path, count: int) -> dict[str, Any]:
    """Columns of ``volumes.star``, if they fit the embedding."""
    table = read_table(project / files.RESAMPLE / files.VOLUMES_STAR, "volumes")
    if len(table.get("ac4dVolumeName", [])) != count:
        return {}
    columns: dict[str, Any] = {"names": [str(name) for name in table["ac4dVolumeName"]]}
    for name, column in (
        ("particles", "ac4dParticleCount"),
        ("batch", "ac4dBatch"),
        ("fold", "ac4dFold"),
        ("resolution", "rlnEstimatedResolution"),
        ("voxel_size", "rlnPixelSize"),
    ):
        if column in table:
            columns[name] = np.asarray(table[column], np.float64)
    return columns


def _columns(folder: Path, volumes: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What volumes can be coloured by."""
    sources = [
        ("State", "category", read_optional(folder / files.VOLUME_STATES_NPY, ndim=1)),
        ("Volume energy (kT)", "number", read_optional(folder / files.ENERGY_NPY, ndim=1)),
        (
            "Error of the volume energy (kT)",
            "number",
            read_optional(folder / files.ENERGY_ERROR_NPY),
        ),
        ("Particles", "number", volumes.get("particles")),
        ("Fold", "category", volumes.get("fold")),
        ("Batch", "category", volumes.get("batch")),
        ("Resolution (\u00c5)", "number", volumes.get("resolution")),
    ]
    return [
        {"title": title, "kind": kind, "values": [float(f"{x:.5g}") for x in values]}
        for title, kind, values in sources
        if values is not None and len(values) == count and np.isfinite(values).any()
    ]


def _grid(folder: Path, points: Array, payload: Payload) -> dict[str, Any] | None:
    """Energy between the volumes on a grid, from ``landscape.csv``; NaN outside.

    Its colours have the range of ``landscape.png``, by the energies at the volumes.
    """
    table = read_columns(folder / "landscape.csv", numbers=("rc1", "rc2", "energy_kt"))
    if not table or not len(table["rc1"]):
        return None
    x, columns = np.unique(table["rc1"], return_inverse=True)
    y, rows = np.unique(table["rc2"], return_inverse=True)
    values = np.full((len(y), len(x)), np.nan, np.float32)
    values[rows, columns] = table["energy_kt"]
    near = [np.abs(held[:, None] - points[:, i]).argmin(0) for i, held in ((1, y), (0, x))]
    at_volumes = values[near[0], near[1]]
    known = np.isfinite(at_volumes).any()
    return {
        "x": x.round(5),
        "y": y.round(5),
        "values": payload.add(f"{folder.name}/grid", values),
        "range": colour_range(at_volumes) if known else None,
    }


def _path(folder: Path) -> dict[str, Any] | None:
    """Energy along the path and its barriers; None where no path was asked for."""
    table = read_columns(folder / "path.csv", numbers=("length", "energy_kt"))
    if not table or len(table["length"]) < 2:
        return None
    shown = {name: held.round(5) for name, held in table.items() if held.dtype.kind == "f"}
    return {**shown, "barriers": _barriers(folder / "barriers.csv")}


def _barriers(path: Path) -> list[dict[str, Any]]:
    """Barriers of the path: place, height along it (kT) with its interval, and how it is written.

    The lowest paths there are are no barriers of this one.
    """
    table = read_columns(path, numbers=("top_rc1", "top_rc2", *_HEIGHTS))
    rows: dict[str, dict[str, int]] = {}
    for i, name in enumerate(table.get("barrier", ())):
        number, _, way = str(name).rpartition(" ")
        if not number.startswith("lowest"):
            rows.setdefault(number, {})[way] = i

    def interval(row: int) -> Interval:
        return Interval(*(float(table[name][row]) for name in _HEIGHTS))

    shown = []
    for number, ways in rows.items():
        if "forward" not in ways:
            continue
        row = ways["forward"]
        one = Heights(interval(row), interval(ways.get("backward", row)))
        shown.append({
            "name": number, "x": float(table["top_rc1"][row]), "y": float(table["top_rc2"][row]),
            "height": one.forward.value, "low": one.forward.low, "high": one.forward.high,
            "known": one.known, "resolved": one.resolved, "lost": one.lost,
            "label": one.label, "text": one.text,
        })  # fmt: skip
    return shown


_HEIGHTS = ("height_kt", "low_kt", "high_kt")


def _slices(stack: Array, payload: Payload) -> dict[str, Any]:
    """Central slice of every volume, all on one grey scale."""
    edge = min(THUMBNAIL, stack.shape[-1])
    middle = stack.shape[1] // 2
    name = "volumes/slices"
    if name not in payload.arrays:  # the same for every landscape
        images = np.stack([resized(one[middle], edge) for one in _each(stack)])
        payload.add(name, bytes_of(images, *grey_window([images])))
    return {"edge": edge, "images": name}


def _each(stack: Array) -> Iterator[Array]:
    """Volumes one after the other; what was read of the file is let go."""
    read = _reader(stack)
    return (read(row) for row in range(len(stack)))


def _reader(stack: Array) -> Callable[[int], Array]:
    """Function that copies a volume and lets go of the file's pages, which count as memory."""

    def read(row: int) -> Array:
        volume = np.array(stack[row], np.float32)
        release_pages(stack)
        return volume

    return read


def _morph(
    stack: Array,
    points: Array,
    volumes: dict[str, Any],
    data: dict[str, Any],
    payload: Payload,
    *,
    box: int,
) -> dict[str, Any] | None:
    """Maps along the path, or from state to state where there is no path."""
    route, kind = _route(data)
    if route is None:
        return None
    along = np.linspace(0, 1, FRAMES)
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(route, axis=0), axis=1))])
    places = np.column_stack([np.interp(along * steps[-1], steps, route[:, i]) for i in (0, 1)])
    weights = volumes.get("particles", np.ones(len(points)))
    edge = min(box, stack.shape[-1])
    maps, averaged = along_path(_reader(stack), points, weights, places, box=edge)
    low = float(min(np.percentile(maps, 2), 0.0))
    high = float(np.percentile(maps.max(axis=(1, 2, 3)), 90))
    images = maps[:, edge // 2]
    voxel = float(np.asarray(volumes.get("voxel_size", [1.0]))[0])
    return {
        "kind": kind,
        "places": places.round(5),
        "lengths": (along * steps[-1]).round(5),
        "averaged": averaged.round(1),
        "box": edge,
        "voxel_size": voxel * stack.shape[-1] / edge,
        "range": [low, high],
        "level": level_of(maps[FRAMES // 2]),
        "volumes": payload.add(f"{data['folder']}/morph/volumes", bytes_of(quiet(maps), low, high)),
        "slices": payload.add(
            f"{data['folder']}/morph/slices", bytes_of(images, *grey_window([images]))
        ),
    }


def _route(data: dict[str, Any]) -> tuple[Array | None, str]:
    path = data["path"]
    if path is not None and "rc1" in path:
        return np.column_stack([path["rc1"], path["rc2"]]), "path"
    if len(data["states"]) >= 2:
        return np.array([[state["x"], state["y"]] for state in data["states"]]), "states"
    return None, ""
