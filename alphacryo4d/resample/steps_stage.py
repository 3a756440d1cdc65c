"""Single steps of the stage, for shell pipelines: split, shuffle, classify."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.job import start_job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.words import plural
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.copies import image_count, table_images
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.engines_stage import make_engine
from alphacryo4d.resample.fold_stage import CHECKPOINT
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.plan_stage import ResamplePlan
from alphacryo4d.resample.stage import split
from alphacryo4d.resample.subsets import require_classes, split_evenly

logger = logging.getLogger(__name__)

_OF_RELION = ("relion/reference.mrc", "relion/**/particles.star", "relion/**/run.json")
"""What RELION's engine would take for its own after options or inputs changed."""


def run_split(
    table: Path,
    output: Path,
    *,
    options: ResampleOptions,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
    dry_run: bool = False,
) -> list[Path]:
    """Write ``groups.npy`` and the tables of every batch and fold."""
    particles = read_particles(table, need_images=False, need_poses=False)
    plan = ResamplePlan(options, ClassifyOptions(), RelionOptions(), seed)
    if dry_run:
        batches = -(-len(particles) // options.batch_size)
        logger.info("would write %s of %d folds", plural(batches, "batch", "batches"), plan.folds)
        return []
    with start_job(
        output,
        stage="split",
        options={"folds": options.folds, "batch_size": options.batch_size},
        inputs=[table],
        seed=seed,
        flags=flags,
    ) as job:
        if not job.finished:
            split(job, particles, plan)
        return job.outputs


def run_shuffle(
    table: Path,
    output: Path,
    *,
    options: ResampleOptions,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
    dry_run: bool = False,
) -> list[Path]:
    """Write the tables of the folds of one batch and of its groups (``sub1.star`` ...)."""
    particles = open_table(table)
    folds = options.folds + 1
    if dry_run:
        logger.info("would write %d folds of %d particles", folds, particles.rows)
        return []
    with start_job(
        output,
        stage="shuffle",
        options={"folds": options.folds},
        inputs=[table],
        seed=seed,
        flags=flags,
    ) as job:
        if job.finished:
            return job.outputs
        everyone = np.arange(particles.rows, dtype=np.int32)
        ids = table_images(particles)
        images = np.arange(image_count(ids), dtype=np.int32)
        outputs = []
        for group, members in enumerate(
            split_evenly(images, folds, np.random.default_rng([seed, 0])), start=1
        ):
            rows = members if len(images) == len(ids) else np.flatnonzero(np.isin(ids, members))
            outputs.append(particles.write_rows(job.folder / f"sub{group}.star", rows))
            union = job.folder / f"union{files.fold_name(group, folds)}.star"
            outputs.append(particles.write_rows(union, np.setdiff1d(everyone, rows)))
        job.add_outputs(outputs)
        return job.outputs


def run_classify(
    table: Path,
    output: Path,
    *,
    options: ResampleOptions,
    classify: ClassifyOptions,
    relion: RelionOptions,
    seed: int = 0,
    gpu: str | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Classify one table: volumes and ``run_it025_data.star`` in ``output``."""
    particles = read_particles(table).on_grid(*classify.grid)
    require_classes(len(particles), classify.levels, 1)
    kept = None if flags.overwrite else output
    plan = ResamplePlan(options, classify, relion, seed).settled(particles, kept)
    with start_job(
        output,
        stage="classify",
        options=plan.recorded(),
        inputs=[table, *particles.stacks, *plan.masks],
        seed=seed,
        flags=flags,
        in_place=True,
        remnants=(CHECKPOINT, *_OF_RELION),
    ) as job:
        if not job.finished:
            everyone = np.arange(len(particles))
            engine = make_engine(
                options.engine,
                particles,
                plan,
                threads=flags.threads,
                gpu=gpu,
                memory=memory,
                scratch=scratch or output / "scratch",
            )
            with closing(engine), show_progress("classify") as progress:
                outputs = engine.classify(
                    output,
                    everyone,
                    heldout=everyone[:0],
                    batch=everyone,
                    stream=(),
                    table=table,
                    deadline=flags.deadline,
                    progress=progress,
                )
            job.add_outputs(outputs)
        return job.outputs
