"""RELION's engine on files, with our expectation for the left-out particles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.memory import half_of_memory
from alphacryo4d.core.progress import Progress, no_progress, show_progress
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.resample.engines import IndexArray, Plan
from alphacryo4d.resample.fold_stage import HELDOUT

if TYPE_CHECKING:
    from alphacryo4d.ml3d.signal import Signal
    from alphacryo4d.relion.classify import Classified
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

    def __init__(
        self,
        particles: ParticleSet,
        plan: Plan,
        threads: int | None,
        *,
        memory: float | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.particles = particles
        self.plan = plan
        self.threads = threads
        self.memory = memory or half_of_memory()
        self.scratch = scratch
        self._batch: IndexArray | None = None
        self._measured: Signal | None = None

    def close(self) -> None:
        """Nothing is kept."""

    def _signal(self, batch: IndexArray, scratch: Path) -> Signal:
        """Whether the images of a batch show the particle: measured as our own engine does."""
        known = self._batch is not None and np.array_equal(self._batch, batch)
        if self._measured is None or not known:
            from alphacryo4d.io.mrc import read_volume
            from alphacryo4d.particles.samples import leave_out_junk, prepare_rows

            options, relion = self.plan.classify, self.plan.relion
            with show_progress("read images") as progress:
                images = prepare_rows(
                    self.particles, batch, options.initial_resolution, symmetry=relion.symmetry,
                    normalise=options.normalise, diameter=options.mask_diameter,
                    threads=self.threads, memory=self.memory, scratch=scratch,
                    progress=progress,
                )  # fmt: skip
            self._measured = leave_out_junk(
                images, options.initial_resolution, keep=options.keep_outliers,
                solvent=None if relion.mask is None else read_volume(relion.mask)[0],
                diameter=options.mask_diameter, threads=self.threads,
            )  # fmt: skip
            self._batch = batch
        return self._measured

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
        """Run RELION on the fold's table, without junk, and judge the held-out particles."""
        del table
        from alphacryo4d.relion.classify import classify_with_relion

        options = self.plan.classify
        signal = self._signal(batch, self.scratch or folder / "scratch")
        junk = batch[signal.outlier & (not options.keep_outliers)].astype(np.int64)
        classified = classify_with_relion(
            self.particles.path,
            folder,
            relion_request(options, self.plan.seed, stream),
            self.plan.relion,
            rows=rows,
            outliers=junk,
            threads=self.threads,
            resume=True,
            deadline=deadline,
            progress=progress,
        )
        outputs = [*classified.outputs, files.save_array(folder / files.SIGNAL_NPY, signal.table())]
        outputs.append(
            files.save_array(folder / HELDOUT, self._nearest(heldout, classified).astype(np.int32))
        )
        if len(junk):
            outputs.append(files.save_array(folder / files.OUTLIERS_NPY, junk))
        return outputs

    def _nearest(self, heldout: IndexArray, classified: Classified) -> IndexArray:
        """Class, from 1, that each left-out particle fits best; -1 where none is large enough."""
        options = self.plan.classify
        best: IndexArray = np.full(len(heldout), -1)
        kept = [
            item
            for item in classified.classes
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
            best = np.array([item.number for item in kept], dtype=np.int64)[nearest]
        return best
