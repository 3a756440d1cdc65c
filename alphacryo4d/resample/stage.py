"""The resample stage: batches, folds, their classes, and one table of all volumes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.job import Job, start_job, start_work
from alphacryo4d.core.progress import Passes, show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.words import plural
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.copies import shared_images
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.engines import Engine
from alphacryo4d.resample.engines_stage import make_engine
from alphacryo4d.resample.fold_stage import CHECKPOINT
from alphacryo4d.resample.gather_stage import gather_folds
from alphacryo4d.resample.options import ResampleOptions, analysis_box
from alphacryo4d.resample.plan_stage import ResamplePlan
from alphacryo4d.resample.subsets import assign_groups, fold_rows, group_rows, require_filled

logger = logging.getLogger(__name__)

IntArray = np.ndarray[Any, np.dtype[np.int32]]


_RESULTS = (
    files.VOLUMES_STAR,
    files.VOLUMES_NPY,
    files.ASSIGNMENTS_NPY,
    files.HELDOUT_NPY,
    files.GROUPS_NPY,
)


def run_resample(
    table: Path,
    output: Path,
    *,
    options: ResampleOptions | None = None,
    classify: ClassifyOptions | None = None,
    relion: RelionOptions | None = None,
    seed: int = 0,
    gpu: str | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Shuffle particles into folds, classify every fold, gather the volumes.

    Parameters
    ----------
    table, output : Path
        Particle table with consensus poses; folder of the stage.
    options, classify, relion : dataclasses, optional
    seed : int
        Random seed, from which every fold derives its own.
    gpu : str, optional
        Refused by classification without alignment, which runs on the CPU in both engines.
    memory : float, optional
        GB that the images may take; half of the machine's by default.
    scratch : Path, optional
        Folder for the images where they exceed it; by default one in ``output``, removed after.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        ``volumes.star``, ``volumes.npy``, ``assignments.npy``, ``heldout.npy``, ``groups.npy``.
    """
    plan = ResamplePlan(
        options or ResampleOptions(), classify or ClassifyOptions(), relion or RelionOptions(), seed
    )
    particles = read_particles(table).on_grid(*plan.classify.grid)
    plan = plan.settled(particles, None if flags.overwrite else output)
    work = plan.work(table, particles)
    with start_work(output, work, flags=flags) as job:
        results = [output / name for name in _RESULTS]
        if job.finished:
            return results
        if flags.overwrite:
            forget_folds(job.folder)
        groups = split(job, particles, plan)
        engine = make_engine(
            plan.resample.engine, particles, plan, threads=flags.threads, gpu=gpu, memory=memory,
            scratch=scratch or job.folder / "scratch",
        )  # fmt: skip
        with closing(engine):
            classify_folds(job, groups, plan, engine, deadline=flags.deadline)
        gather(job, particles, groups, plan)
    return results


def forget_folds(output: Path) -> None:
    """Make every fold start again (``--overwrite``)."""
    for folder in output.glob("batch*/u*"):
        for name in (files.JOB_JSON, CHECKPOINT):
            (folder / name).unlink(missing_ok=True)


def split(job: Job, particles: ParticleSet, plan: ResamplePlan) -> IntArray:
    """Batches and groups (``groups.npy``) with the tables of batches and folds.

    Where particles are copies of one image, ``images.npy`` says of which.

    Returns
    -------
    (P, 2) int32 array
        Batch and group of every particle, from 1.
    """
    path = job.folder / files.GROUPS_NPY
    if job.completed("split"):
        return np.asarray(files.load_array(path, dtype=np.int32, ndim=2))
    images = shared_images(particles)
    groups = assign_groups(
        len(particles),
        batch_size=plan.resample.batch_size,
        folds=plan.resample.folds,
        rng=np.random.default_rng([plan.seed, 0]),
        images=images,
    )
    batches = int(groups[:, 0].max())
    logger.info(
        "%d particles in %s, each in %d folds",
        len(particles), plural(batches, "batch", "batches"), plan.folds,
    )  # fmt: skip
    outputs = [files.save_array(path, groups)]
    if images is not None:
        outputs.append(files.save_array(job.folder / files.IMAGES_NPY, images))
    for batch in range(1, batches + 1):
        members = groups[:, 0] == batch
        outputs.append(particles.table.write_rows(files.batch_table(job.folder, batch), members))
        for left_out in range(1, plan.folds + 1):
            outputs.append(
                particles.table.write_rows(
                    files.fold_table(job.folder, batch, left_out, plan.folds),
                    members & (groups[:, 1] != left_out),
                )
            )
    job.note(particles=len(particles), batches=batches, folds=plan.folds)
    job.complete("split", outputs)
    return groups


def every_fold(groups: IntArray, folds: int) -> Iterator[tuple[int, int]]:
    """Batch and left-out group of every fold; the fold 123 of M = 3 leaves out group 4."""
    for batch in range(1, int(groups[:, 0].max()) + 1):
        for left_out in range(folds, 0, -1):
            yield batch, left_out


def classify_folds(
    job: Job,
    groups: IntArray,
    plan: ResamplePlan,
    engine: Engine,
    *,
    deadline: Deadline,
) -> None:
    """Classify every fold that is not finished yet."""
    require_filled(groups, plan.classify.levels, plan.resample.minimum_class_size)
    every = list(every_fold(groups, plan.folds))
    left = []
    for number, (batch, left_out) in enumerate(every, start=1):
        folder = files.fold_folder(job.folder, batch, left_out, plan.folds)
        if not job.completed(str(folder.relative_to(job.folder))):
            left.append((number, batch, left_out, folder))
    with show_progress("folds") as shown:
        passes = Passes(shown, len(left))
        for number, batch, left_out, folder in left:
            deadline.check()
            label = f"fold {files.fold_name(left_out, plan.folds)} ({number} of {len(every)})"
            with passes.one(label) as progress:
                outputs = classify_fold(
                    job.folder, groups, plan, engine, batch=batch, left_out=left_out,
                    deadline=deadline, progress=progress,
                )  # fmt: skip
            job.complete(str(folder.relative_to(job.folder)), [*outputs, folder / files.JOB_JSON])
        shown(1, 1)


def classify_fold(
    resample: Path,
    groups: IntArray,
    plan: ResamplePlan,
    engine: Engine,
    *,
    batch: int,
    left_out: int,
    deadline: Deadline,
    progress: Any,
) -> list[Path]:
    """Classify one fold in its own folder, with a job record of its own.

    Folds are independent: they may run in one process, or each on its own machine.
    """
    rows, heldout = fold_rows(groups, batch, left_out), group_rows(groups, batch, left_out)
    with start_job(
        files.fold_folder(resample, batch, left_out, plan.folds),
        stage="fold",
        options=plan.of_folds(),
        inputs=[files.fold_table(resample, batch, left_out, plan.folds)],
        seed=plan.seed,
        remnants=(CHECKPOINT,),
    ) as job:
        if not job.finished:
            outputs = engine.classify(
                job.folder,
                rows,
                heldout=heldout,
                batch=np.flatnonzero(groups[:, 0] == batch),
                stream=(batch, left_out),
                table=files.fold_table(resample, batch, left_out, plan.folds),
                deadline=deadline,
                progress=progress,
            )
            job.add_outputs(outputs)
        return job.outputs


def gather(job: Job, particles: ParticleSet, groups: IntArray, plan: ResamplePlan) -> None:
    """Join the classes of all folds."""
    if job.completed("gather"):
        return
    box = analysis_box(
        plan.resample.box,
        particles.box,
        particles.pixel_size,
        plan.classify.initial_resolution,
    )
    with show_progress("gather volumes") as progress:
        outputs = gather_folds(
            job.folder,
            groups,
            folds=plan.folds,
            iteration=plan.classify.iterations,
            minimum_class_size=plan.resample.minimum_class_size,
            box=box,
            progress=progress,
        )
    job.note(box=box)
    job.complete("gather", outputs)
