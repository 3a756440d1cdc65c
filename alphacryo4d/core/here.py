"""Commands in a project folder: what need not be given there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alphacryo4d.core.files import JOB_JSON, RECLASSIFY, RESAMPLE, VOTE
from alphacryo4d.core.job import recorded_inputs

OUTPUTS = ("output_path",)
"""Values that name what is written; all others must exist to be filled in."""


def is_project(folder: Path) -> bool:
    """Whether the resample stage has worked in a folder."""
    return (folder / RESAMPLE / JOB_JSON).is_file()


def fill_from_project(values: dict[str, Any], **places: str) -> None:
    """Fill values that were not given from the project folder that one works in.

    Nothing is filled where an input was given: two projects are never mixed.

    Parameters
    ----------
    values : dict
        Values of a command by name; ``input_path`` is that of ``--i``.
    **places : str
        Path inside a project folder by the name of the value.
    """
    if values.get("input_path") is not None or not is_project(Path()):
        return
    for name, place in places.items():
        if values.get(name) is None and (name in OUTPUTS or Path(place).exists()):
            values[name] = Path(place)


def states_here() -> str:
    """Folder of the best states of the project that one works in."""
    return RECLASSIFY if (Path(RECLASSIFY) / "particles.star").is_file() else VOTE


def table_of_project(project: Path) -> Path | None:
    """Particle table that a project was made from; None where there is no project."""
    inputs = recorded_inputs(project / RESAMPLE) if is_project(project) else []
    return inputs[0] if inputs else None
