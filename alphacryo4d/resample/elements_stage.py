"""The resample stage in parts, for a cluster: split first, then every fold on its own machine.

The stage itself, run afterwards with ``--continue``, finds the folds done and gathers them.
"""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, TimeLimitReached, UsageError
from alphacryo4d.core.job import read_job, start_work, working_folder
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.resample.engines_stage import make_engine
from alphacryo4d.resample.plan_stage import ResamplePlan
from alphacryo4d.resample.stage import (
    classify_fold,
    every_fold,
    forget_folds,
    split,
)
from alphacryo4d.resample.subsets import require_filled

logger = logging.getLogger(__name__)


class _Prepared(TimeLimitReached):
    """Leaves the stage's job record as stopped, to be continued once the folds are done."""


def prepare_folds(
    table: Path, output: Path, plan: ResamplePlan, *, flags: RunFlags = RunFlags()
) -> list[int]:
    """Split the particles; name the folds that are still to be classified.

    Parameters
    ----------
    table, output : Path
        Particle table, and folder of the stage.
    plan : ResamplePlan
        Everything that decides the result.
    flags : RunFlags, optional

    Returns
    -------
    list of int
        Numbers of the folds from 0, in the order of :func:`every_fold`; empty where the stage is
        done.
    """
    particles = read_particles(table)
    plan = plan.settled(particles, None if flags.overwrite else output)
    wanted: list[int] = []
    try:
        work = plan.work(table, particles)
        with start_work(output, work, flags=flags) as job:
            if job.finished:
                return []
            if flags.overwrite:
                forget_folds(job.folder)
            groups = split(job, particles, plan)
            require_filled(groups, plan.classify.levels, plan.resample.minimum_class_size)
            for index, (batch, left_out) in enumerate(every_fold(groups, plan.folds)):
                folder = files.fold_folder(job.folder, batch, left_out, plan.folds)
                record = read_job(folder)
                if record is None or record["status"] != "done":
                    wanted.append(index)
            raise _Prepared("the folds are to be classified")
    except _Prepared:
        return wanted


def run_element(
    table: Path,
    output: Path,
    plan: ResamplePlan,
    index: int,
    *,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Classify one fold of a stage that :func:`prepare_folds` has split.

    Parameters
    ----------
    index : int
        Number of the fold from 0.

    Returns
    -------
    list of Path
        What the fold wrote.
    """
    particles = read_particles(table).on_grid(*plan.classify.grid)
    plan = plan.settled(particles, output)  # as it was split: no element decides for itself
    place = working_folder(output, plan.work(table, particles))
    path = place / files.GROUPS_NPY
    if not path.is_file():
        raise InputError(f"{path}: no such file; the stage must be split before its folds")
    groups = np.asarray(files.load_array(path, dtype=np.int32, ndim=2))
    every = list(every_fold(groups, plan.folds))
    if not 0 <= index < len(every):
        raise UsageError(f"fold {index} is asked for; there are folds 0 to {len(every) - 1}")
    batch, left_out = every[index]
    folder = files.fold_folder(place, batch, left_out, plan.folds)
    engine = make_engine(
        plan.resample.engine,
        particles,
        plan,
        threads=flags.threads,
        gpu=gpu,
        scratch=folder / "scratch",
    )
    with closing(engine), show_progress(f"fold {index}") as progress:
        return classify_fold(
            place,
            groups,
            plan,
            engine,
            batch=batch,
            left_out=left_out,
            deadline=flags.deadline,
            progress=progress,
        )
