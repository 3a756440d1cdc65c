"""Sets of states in a project: votes, edited votes, reclassifications; their folders and names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import recorded_inputs
from alphacryo4d.core.reading import read_object
from alphacryo4d.io.star import read_table

STATE_NAME = "ac4dStateName"
"""Column of names of states."""

_NONE, _REPORT = "none", "report.json"

logger = logging.getLogger(__name__)


def known_selections(project: Path) -> list[str]:
    """Folders of a project with particles and states, votes first; not votes for a null model."""
    found = sorted(path.parent for path in project.glob(f"*/{files.PARTICLES_STAR}"))
    found = [one for one in found if one.name != files.VOTE_NULL]
    names = [one.name for one in found if one.name == files.VOTE or (one / _REPORT).is_file()]
    return sorted(names, key=lambda name: name != files.VOTE)


def selection_folder(project: Path, name: str) -> Path:
    """Folder of a set of states by its name.

    Raises
    ------
    UsageError
        There is none of that name; those that are there are told.
    """
    folder = project / name
    if "/" in name or name.startswith(".") or not (folder / files.PARTICLES_STAR).is_file():
        known = ", ".join(known_selections(project)) or "none"
        raise UsageError(f"--selection {name}: no such set of states in {project}; there: {known}")
    return folder


def states_folder(given: Path, selection: str | None) -> Path:
    """Folder with states, where a command takes one or a project.

    Of a project it is the set that was asked for, else the reclassification, else the votes.
    """
    if not (given / files.RESAMPLE).is_dir():
        if selection is not None:
            raise UsageError(f"--selection {selection}: goes with a project folder as --i")
        return given
    selection = selection or usual_selection(given)
    folder = selection_folder(given, selection)
    say_selection(given, selection)
    return folder


def usual_selection(project: Path) -> str:
    """States of a project where none are asked for: of the reclassification, else of the votes."""
    again = project / files.RECLASSIFY / files.PARTICLES_STAR
    return files.RECLASSIFY if again.is_file() else files.VOTE


def say_selection(project: Path, name: str, others: str = "--selection takes {}") -> None:
    """Say which states of a project a command uses, and how to use which others."""
    known = [one for one in known_selections(project) if one != name]
    of = {files.VOTE: "the votes (vote)", files.RECLASSIFY: "the reclassification (reclassify)"}
    more = f"; {others.format(', '.join(known))}" if known else ""
    logger.info("states of %s%s", of.get(name, name), more)


def landscape_folder(states: Path) -> Path:
    """Folder of the landscape that a set of states is of, by what its work recorded.

    A reclassification is of the landscape of the states that it began with. Where nothing is
    recorded it is the landscape of the project.
    """
    report = states / _REPORT
    begun = read_object(report).get("first_selection") if report.is_file() else None
    first = states.parent / str(begun)
    if begun not in (None, states.name) and (first / files.PARTICLES_STAR).is_file():
        return landscape_folder(first)
    for path in recorded_inputs(states):
        if path.name == files.EMBEDDING_NPY and path.parent.is_dir():
            return path.parent
    return states.parent / files.LANDSCAPE


def states_table(states: Path) -> Path | None:
    """Table of the places that the states of a set have in the plane: its own, or its landscape's.

    None where they have none: states of single particles, and of a reclassification.
    """
    own = states / files.STATES_STAR
    if own.is_file():
        return own
    inputs = recorded_inputs(states)
    if inputs and not any(path.name == files.EMBEDDING_NPY for path in inputs):
        return None
    return landscape_folder(states) / files.STATES_STAR


def of_single_particles(states: Path, report: dict[str, Any]) -> bool:
    """Whether a set's states are basins of the density of single particles, not of volumes."""
    return not report.get("first_states") and states_table(states) is None


def volume_states_file(states: Path) -> Path:
    """States of the class volumes as a set numbers them: its own, else those of its landscape."""
    own = states / files.VOLUME_STATES_NPY
    return own if own.is_file() else landscape_folder(states) / files.VOLUME_STATES_NPY


def state_names(folder: Path) -> dict[int, str]:
    """Names of the states of a folder by their numbers; states without a name are left out."""
    path = folder / files.STATES_STAR
    if path.is_file():
        table = read_table(path, "states")
        if STATE_NAME not in table:
            return {}
        named = enumerate((unquoted(name) for name in table[STATE_NAME]), 1)
        return {number: name for number, name in named if name}
    path = folder / _REPORT
    if not path.is_file():
        return {}
    rows = read_object(path).get("per_state", [])
    return {int(row["state"]): str(row["name"]) for row in rows if row.get("name")}


def state_number(text: str, folder: Path | None) -> int:
    """Number of a state that is given by number or by name.

    Raises
    ------
    InputError
        No state has that name.
    """
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    names = {} if folder is None else state_names(folder)
    for number, name in names.items():
        if word(name) == word(text):
            return number
    known = ", ".join(names.values()) or "none has a name"
    raise InputError(f"--state {text}: no state of that number or name; names: {known}")


def word(name: str) -> str:
    """Name of a state as one word of a table; ``none`` for no name."""
    return "_".join(name.split()) or _NONE


def unquoted(name: object) -> str:
    """Name of a state by its word in a table; empty for none."""
    return "" if str(name) == _NONE else str(name).replace("_", " ")
