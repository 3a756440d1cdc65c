"""A run seen beforehand: its checks, its plan, what it takes. Nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.plan import NEW, UNCHANGED, Plan
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.views import settled
from alphacryo4d.pipeline.estimate import estimate_lines, needs, require_resources
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.pipeline.plan import plan_lines, plan_run
from alphacryo4d.pipeline.preflight import require_possible

logger = logging.getLogger(__name__)


class Outlook:
    """What a run would do.

    Parameters
    ----------
    table : Path
        Particle table.
    project : Path
        Project folder.
    options : PipelineOptions
    seed : int
    overwrite : bool
        Everything is done again.
    """

    def __init__(
        self,
        table: Path,
        project: Path,
        options: PipelineOptions,
        seed: int,
        *,
        overwrite: bool = False,
    ) -> None:
        self.table = table
        self.project = project
        self.options = options
        self.seed = seed
        self.overwrite = overwrite
        self.particles: ParticleSet | None = None
        self.first: str | None = None  # what the run does before the stages, in words

    @cached_property
    def plans(self) -> list[tuple[str, Plan]]:
        """Name and plan of every stage."""
        return plan_run(
            self.table, self.project, self.options, self.seed, overwrite=self.overwrite,
            foreseen=True,
        )  # fmt: skip

    def check(
        self, gpu: str | None, given: Mapping[str, float | None], *, here: bool = True
    ) -> None:
        """Refuse what the run would refuse later, and what the machine has no room for.

        Parameters
        ----------
        gpu : str or None
            ``--gpu``.
        given : mapping
            Optics that the table lacks and only the real run fills in.
        here : bool
            The work is done on this machine, not submitted to a cluster.
        """
        if any(value is not None for value in given.values()):
            logger.info("the table lacks optics: pixel size and box are checked by the run itself")
            optics: dict[str, Any] = dict(given)
            self._settle(read_particles(self.table, **optics))
            return
        self.particles = read_particles(self.table).on_grid(*self.options.classify.grid)
        self._settle(self.particles)
        if self.plans and all(plan.kind == UNCHANGED for _, plan in self.plans):
            return
        require_possible(self.particles, self.project, self.options, gpu=gpu, here=here)
        if here and self.options.resample.engine == "native":
            require_resources(needs(self.particles, self.options, self.plans), self.project)

    def _settle(self, particles: ParticleSet) -> None:
        """Take what the images decide, or the results that are there, into the options."""
        classify = settled(
            self.options.classify, particles, engine=self.options.resample.engine,
            folder=None if self.overwrite else self.project / files.RESAMPLE,
        )  # fmt: skip
        self.options = replace(self.options, classify=classify)

    def say(self, threads: int | None) -> None:
        """Log the plan, what there is already, and time, memory and disk."""
        if self.first is not None:
            logger.info("%s", self.first)
        for line in self._plan():
            logger.info("%s", line)
        if self.particles is None:
            return
        for line in estimate_lines(self.particles, self.options, self.plans, self.project, threads):
            logger.info("%s", line)

    def _plan(self) -> list[str]:
        lines = plan_lines(self.project, self.plans)
        if any(plan.kind != NEW for _, plan in self.plans):
            return lines
        *names, last = (name for name, _ in self.plans)
        return [
            f"would split {self.table} into {self.options.resample.folds + 1} folds, classify each "
            f"by --classes {self.options.classify.classes}, and write "
            f"{self.project}/{', '.join(names)} and {last}",
            *lines,
        ]
