"""Write the page of a project: one HTML file that needs nothing else."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from alphacryo4d import __version__
from alphacryo4d.core import files
from alphacryo4d.core.colours import STATE_COLOURS
from alphacryo4d.core.contents import warn_changed
from alphacryo4d.core.errors import InputError
from alphacryo4d.report.advice import edit_command, next_commands, path_command, reclassify_signs
from alphacryo4d.report.landscape_view import landscape_views
from alphacryo4d.report.maps import box_for
from alphacryo4d.report.page import page_text
from alphacryo4d.report.particle_space_view import particle_space_view
from alphacryo4d.report.particles_view import particles_view
from alphacryo4d.report.payload import Payload
from alphacryo4d.report.project_files import StateSet, state_sets
from alphacryo4d.report.provenance import provenance
from alphacryo4d.report.scene_stage import scene_of
from alphacryo4d.report.states import set_of_states
from alphacryo4d.report.training_view import training_view
from alphacryo4d.report.verdict import sentence, signs

logger = logging.getLogger(__name__)

REPORT_HTML = "report.html"
_IMAGE = 72
"""Edge of slices and projections (pixels)."""


def write_report_page(
    project: Path, output: Path | None = None, selection: str | None = None
) -> Path:
    """Write ``report.html`` of a project.

    Parameters
    ----------
    project : Path
        Project folder; stages that are missing are left out of the page.
    output : Path, optional
        File to write; ``report.html`` in the project by default.
    selection : str, optional
        Folder with the states that the page shows first; the last one by default.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        The folder is no project.
    """
    warn_changed(project)
    data, payload = project_data(project)
    data["first"] = selection
    path = output or project / REPORT_HTML
    files.remove_stale(path)
    files.write_text(path, page_text(data, payload))
    logger.info("%s: %.1f MB", path, path.stat().st_size / 1e6)
    return path


def page_of_run(project: Path, *, again: bool) -> Path:
    """Page at the end of a run: made anew, or as it is where the run had nothing to do."""
    path = project / REPORT_HTML
    return write_report_page(project) if again or not path.is_file() else path


def project_data(project: Path) -> tuple[dict[str, Any], Payload]:
    """What the page shows, and the arrays that go with it."""
    if not project.is_dir():
        what = "a file, no project folder" if project.exists() else "no such folder"
        raise InputError(f"{project}: {what}; name the one that `alphacryo4d run --o` wrote")
    sets = state_sets(project)
    started = (files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE)
    if not sets and not any((project / name / files.JOB_JSON).is_file() for name in started):
        raise InputError(
            f"{project}: no project folder; name the one that `alphacryo4d run --o` wrote"
        )
    payload = Payload()
    box = box_for(sum(len(state_set.report.get("per_state", [])) for state_set in sets) + 24)
    landscapes = landscape_views(project, sets, payload, box=box)
    training = training_view(project, payload)
    origin = provenance(project, sets)
    shown = []
    for state_set in sets:
        landscape = landscapes.get(state_set.landscape.name)
        one = set_of_states(
            state_set, payload, _errors_of(state_set, landscape), image=_IMAGE, box=box
        )
        one["landscape"] = state_set.landscape.name
        one["scene"] = scene_of(project, state_set, sets)
        one["sentence"] = sentence(one)
        one["signs"] = reclassify_signs(project, state_set.key)
        one["signs"] += signs(one, landscape, training, origin["missing_inputs"])
        one["commands"] = next_commands(project, one, landscape, [s.key for s in sets])
        shown.append(one)
    data = {
        "project": project.resolve().name,
        "folder": str(project),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "version": __version__,
        "sets": shown,
        "palette": STATE_COLOURS,
        "landscapes": landscapes,
        "particles": particles_view(project, sets, payload),
        "particle_space": particle_space_view(project),
        "training": training,
        "provenance": origin,
        "path_command": path_command(project),
        "edit_commands": {
            state_set.key: edit_command(project, state_set.key) for state_set in sets
        },
    }
    return data, payload


def _errors_of(state_set: StateSet, landscape: dict[str, Any] | None) -> dict[int, float]:
    """Errors of energies belong to the states of the landscape, which are those of its votes."""
    own = state_set.key == files.VOTE or state_set.landscape.name != files.LANDSCAPE
    if landscape is None or not own or state_set.key in landscape.get("sets", {}):
        return {}
    return {one["state"]: one["error"] for one in landscape["states"]}
