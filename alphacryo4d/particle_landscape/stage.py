"""`landscape particles`: where every particle of a project lies."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job, Step, Work, start_work
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.particle_landscape.density_stage import write_density
from alphacryo4d.particle_landscape.fold_stage import (
    SCRATCH,
    FoldInputs,
    fit_options,
    run_folds,
)
from alphacryo4d.particle_landscape.frame_stage import write_coordinates
from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions
from alphacryo4d.particle_landscape.table_stage import write_coordinate_table
from alphacryo4d.particles.recorded import stacks_on_record
from alphacryo4d.reclassify.folds import read_first_states
from alphacryo4d.reconstruction.map_stage import remove_scratch
from alphacryo4d.voting.inputs_stage import (
    read_assignments,
    read_batches,
    read_fold_groups,
    read_outliers,
    read_signal,
)
from alphacryo4d.voting.junk import without_states_of_junk
from alphacryo4d.voting.output_stage import input_particles, input_table_path
from alphacryo4d.voting.recorded_stage import read_recorded

logger = logging.getLogger(__name__)

_COORDINATES = ("*", "!density.*", "!particles.write_table")
_STEPS = (
    Step("fold*", _COORDINATES),
    Step("coordinates", _COORDINATES, after=("fold*",)),
    Step("table", ("particles.write_table",), (), after=("coordinates",)),
    Step("density", ("density.*", "seed"), (), after=("coordinates",)),
)


def run_particles(
    project: Path,
    output: Path,
    *,
    selection: str = files.VOTE,
    options: CoordinateOptions | None = None,
    density: DensityOptions | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Coordinates of all particles among the components, their density, its states and a path.

    Parameters
    ----------
    project : Path
        Project folder with ``resample`` and the states to start from.
    output : Path
        Output folder.
    selection : str
        Folder of the project with the states whose volumes span the first components. Where there
        are no votes because every fold made one class, all particles are one state.
    options : CoordinateOptions, optional
    density : DensityOptions, optional
    seed : int
        Random seed.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        Arrays, tables and figures.
    """
    options, density = options or CoordinateOptions(), density or DensityOptions()
    work = particles_work(project, selection, options, density, seed)
    with start_work(output, work, flags=flags) as job:
        if not job.finished:
            inputs = _inputs(project, selection, options, seed, flags)
            if not job.completed("coordinates"):
                logger.info("components at %.1f A", inputs.fit.resolution)
                run_folds(job, inputs)
                remove_scratch(job.folder / SCRATCH)
                write_coordinates(job, inputs)
            if options.write_table and not job.completed("table"):
                path = write_coordinate_table(job.folder, inputs.particles.table)
                job.complete("table", [path])
            if not job.completed("density"):
                _density(job, inputs, density, seed)
        return _results(job)


def _density(job: Job, inputs: FoldInputs, options: DensityOptions, seed: int) -> None:
    """The density, where there is a structure."""
    if job.record["results"]["components"]:
        write_density(job, options, inputs, seed=seed, flags=inputs.flags)
        return
    logger.warning("no structure: no density and no path are made")
    job.complete("density")


def particles_work(
    project: Path,
    selection: str,
    options: CoordinateOptions,
    density: DensityOptions,
    seed: int = 0,
) -> Work:
    """Graph of the stage: the folds, the coordinates in one frame, then the density."""
    resample = project / files.RESAMPLE
    recorded = read_recorded(resample)
    inputs = (
        input_table_path(resample),
        resample / files.GROUPS_NPY,
        resample / files.ASSIGNMENTS_NPY
        if one_class(project, selection)
        else project / selection / files.PARTICLES_STAR,
    )
    masks = [path for path in (recorded.mask, recorded.classify.focus_mask) if path is not None]
    wanted = {"particles": options, "density": density, "resample": recorded}
    read = dict.fromkeys((*inputs, *masks, *stacks_on_record(resample)))
    return Work(files.PARTICLE_LANDSCAPE, wanted, (*read,), seed, _STEPS, (SCRATCH,))


def one_class(project: Path, selection: str) -> bool:
    """Whether there are no votes, since every fold put all particles into one class."""
    resample = project / files.RESAMPLE
    if selection != files.VOTE or (project / selection / files.PARTICLES_STAR).is_file():
        return False
    if not (resample / files.ASSIGNMENTS_NPY).is_file():
        return False
    assignments = read_assignments(resample)
    batches = int(read_batches(resample, len(assignments)).max(initial=0))
    return bool(assignments.max(initial=-1) < batches * assignments.shape[1])


def _first_states(project: Path, selection: str, particles: int) -> Array:
    """State (P,) of every particle that the components start from, 0 for none."""
    if not one_class(project, selection):
        signal = read_signal(project / files.RESAMPLE, particles)
        states = read_first_states(project / selection, particles)
        return without_states_of_junk(states, signal)[0]
    logger.warning("every fold made one class: components start from all particles as one state")
    states = np.ones(particles, np.int32)
    states[read_outliers(project / files.RESAMPLE)] = 0
    return states


def _inputs(
    project: Path,
    selection: str,
    options: CoordinateOptions,
    seed: int,
    flags: RunFlags,
) -> FoldInputs:
    resample = project / files.RESAMPLE
    recorded = read_recorded(resample)
    particles = recorded.on_grid(input_particles(resample))
    return FoldInputs(
        particles,
        read_fold_groups(resample, len(particles)),
        _first_states(project, selection, len(particles)),
        options,
        fit_options(options, recorded, particles.pixel_size, seed),
        recorded,
        flags,
        read_outliers(resample),
        "" if one_class(project, selection) else selection,
    )


def _results(job: Job) -> list[Path]:
    """Outputs that a user looks at: not those of single folds."""
    return [path for path in job.outputs if path.parent == job.target]
