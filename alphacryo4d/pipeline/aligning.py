"""A run that begins with a consensus refinement: of particles without poses, or of rough ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import plan_work
from alphacryo4d.core.plan import NEW, UNCHANGED, Plan
from alphacryo4d.core.progress import format_duration
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.words import plural
from alphacryo4d.io.star import IMAGE_COLUMN
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.origins import ANGLES
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.stacks import resolve_stack, stack_file
from alphacryo4d.pipeline.estimate import estimate_lines
from alphacryo4d.pipeline.need import need_of_consensus
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.pipeline.plan import stage_works
from alphacryo4d.pipeline.preflight import require_possible
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions

logger = logging.getLogger(__name__)

ITERATIONS = 3
"""Most iterations where poses that are there are refined."""


def lacks_poses(table: Path) -> bool:
    """Whether a table has no angles, or zeros alone."""
    opened = open_table(table)
    if any(name not in opened.columns for name in ANGLES):
        return True
    return not any(np.any(values) for values in opened.read(list(ANGLES)).values())


def aligned_table(
    table: Path,
    project: Path,
    options: PipelineOptions,
    *,
    realign: bool,
    given: Mapping[str, float | None],
    seed: int,
    gpu: str | None,
    flags: RunFlags,
    here: bool,
    dry_run: bool,
) -> Path | None:
    """The table with poses: itself, or that of a consensus refinement in ``project/consensus``.

    Everything that the run would refuse later is refused before the refinement.

    Parameters
    ----------
    table, project, options, seed, gpu, flags
        As for the run.
    realign : bool
        Poses that are there are refined, by our own engine.
    given : mapping
        Optics that the table lacks.
    here : bool
        The work is done on this machine, not submitted to a cluster.
    dry_run : bool

    Returns
    -------
    Path or None
        None with ``--dry-run``, where the poses are not there yet.

    Raises
    ------
    UsageError, InputError
        What the refinement or the run would refuse; a cluster; images beside the table alone.
    """
    from alphacryo4d.resample import consensus_stage as stage
    from alphacryo4d.tools.check import require_sound

    blind, output = lacks_poses(table), project / files.CONSENSUS
    realign &= table.resolve() != (output / files.PARTICLES_STAR).resolve()  # that was done
    if (blind and options.relion.reference is None) or not (blind or realign):
        return table
    asked, relion = _asked(options, blind=blind)
    _require_here(table, relion, given, here=here)
    require_sound(table, need_poses=False)
    require_images(table, output / files.PARTICLES_STAR)
    particles = read_particles(table, need_poses=False).on_grid(*options.classify.grid)
    require_possible(particles, project, options, gpu=gpu, here=here)
    what: dict[str, Any] = {"consensus": asked, "relion": relion, "seed": seed}
    if dry_run:
        if plan_work(output, stage.consensus_work(table, **what)).kind == UNCHANGED:
            return output / files.PARTICLES_STAR
        text = stage.plan_consensus(table, output, **what, gpu=gpu, flags=flags)
        _say_plan(text, particles, project, options, asked, flags.threads, everywhere=blind)
        return None
    logger.info("== consensus")
    return stage.run_consensus(table, output, **what, gpu=gpu, flags=flags)[0]


def _say_plan(
    text: str,
    particles: ParticleSet,
    project: Path,
    options: PipelineOptions,
    asked: ConsensusOptions,
    threads: int | None,
    *,
    everywhere: bool,
) -> None:
    """Say what the refinement does and how long it takes, and what the stages after it need."""
    logger.info("%s", text.rstrip())
    if asked.engine == "native":
        count = thread_count(threads)
        need = need_of_consensus(len(particles), particles.box, everywhere=everywhere)
        took = format_duration(need.wall(count))
        logger.info("poses first: about %s on %s", took, plural(count, "thread"))
    plans = [(name, Plan(NEW)) for name, _ in stage_works(particles.path, project, options, 0)]
    for line in estimate_lines(particles, options, plans, project, threads):
        logger.info("%s", line)


def _asked(options: PipelineOptions, *, blind: bool) -> tuple[ConsensusOptions, RelionOptions]:
    """What the refinement is asked; poses that are there start from the map that they give."""
    if blind:
        engine = "native" if options.resample.engine == "native" else "relion"
        return ConsensusOptions(engine=engine), options.relion
    asked = ConsensusOptions(engine="native", search="near", iterations=ITERATIONS)
    return asked, replace(options.relion, reference=None)


def _require_here(
    table: Path, relion: RelionOptions, given: Mapping[str, float | None], *, here: bool
) -> None:
    """Refuse a cluster, and optics that only the run itself fills in."""
    if not here:
        start = "--search near" if relion.reference is None else f"--reference {relion.reference}"
        raise UsageError(
            f"{table}: poses are refined on this machine; do it first: alphacryo4d resample "
            f"consensus --engine native --i {table} {start} --o consensus, and give its "
            "particles.star"
        )
    if any(value is not None for value in given.values()):
        raise UsageError(
            f"{table}: lacks optics, which the alignment needs; write them into it first: "
            f"alphacryo4d convert --i {table} --o completed.star with the same options"
        )


def require_images(table: Path, written: Path) -> None:
    """Refuse images that are found from the folder of the table but not from the new one."""
    for name in open_table(table).read_parts([], images=True)[1][IMAGE_COLUMN][1]:
        found = resolve_stack(name, table)
        if found is not None and resolve_stack(name, written) is None:
            folder = found.parents[len(Path(stack_file(name)).parts) - 1]
            raise InputError(
                f"{table}: {name} is found from {folder} only; start from that folder, or name it: "
                f"--images-from {folder}"
            )
