"""The two engines of classification behind one face: they write the same files."""

from __future__ import annotations

import logging
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.resample.engines import Engine, Plan

logger = logging.getLogger(__name__)


def refuse_native_options(classify: ClassifyOptions) -> None:
    """Refuse options of the classification that RELION does not have.

    Raises
    ------
    UsageError
    """
    if classify.focus_mask is not None:
        raise UsageError("--focus-mask is for --engine native; RELION takes --mask")
    if classify.noise_groups != "optics":
        raise UsageError(
            f"--noise-groups {classify.noise_groups} is for --engine native; RELION makes "
            "its noise spectra and intensity scales itself, from rlnOpticsGroup, rlnGroupName "
            "and rlnMicrographName of the table"
        )
    if classify.grid != (None, None):
        raise UsageError("--output-box and --voxel-size are for --engine native")


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
        refuse_native_options(plan.classify)
        return RelionEngine(particles, plan, threads, memory=memory, scratch=scratch)
    if gpu:
        logger.info("classification without alignment runs on the CPU; --gpu serves the training")
    from alphacryo4d.resample.native_stage import NativeEngine

    return NativeEngine(particles, plan, threads, memory=memory, scratch=scratch)
