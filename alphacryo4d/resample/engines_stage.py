"""The two engines of classification behind one face: they write the same files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from alphacryo4d.errors import UsageError
from alphacryo4d.job import Deadline
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles import ParticleSet
from alphacryo4d.progress import Progress
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.options import ResampleOptions

logger = logging.getLogger(__name__)

IndexArray = np.ndarray[Any, np.dtype[np.intp]]


class Plan(Protocol):
    """What the engines read of the plan of a stage."""

    @property
    def resample(self) -> ResampleOptions:
        """Options of the stage."""

    @property
    def classify(self) -> ClassifyOptions:
        """Options of a classification."""

    @property
    def relion(self) -> RelionOptions:
        """Options of RELION."""

    @property
    def seed(self) -> int:
        """Random seed."""


class Engine(Protocol):
    """A classification without alignment that writes its results under RELION's names."""

    def classify(
        self,
        folder: Path,
        rows: IndexArray,
        *,
        heldout: IndexArray,
        batch: IndexArray,
        stream: tuple[int, ...],
        table: Path,
        deadline: Deadline | None,
        progress: Progress,
    ) -> list[Path]:
        """Classify some particles.

        Parameters
        ----------
        folder : Path
            Where the results go.
        rows : (n,) int array
            Particles to classify, ascending.
        heldout : (m,) int array
            Particles that are only compared with the final volumes.
        batch : (b,) int array
            All particles of the batch, so that images can be kept between folds.
        stream : tuple of int
            Numbers that make this classification's random stream its own.
        table : Path
            Table with just these rows.
        deadline, progress
            When to stop, whom to tell.

        Returns
        -------
        list of Path
            Everything written.
        """

    def close(self) -> None:
        """Let go of what was kept between classifications."""


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
        return RelionEngine(particles, plan, threads)
    if gpu:
        logger.info("classification without alignment runs on the CPU; --gpu serves the training")
    from alphacryo4d.resample.native_stage import NativeEngine

    return NativeEngine(particles, plan, threads, memory=memory, scratch=scratch)
