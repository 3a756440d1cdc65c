"""Zoom-in: the particles of one state as a sub-project, resampled with the same commands."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import read_job, recorded_inputs, start_job
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.landscape.grouping.homogeneity import (
    YARDSTICK_SHARE,
    Homogeneity,
    assess_homogeneity,
    neighbours_information,
)
from alphacryo4d.landscape.inputs_stage import read_embedding
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.recorded import images_folder
from alphacryo4d.selection.sets_stage import (
    landscape_folder,
    say_selection,
    selection_folder,
    state_number,
    usual_selection,
)
from alphacryo4d.voting.edits import inside_polygon

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Chosen:
    """What is zoomed into.

    Attributes
    ----------
    landscape : Path
        Folder of the landscape that the states are of.
    inputs : list of Path
        Files that decide it.
    options : dict
    particles : callable
        Particles (P,) bool, and the volumes (V,) bool that hold them, by the assignments.
    """

    landscape: Path
    inputs: list[Path]
    options: dict[str, Any]
    particles: Callable[[Array], tuple[Array, Array]]


def run_zoom(
    project: Path,
    output: Path,
    *,
    state: int | str | None = None,
    polygon: Path | None = None,
    selection: str | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Write the particles of one state, or of a polygon, as the input of a sub-project.

    A particle belongs to it with more than half of its votes in the volumes of the state (or
    inside the polygon), or as the selection has it. Its rows are those of the input, byte for byte.

    Parameters
    ----------
    project : Path
        Project folder with ``resample`` and ``landscape``.
    output : Path
        Folder of the sub-project; ``particles.star`` is written there.
    state : int or str, optional
        State, from 1, or its name.
    polygon : Path, optional
        Corners (N, 2) in the embedding, ``.npy`` or text.
    selection : str, optional
        Folder of the project whose states are meant, such as ``vote-2`` or ``reclassify``; by
        default those of ``output``, of the reclassification, or of the landscape.

    Returns
    -------
    list of Path
    """
    if polygon is None:
        selection = _selection(project, selection, output, state)
    chosen = _chosen(project, state, polygon, selection)
    with start_job(
        output,
        stage="landscape zoom",
        options=chosen.options,
        inputs=chosen.inputs,
        seed=seed,
        flags=flags,
    ) as job:
        if job.finished:
            return job.outputs
        assignments = files.load_array(chosen.inputs[0], dtype=np.integer, ndim=2)
        rows, inside = chosen.particles(assignments)
        if not rows.any():
            raise InputError(f"{output}: no particle has most of its votes there; choose another")
        table = open_table(_input_table(project / files.RESAMPLE))
        written = table.write_rows(job.folder / files.PARTICLES_STAR, rows)
        job.complete("particles", [written])
        logger.info("%d of %d particles", rows.sum(), len(rows))
        where = images_folder(project / files.RESAMPLE, table, output / files.PARTICLES_STAR)
        job.note(images_from=where and str(where))
        mine = rows if selection is not None else np.ones(len(rows), bool)
        result = _stop_rule(project, chosen.landscape, assignments, inside, mine, seed)
        if result is not None:
            job.note(particles=int(rows.sum()), homogeneity=result)
        return job.outputs


def _selection(
    project: Path, wanted: str | None, output: Path, state: int | str | None
) -> str | None:
    """Set of states that is meant, which is said; None for those of the landscape.

    Where none is named, that of the state that is in the output folder already.
    """
    before = (read_job(output) or {}).get("options", {})
    same = wanted is None and state is not None and str(before.get("state")) == str(state)
    name = before.get("selection") or files.VOTE if same else wanted or usual_selection(project)
    say_selection(project, name)
    return name if wanted or name != files.VOTE else None


def _chosen(
    project: Path, state: int | str | None, polygon: Path | None, selection: str | None
) -> _Chosen:
    if (state is None) == (polygon is None):
        raise UsageError("give either --state or --polygon")
    if polygon is not None and selection is not None:
        raise UsageError("--selection goes with --state; a polygon is of the embedding")
    folder = None if selection is None else selection_folder(project, selection)
    landscape = project / files.LANDSCAPE if folder is None else landscape_folder(folder)
    inputs = [project / files.RESAMPLE / files.ASSIGNMENTS_NPY, landscape / files.EMBEDDING_NPY]
    number = None if state is None else state_number(str(state), folder)
    if folder is not None:
        table = folder / files.PARTICLES_STAR

        def of_selection(assignments: Array) -> tuple[Array, Array]:
            states = open_table(table).read(["rlnClassNumber"])["rlnClassNumber"]
            if number not in states:
                raise InputError(f"{table}: no particle is in state {number}")
            return states == number, np.ones(int(assignments.max()) + 1, bool)

        wanted = {"state": number, "selection": selection}
        return _Chosen(landscape, [*inputs, table], wanted, of_selection)
    inputs += [landscape / files.VOLUME_STATES_NPY] if polygon is None else [polygon]

    def of_landscape(assignments: Array) -> tuple[Array, Array]:
        inside = _volumes_inside(landscape, number, polygon)
        return particles_inside(assignments, inside), inside

    return _Chosen(landscape, inputs, {"state": number}, of_landscape)


def particles_inside(assignments: Array, inside: Array) -> Array:
    """Particles (P,) bool with more than half of their votes in the volumes inside (V,) bool."""
    lookup = np.append(inside, False)
    votes = lookup[np.maximum(assignments, -1)].sum(1)
    result: Array = 2 * votes > assignments.shape[1] - 1
    return result


def _volumes_inside(landscape: Path, state: int | None, polygon: Path | None) -> Array:
    if polygon is None:
        path = landscape / files.VOLUME_STATES_NPY
        states = files.load_array(path, dtype=np.integer, ndim=1)
        if state not in states:
            raise InputError(
                f"{path}: no volume is in state {state}; there are 1 to {states.max()}"
            )
        chosen: Array = states == state
        return chosen
    corners = read_embedding(polygon)
    if len(corners) < 3:
        raise InputError(f"{polygon}: {len(corners)} corners; a polygon needs three")
    embedding = read_embedding(landscape / files.EMBEDDING_NPY)
    inside = inside_polygon(embedding, corners)
    if not inside.any():
        raise InputError(f"{polygon}: no volume is inside; draw it in the embedding's coordinates")
    return inside


def _input_table(resample: Path) -> Path:
    inputs = recorded_inputs(resample)
    if not inputs:
        raise InputError(f"{resample / files.JOB_JSON}: missing; run `alphacryo4d resample` again")
    path = inputs[0]
    if not path.is_file():
        raise InputError(f"{path}: the particle table is gone; put it back where it was")
    return path


def _stop_rule(
    project: Path, landscape: Path, assignments: Array, inside: Array, rows: Array, seed: int
) -> Homogeneity | None:
    """Say whether zooming in can find anything, by the fold that left each particle out.

    Particles (P,) bool that are not among the rows do not count.
    """
    path = project / files.RESAMPLE / files.HELDOUT_NPY
    if not path.is_file():
        logger.info("%s: not there, so that homogeneity cannot be told", path)
        return None
    heldout = files.load_array(path, dtype=np.integer, ndim=1)
    rng = np.random.default_rng(seed)
    yardstick = neighbours_information(
        assignments,
        heldout,
        files.load_array(landscape / files.VOLUME_STATES_NPY, dtype=np.integer, ndim=1),
        read_embedding(landscape / files.EMBEDDING_NPY),
        rng=rng,
    )
    result = assess_homogeneity(
        assignments[rows], heldout[rows], inside.astype(int), 1, rng=rng, yardstick=yardstick
    )
    logger.info(
        "%s: own and held-out classes share %.1f%% of their information (%.1f standard "
        "deviations above chance; noise that both folds see gives some, too); two neighbouring "
        "states taken as one share %.1f%%, of which different conformations share %.0f%% and more",
        "one conformation at the resolution of these data; zooming in would split noise"
        if result.homogeneous
        else "still different conformations; zooming in is worth it",
        100 * result.information,
        result.z,
        100 * yardstick,
        100 * YARDSTICK_SHARE,
    )
    return result
