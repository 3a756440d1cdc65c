"""The last lines of what comes after the states: refinement, zoom, single particles, tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.job import read_job, recorded_inputs
from alphacryo4d.core.reading import read_object
from alphacryo4d.core.words import plural
from alphacryo4d.report.project_files import read_columns


def range_said(values: Sequence[float | None], limited: bool = False) -> str:
    """Resolution range, best first; nothing where none is known.

    Parameters
    ----------
    values : sequence of float or None
        A.
    limited : bool
        The best is the limit of the pixels.
    """
    known = [value for value in values if value and np.isfinite(value)]
    if not known:
        return ""
    low, high = f"{min(known):.1f}", f"{max(known):.1f}"
    finer = " or finer" * limited
    if low == high:
        return f"; resolution {low} A{finer}"
    return f"; resolution {low}{finer} to {high} A"


def made_said(made: Sequence[dict[str, Any]]) -> str:
    """Resolution range of maps, from what is on record of each."""
    values = [one.get("resolution_masked") or one.get("resolution_unmasked") for one in made]
    return range_said(values, any(one.get("at_pixel_limit") for one in made))


Lines = tuple[str, Path, list[list[Any]]]
"""Result, file to open first, commands."""


def first_input(folder: Path) -> Path | None:
    """First input of the work in a folder, as seen from here."""
    inputs = recorded_inputs(folder)
    if not inputs:
        return None
    place = os.path.relpath(inputs[0])
    return Path(place) if not folder.is_absolute() else inputs[0].resolve()


def of_refine(folder: Path) -> Lines:
    """Of a refinement of states, or its commands."""
    record = read_job(folder) or {}
    maps = [name for name in record["outputs"] if name.endswith(".mrc")]
    states = len(record["inputs"])
    result = (
        f"{len(maps)} of {states} states refined"
        if maps
        else f"commands of {plural(states, 'state')}"
    )
    table = first_input(folder)
    home = folder.parent if table is None else table.parent.parent
    return (
        result,
        folder / record["outputs"][0],
        [["report", "--i", home], ["status", "--i", home]],
    )


def of_particles(folder: Path) -> Lines:
    """Of the particle landscape."""
    noted = (read_job(folder) or {})["results"]
    project, page = folder.parent, ["report", "--i", folder.parent]
    if not noted["components"]:
        result = "no structure: no component makes held-out particles more likely than their mean"
        return result, folder / "components.csv", [page, ["status", "--i", project]]
    states = noted["density_states"]
    result = (
        f"{plural(noted['components'], 'component')}; density over "
        f"{noted['dimensions']} with {plural(states, 'state')}, {noted['verdict']}"
    )
    numbers = tuple(f"forward_{name}_kt" for name in ("value", "low", "high"))
    barriers = read_columns(folder / "barriers.csv", numbers=numbers)
    if len(barriers.get("forward_value_kt", [])):
        height, low, high = (
            [float(value) for value in barriers[f"forward_{name}_kt"]]
            for name in ("value", "low", "high")
        )
        top = int(np.argmax(height))
        result += (
            f"; highest barrier {height[top]:.1f} kT, 90% interval {low[top]:.1f} to "
            f"{high[top]:.1f}"
        )
    at = ["--at", "states;path:10"] if (folder / files.PATH_NPY).is_file() else ["--at", "states"]
    volumes: list[Any] = ["volume", "--i", folder, *at, "--o", project / files.PARTICLE_VOLUMES]
    votes: list[Any] = ["vote", "density", "--i", project]
    return result, folder / "energies.png", [volumes, votes if states > 1 else page]


def of_zoom(folder: Path) -> Lines:
    """Of the particles of a state."""
    from alphacryo4d.particles.open import open_table

    table = folder / files.PARTICLES_STAR
    record = read_job(folder) or {}
    noted, options = record.get("results", {}), record.get("options", {})
    commands = _of_its_own(folder)
    if (noted.get("homogeneity") or {}).get("homogeneous"):
        project = recorded_inputs(folder)[0].parent.parent
        source = project / (options.get("selection") or files.VOTE)
        commands = [["report", "--i", project]]
        if options.get("state"):
            one = ["--states", options["state"], "--o", f"{folder}-refine"]
            commands = [["vote", "refine", "--i", source, *one], *commands]
    return f"{open_table(table).rows:,} particles of the sub-project", table, commands


def _of_its_own(folder: Path) -> list[list[Any]]:
    """Commands for particles that were taken out of a project."""
    table = folder / files.PARTICLES_STAR
    noted = (read_job(folder) or {}).get("results", {})
    images = ["--images-from", noted["images_from"]] if noted.get("images_from") else []
    return [
        ["check", "--i", table, *images],
        ["run", "--i", table, "--o", folder / "project", *images],
    ]


def of_selected(folder: Path) -> Lines:
    """Of particles that were selected."""
    record = read_object(folder / "select.json")
    result = f"{record['particles']:,} of {record['of']:,} particles"
    return result, folder / files.PARTICLES_STAR, _of_its_own(folder)


def of_converted(table: Path) -> Lines:
    """Of a table that was converted; that for cryoSPARC goes on there."""
    commands: list[list[Any]] = [["check", "--i", table]]
    return "particles", table, commands if table.suffix.lower() == ".star" else []


def of_volumes(folder: Path) -> Lines:
    """Of maps at points of the particle landscape."""
    made = read_object(folder / "volumes.json")["volumes"]
    coordinates = first_input(folder)
    landscape = folder if coordinates is None else coordinates.parent
    project = landscape.parent
    commands: list[list[Any]] = [["report", "--i", project]]
    states = ((read_job(landscape) or {}).get("results") or {}).get("density_states") or 0
    if states > 1 and not (project / files.VOTE_DENSITY).is_dir():
        commands.insert(0, ["vote", "density", "--i", project])
    result = f"maps at {plural(len(made), 'point')}{made_said(made)}"
    return result, folder / "volumes.csv", commands
