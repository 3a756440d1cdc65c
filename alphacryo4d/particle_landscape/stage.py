"""`landscape particles`: where every particle of a project lies."""

from __future__ import annotations

import logging
from pathlib import Path

from alphacryo4d.core import files
from alphacryo4d.core.job import Job, Step, Work, start_work
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.particle_landscape.fold_stage import (
    SCRATCH,
    FoldInputs,
    fit_options,
    run_folds,
)
from alphacryo4d.particle_landscape.frame_stage import write_coordinates
from alphacryo4d.particle_landscape.options import CoordinateOptions
from alphacryo4d.reclassify.stage import read_first_states
from alphacryo4d.reconstruction.map_stage import remove_scratch
from alphacryo4d.voting.inputs_stage import read_groups
from alphacryo4d.voting.output_stage import input_particles, input_table_path
from alphacryo4d.voting.recorded_stage import read_recorded

logger = logging.getLogger(__name__)

_STEPS = (Step("fold*"), Step("coordinates", after=("fold*",)))


def run_particles(
    project: Path,
    output: Path,
    *,
    selection: str = files.VOTE,
    options: CoordinateOptions | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Coordinates and covariances of all particles among the components of the folds.

    Parameters
    ----------
    project : Path
        Project folder with ``resample`` and the states to start from.
    output : Path
        Output folder.
    selection : str
        Folder of the project with the states whose volumes span the first components.
    options : CoordinateOptions, optional
    seed : int
        Random seed.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        Arrays and tables.
    """
    options = options or CoordinateOptions()
    work = particles_work(project, selection, options, seed)
    with start_work(output, work, flags=flags) as job:
        if not job.finished and not job.completed("coordinates"):
            inputs = _inputs(project, selection, options, seed, flags)
            logger.info("components at %.1f A", inputs.fit.resolution)
            run_folds(job, inputs)
            remove_scratch(job.folder / SCRATCH)
            write_coordinates(job, inputs)
        return _results(job)


def particles_work(
    project: Path, selection: str, options: CoordinateOptions, seed: int = 0
) -> Work:
    """Graph of the stage: the folds, then the coordinates in one frame."""
    resample = project / files.RESAMPLE
    recorded = read_recorded(resample)
    inputs = (
        input_table_path(resample),
        resample / files.GROUPS_NPY,
        project / selection / files.PARTICLES_STAR,
    )
    masks = [path for path in (recorded.mask, recorded.classify.focus_mask) if path is not None]
    wanted = {"particles": options, "resample": recorded}
    return Work(files.PARTICLE_LANDSCAPE, wanted, (*inputs, *masks), seed, _STEPS, (SCRATCH,))


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
        read_groups(resample, len(particles)),
        read_first_states(project / selection, len(particles)),
        options,
        fit_options(options, recorded, particles.pixel_size, seed),
        recorded,
        flags,
    )


def _results(job: Job) -> list[Path]:
    """Outputs that a user looks at: not those of single folds."""
    return [path for path in job.outputs if path.parent == job.target]
