"""Whether a run refines poses first: the images say that they can be much better."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.identity import located
from alphacryo4d.core.job import read_job
from alphacryo4d.core.memory import half_of_memory
from alphacryo4d.core.progress import format_duration, show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.samples import match_intensities, prepare_rows
from alphacryo4d.pipeline.aligning import require_images
from alphacryo4d.pipeline.need import need_of_consensus, need_of_judgement
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.reclassify.pose_prior import FINEST_SHELL, scores_by_shell

logger = logging.getLogger(__name__)

FEWEST, MOST = 2_000, 20_000
"""Particles that a map needs in which no image shows by itself, and that are looked at at most."""
MOST_ERROR = 1.7
"""Errors apart from the images, in those that images would leave, above which poses are refined:
such errors help a little as a prior, and the first classification suffers from them much more."""
_BYTES = round(12 * 0.5 * np.pi * FINEST_SHELL**2)
"""Bytes that an image takes, to the finest shell."""


def worth_realigning(
    particles: ParticleSet,
    project: Path,
    options: PipelineOptions,
    *,
    given: Mapping[str, float | None],
    flags: RunFlags,
) -> bool:
    """Whether a run begins with a refinement of the poses where it was not told.

    Never in a project that was classified before: the images are looked at once.

    Parameters
    ----------
    particles : ParticleSet
        The table of the run.
    project : Path
    options : PipelineOptions
    given : mapping
        Optics that the table lacks; the refinement needs them in it.
    flags : RunFlags
    """
    if not looks_at_poses(particles, project, options, given=given, flags=flags):
        return False
    fault = fault_of_poses(particles, options, flags)
    if fault is None:
        return False
    logger.info(
        "the poses of %s are %s: poses are refined first (--no-realign keeps them)",
        particles.path, fault,
    )  # fmt: skip
    try:
        require_images(particles.path, project / files.CONSENSUS / files.PARTICLES_STAR)
    except InputError as error:
        logger.warning("%s; this run keeps the poses as they are", error)
        return False
    return True


def looks_at_poses(
    particles: ParticleSet,
    project: Path,
    options: PipelineOptions,
    *,
    given: Mapping[str, float | None],
    flags: RunFlags,
) -> bool:
    """Whether a run looks at the images for errors of the poses; as :func:`worth_realigning`."""
    again = not flags.overwrite and read_job(project / files.RESAMPLE) is not None
    return (
        not again
        and len(particles) >= FEWEST
        and options.resample.engine == "native"
        and options.classify.focus_mask is None
        and all(value is None for value in given.values())
    )


def foreseen_judgement(particles: ParticleSet, threads: int | None) -> str:
    """What ``--dry-run`` says of poses that the images will judge, and how long it takes."""
    count = thread_count(threads)
    judged = need_of_judgement(min(len(particles), MOST), particles.box).wall(count)
    refined = need_of_consensus(len(particles), particles.box, everywhere=False).wall(count)
    return (
        f"poses are judged by their images first (about {format_duration(judged)}), and refined "
        "where these say that they can be much better (about "
        f"{format_duration(refined)}; --realign in any case, --no-realign never)"
    )


def began_realigned(project: Path) -> bool:
    """Whether this project classifies, or is about to, refined poses of its table."""
    refined, folder = project / files.CONSENSUS / files.PARTICLES_STAR, project / files.RESAMPLE
    classified = read_job(folder)
    if classified is not None:
        tables = [
            located(one, folder, classified.get("folder")) for one in classified.get("inputs", [])
        ]
        return refined.resolve() in [table.resolve() for table in tables]
    options = (read_job(project / files.CONSENSUS) or {}).get("options")
    asked = options.get("consensus") if isinstance(options, dict) else None
    return isinstance(asked, dict) and asked.get("search") == "near"


def fault_of_poses(particles: ParticleSet, options: PipelineOptions, flags: RunFlags) -> str | None:
    """What a refinement would mend in the poses, by some of the images; None where nothing is seen.

    Poses that were fitted to all that the images hold stay, and errors that are not much larger
    than what the images would leave.
    """
    rows, most = np.arange(len(particles)), min(MOST, int(half_of_memory() * 2**30 / _BYTES))
    if most < FEWEST:
        return None
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    classify, size = options.classify, particles.box * particles.pixel_size
    with show_progress("read images, to test the poses") as progress:
        images = prepare_rows(
            particles, rows, max(size / FINEST_SHELL, 2 * particles.pixel_size),
            symmetry=options.relion.symmetry, normalise=classify.normalise,
            diameter=classify.mask_diameter, threads=flags.threads, progress=progress,
        )  # fmt: skip
    match_intensities(
        images, classify.initial_resolution, classify.normalise, threads=flags.threads
    )
    known = images.sorted_rows(np.flatnonzero(images.informative))
    scores = scores_by_shell(
        images, known, workers=thread_count(flags.threads), check=flags.deadline.check
    )
    shell = scores.fitted_shell
    if shell is not None:
        return f"best fits of their images to {size / shell:.1f} A, and these hold finer shells"
    if scores.error > MOST_ERROR:
        turned, moved = scores.pose_sigma or (0.0, 0.0)
        return (
            f"wrong by about {turned:.1f} degrees and {moved:.1f} A on each axis, "
            f"{scores.error:.1f} times what a refinement would leave"
        )
    return None
