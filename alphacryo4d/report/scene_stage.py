"""The scene for ChimeraX of a project's states, for the command and for the page."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.contents import warn_changed
from alphacryo4d.core.errors import InputError
from alphacryo4d.maths.contrast import level_of
from alphacryo4d.report.landscape_sets import circles_of, states_by_set
from alphacryo4d.report.project_files import StateSet, read_optional, read_table, state_sets
from alphacryo4d.report.scene import SceneMap, scene_text
from alphacryo4d.selection.sets_stage import selection_folder, states_folder
from alphacryo4d.voting.output_stage import state_table

logger = logging.getLogger(__name__)


SCENE_CXC = "states.cxc"
_FINE = 100
"""Edge from which the level of a map is found on every second voxel, or fewer."""


def write_scene(project: Path, output: Path | None = None, selection: str | None = None) -> Path:
    """Write the scene of a set of states.

    Parameters
    ----------
    project : Path
    output : Path, optional
        File to write; ``states.cxc`` in the project by default.
    selection : str, optional
        Folder with the states; the reclassification by default, else the votes.

    Raises
    ------
    InputError
        No state has a map.
    """
    warn_changed(project)
    if selection is None:
        folder = states_folder(project, None)
    else:
        folder = selection_folder(project, selection)
    sets = state_sets(project)
    if not sets:
        raise InputError(
            f"{project}: no states in this folder; name the project that `alphacryo4d run --o` "
            "wrote"
        )
    state_set = next((one for one in sets if one.key == folder.name), None)
    path = output or project / SCENE_CXC
    text = None if state_set is None else scene_of(project, state_set, sets, path)
    if text is None:
        raise InputError(
            f"{folder}: no maps of states; make them with `alphacryo4d vote reconstruct --i "
            f"{folder} --o {folder}`"
        )
    files.write_text(path, text)
    logger.info("open it in ChimeraX: chimerax %s", path)
    return path


def scene_of(
    project: Path, state_set: StateSet, sets: list[StateSet], path: Path | None = None
) -> str | None:
    """Text of the scene of one set; None where it has no maps.

    Parameters
    ----------
    project : Path
    state_set : StateSet
    sets : list of StateSet
        All sets of the project.
    path : Path, optional
        File of the scene; one in the project folder by default.
    """
    from alphacryo4d.io.mrc import read_volume

    path = path or project / SCENE_CXC
    home = Path(os.path.abspath(path)).parent  # noqa: PTH100
    named = {int(row["state"]): str(row.get("name") or "") for row in state_set.report["per_state"]}
    maps, levels, shape = [], [], None
    for state in order_along_path(state_set, sets, list(named)):
        place = state_table(state_set.folder, state, ".mrc")
        if not place.is_file():
            continue
        try:
            volume, _ = read_volume(place)
        except InputError as error:
            logger.warning("%s; the scene goes without it", error)
            continue
        shape = volume.shape if shape is None else shape
        if volume.shape != shape:
            logger.warning("%s: of another box than those before; the scene goes without it", place)
            continue
        stride = max(1, len(volume) // _FINE)
        levels.append(level_of(volume[::stride, ::stride, ::stride]))
        relative = os.path.relpath(os.path.abspath(place), home)  # noqa: PTH100
        maps.append(SceneMap(state, named[state], relative))
    if not maps:
        return None
    title = f"States of {state_set.folder.name}"
    return scene_text(maps, float(np.median(levels)), title=title, file=path.name)


def order_along_path(state_set: StateSet, sets: list[StateSet], numbers: list[int]) -> list[int]:
    """States in the order in which the path of the landscape passes them.

    By their numbers where there is no path, or no place of every state.
    """
    landscape = state_set.landscape
    route = read_optional(landscape / files.PATH_NPY, ndim=2)
    circles = circles_of(read_table(landscape / files.STATES_STAR, "states"))
    labels = read_optional(landscape / files.VOLUME_STATES_NPY, ndim=1)
    own = states_by_set(sets, circles, labels).get(state_set.key, {"states": circles})
    places = {state["state"]: (state["x"], state["y"]) for state in own["states"]}
    if route is None or not set(numbers) <= set(places):
        return sorted(numbers)

    def along(state: int) -> tuple[int, int]:
        return int(((route - np.array(places[state])) ** 2).sum(axis=1).argmin()), state

    return sorted(numbers, key=along)
