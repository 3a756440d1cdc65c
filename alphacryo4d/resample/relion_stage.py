"""RELION's engine on files, with our expectation for the left-out particles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.resample.engines import IndexArray, Plan
from alphacryo4d.resample.fold_stage import HELDOUT

if TYPE_CHECKING:
    from alphacryo4d.relion.plan import Request


def relion_request(options: ClassifyOptions, seed: int, stream: tuple[int, ...]) -> Request:
    """What RELION is asked for, with a seed of its own for every fold."""
    from alphacryo4d.relion.plan import Request

    own_seed = int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0] % (2**31 - 1))
    return Request(
        levels=options.levels,
        iterations=options.iterations,
        limit_resolution=options.initial_resolution,
        particle_diameter=options.mask_diameter,
        seed=own_seed,
    )


class RelionEngine:
    """RELION's Class3D without alignment; held-out particles are judged by our expectation."""

    def __init__(self, particles: ParticleSet, plan: Plan, threads: int | None) -> None:
        self.particles = particles
        self.plan = plan
        self.threads = threads

    def close(self) -> None:
        """Nothing is kept."""

    def classify(
        self,
        folder: Path,
        rows: IndexArray,
        *,
        heldout: IndexArray,
        batch: IndexArray,
        stream: tuple[int, ...],
        table: Path,
        deadline: Deadline,
        progress: Progress,
    ) -> list[Path]:
        """Run RELION on the fold's table and judge the held-out particles."""
        del batch, table
        from alphacryo4d.relion.classify import classify_with_relion

        options = self.plan.classify
        found = classify_with_relion(
            self.particles.path,
            folder,
            relion_request(options, self.plan.seed, stream),
            self.plan.relion,
            rows=rows,
            threads=self.threads,
            resume=True,
            deadline=deadline,
            progress=progress,
        )
        best = np.full(len(heldout), -1, dtype=np.int32)
        kept = [
            item
            for item in found.classes
            if item.particles >= self.plan.resample.minimum_class_size
        ]
        if len(heldout) and kept:
            from alphacryo4d.io.mrc import read_volume
            from alphacryo4d.ml3d.classify import expectation
            from alphacryo4d.particles.samples import prepare_rows

            images = prepare_rows(
                self.particles,
                heldout,
                options.initial_resolution,
                normalise="none",  # the maps have the grey scale of the files
                threads=self.threads,
                progress=no_progress,
            )
            nearest, _ = expectation(
                images,
                np.arange(len(heldout)),
                np.stack([read_volume(item.map)[0] for item in kept]),
                resolution=options.initial_resolution,
                threads=self.threads,
            )
            best = np.array([item.number for item in kept], dtype=np.int32)[nearest]
        return [*found.outputs, files.save_array(folder / HELDOUT, best)]
