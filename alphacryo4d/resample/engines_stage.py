"""The two engines of classification behind one face: they write the same files."""

from __future__ import annotations

import logging
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.resample.engines import Engine, Plan

logger = logging.getLogger(__name__)


def make_engine(
    name: str,
    particles: ParticleSet,
    plan: Plan,
    *,
    threads: int | None,
    gpu: str | None,
    memory: float | None = None,
    scratch: Path | None = None,
) -> Engine:
    """Engine by name; a GPU is refused with the reason before any work.

    Parameters
    ----------
    name : str
        ``native`` or ``relion``.
    particles : ParticleSet
        All particles.
    plan : Plan
        Options and seed.
    threads, gpu, memory, scratch
        What the work may use: threads, no GPU, GB of memory, a folder for what does not fit.
    """
    if name == "relion":
        from alphacryo4d.relion.options import refuse_gpu_without_alignment
        from alphacryo4d.resample.relion_stage import RelionEngine

        refuse_gpu_without_alignment(gpu)
        if plan.classify.focus_mask is not None:
            raise UsageError("--focus-mask is for --engine native; RELION takes --mask")
        if plan.classify.noise_groups != "optics":
            raise UsageError(
                f"--noise-groups {plan.classify.noise_groups} is for --engine native; RELION makes "
                "its noise spectra and intensity scales itself, from rlnOpticsGroup, rlnGroupName "
                "and rlnMicrographName of the table"
            )
        if plan.classify.grid != (None, None):
            raise UsageError("--output-box and --voxel-size are for --engine native")
        return RelionEngine(particles, plan, threads)
    if gpu:
        logger.info("classification without alignment runs on the CPU; --gpu serves the training")
    from alphacryo4d.resample.native_stage import NativeEngine

    return NativeEngine(particles, plan, threads, memory=memory, scratch=scratch)
