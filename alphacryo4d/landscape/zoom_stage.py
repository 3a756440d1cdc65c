"""Zoom-in: the particles of one state as a sub-project, resampled with the same commands."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import recorded_inputs, start_job
from alphacryo4d.landscape.find_stage import VOLUME_STATES_NPY
from alphacryo4d.landscape.grouping.homogeneity import (
    Homogeneity,
    assess_homogeneity,
    neighbours_information,
)
from alphacryo4d.landscape.inputs_stage import read_embedding
from alphacryo4d.particles.open import open_table

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)


def run_zoom(
    project: Path,
    output: Path,
    *,
    state: int | None = None,
    polygon: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Write the particles of one state, or of a polygon, as the input of a sub-project.

    A particle belongs to it with more than half of its votes in the volumes of the state (or
    inside the polygon). Its rows are those of the input, byte for byte.

    Parameters
    ----------
    project : Path
        Project folder with ``resample`` and ``landscape``.
    output : Path
        Folder of the sub-project; ``particles.star`` is written there.
    state : int, optional
        State, from 1.
    polygon : Path, optional
        Corners (N, 2) in the embedding, ``.npy`` or text.

    Returns
    -------
    list of Path
        ``particles.star``.
    """
    if (state is None) == (polygon is None):
        raise UsageError("give either --state or --polygon")
    resample, landscape = project / files.RESAMPLE, project / files.LANDSCAPE
    inputs = [resample / files.ASSIGNMENTS_NPY, landscape / files.EMBEDDING_NPY]
    inputs += [landscape / VOLUME_STATES_NPY] if polygon is None else [polygon]
    with start_job(
        output,
        stage="landscape zoom",
        options={"state": state},
        inputs=inputs,
        seed=seed,
        overwrite=overwrite,
        resume=resume,
    ) as job:
        if job.finished:
            return job.outputs
        inside = _volumes_inside(landscape, state, polygon)
        assignments = files.load_array(inputs[0], dtype=np.integer, ndim=2)
        rows = particles_inside(assignments, inside)
        if not rows.any():
            raise InputError(f"{output}: no particle has most of its votes there; choose another")
        table = open_table(_input_table(resample))
        written = table.write_rows(job.folder / files.PARTICLES_STAR, rows)
        job.complete("particles", [written])
        logger.info(
            "%d of %d particles; next: alphacryo4d run --i %s --o %s",
            rows.sum(),
            len(rows),
            output / files.PARTICLES_STAR,
            output / "project",
        )
        result = _stop_rule(project, assignments, inside, seed)
        if result is not None:
            job.note(particles=int(rows.sum()), homogeneity=result)
        return job.outputs


def particles_inside(assignments: Array, inside: Array) -> Array:
    """Particles (P,) bool with more than half of their votes in the volumes inside (V,) bool."""
    lookup = np.append(inside, False)
    votes = lookup[np.maximum(assignments, -1)].sum(1)
    result: Array = 2 * votes > assignments.shape[1] - 1
    return result


def _volumes_inside(landscape: Path, state: int | None, polygon: Path | None) -> Array:
    if polygon is None:
        path = landscape / VOLUME_STATES_NPY
        states = files.load_array(path, dtype=np.integer, ndim=1)
        if state not in states:
            raise InputError(
                f"{path}: no volume is in state {state}; there are 1 to {states.max()}"
            )
        chosen: Array = states == state
        return chosen
    from matplotlib.path import Path as Outline

    corners = read_embedding(polygon)
    if len(corners) < 3:
        raise InputError(f"{polygon}: {len(corners)} corners; a polygon needs three")
    embedding = read_embedding(landscape / files.EMBEDDING_NPY)
    inside: Array = Outline(corners).contains_points(embedding)
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


def _stop_rule(project: Path, assignments: Array, inside: Array, seed: int) -> Homogeneity | None:
    """Say whether zooming in can find anything, by the fold that left each particle out."""
    path = project / files.RESAMPLE / files.HELDOUT_NPY
    if not path.is_file():
        logger.info("%s: not there, so that homogeneity cannot be told", path)
        return None
    heldout = files.load_array(path, dtype=np.integer, ndim=1)
    rng = np.random.default_rng(seed)
    landscape = project / files.LANDSCAPE
    yardstick = neighbours_information(
        assignments,
        heldout,
        files.load_array(landscape / VOLUME_STATES_NPY, dtype=np.integer, ndim=1),
        read_embedding(landscape / files.EMBEDDING_NPY),
        rng=rng,
    )
    result = assess_homogeneity(
        assignments, heldout, inside.astype(int), 1, rng=rng, yardstick=yardstick
    )
    logger.info(
        "%s: own and held-out classes share %.1f%% of their information (%.1f standard "
        "deviations); two neighbouring states taken as one share %.1f%%",
        "one conformation at the resolution of these data; zooming in would split noise"
        if result.homogeneous
        else "still different conformations; zooming in is worth it",
        100 * result.information,
        result.z,
        100 * yardstick,
    )
    return result
