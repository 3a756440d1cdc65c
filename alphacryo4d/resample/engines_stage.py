"""The two engines of classification behind one face: they write the same files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphacryo4d import files
from alphacryo4d.job import Deadline
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.mrc import write_volume
from alphacryo4d.particles import ParticleSet
from alphacryo4d.progress import Progress
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.fold_stage import HELDOUT, FoldClass, FoldClasses, write_fold

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages
    from alphacryo4d.relion.plan import Request

logger = logging.getLogger(__name__)

IndexArray = np.ndarray[Any, np.dtype[np.intp]]


class Plan(Protocol):
    """What the engines read of the plan of a stage."""

    classify: ClassifyOptions
    relion: RelionOptions
    seed: int


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


def make_engine(
    name: str, particles: ParticleSet, plan: Plan, *, threads: int | None, gpu: str | None
) -> Engine:
    """Engine by name; a GPU is refused with the reason before any work."""
    from alphacryo4d.relion.options import refuse_gpu_without_alignment

    if name == "relion":
        refuse_gpu_without_alignment(gpu)
        return RelionEngine(particles, plan, threads)
    if gpu:
        logger.info("classification without alignment runs on the CPU; --gpu serves the training")
    return NativeEngine(particles, plan, threads)


def finest_resolution(options: ClassifyOptions) -> float:
    """Finest resolution in Angstrom that a classification may come to use."""
    if options.sharpen_to > 0:
        return min(options.limit_resolution, options.sharpen_to)
    return options.limit_resolution


class NativeEngine:
    """Our engine; keeps the Fourier samples of a batch between its folds."""

    def __init__(self, particles: ParticleSet, plan: Plan, threads: int | None) -> None:
        self.particles = particles
        self.plan = plan
        self.threads = threads
        self._batch: IndexArray | None = None
        self._images: PreparedImages | None = None

    def images(self, batch: IndexArray, resolution: float) -> PreparedImages:
        """Fourier samples of a batch, read once."""
        if self._images is None or not np.array_equal(self._batch, batch):
            from alphacryo4d.progress import show_progress

            self._images = None
            with show_progress("read images") as progress:
                self._images = prepare(
                    self.particles, batch, resolution, threads=self.threads, progress=progress
                )
            self._batch = batch
        return self._images

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
        """Classify, judge the held-out particles, reconstruct the classes, write."""
        del table
        from alphacryo4d.ml3d.classify import classify, expectation

        options = self.plan.classify
        images = self.images(batch, finest_resolution(options))
        result = classify(
            images,
            np.searchsorted(batch, rows),
            options,
            np.random.default_rng([self.plan.seed, *stream]),
            threads=self.threads,
            progress=progress,
            check=deadline.check if deadline is not None else None,
        )
        for line in result.log:
            logger.info("%s: %s", folder.name, line)
        sizes = np.bincount(result.labels, minlength=len(result.volumes))
        filled = np.flatnonzero(sizes > 0)
        best = np.zeros(len(heldout), dtype=np.int32)
        if len(heldout):
            nearest, _ = expectation(
                images,
                np.searchsorted(batch, heldout),
                result.volumes[filled],
                resolution=result.resolution,
                noise=result.noise,
                threads=self.threads,
            )
            best = (filled[nearest] + 1).astype(np.int32)
        outputs = [files.save_array(folder / HELDOUT, best)]
        deep = len(options.levels) > 1
        classes = []
        for index in filled:
            path = files.class_volume(folder, options.iterations, int(index) + 1)
            outputs.append(write_volume(path, result.volumes[index], self.particles.pixel_size))
            parent = int(result.parents[index]) + 1 if deep else 0
            classes.append(
                FoldClass(int(index) + 1, parent, int(sizes[index]), float(result.resolution))
            )
        return outputs + write_fold(
            folder,
            options.iterations,
            table=self.particles.table,
            rows=rows,
            result=FoldClasses(result.labels + 1, classes),
            certainty=result.confidence,
        )


def prepare(
    particles: ParticleSet,
    rows: IndexArray,
    resolution: float | None,
    *,
    threads: int | None,
    progress: Progress,
) -> PreparedImages:
    """Fourier samples of some particles up to a resolution (all shells when None)."""
    from alphacryo4d.ml3d.images import prepare_images

    return prepare_images(
        lambda local: particles.images(rows[local]),
        angles=particles.angles[rows],
        shifts=particles.shifts[rows],
        defocus=particles.defocus[rows],
        phase_shift=particles.phase_shift[rows],
        optics_group=particles.optics_group[rows],
        optics=particles.optics,
        box=particles.box,
        pixel_size=particles.pixel_size,
        limit_resolution=resolution,
        threads=threads,
        progress=progress,
    )


def relion_request(options: ClassifyOptions, seed: int, stream: tuple[int, ...]) -> Request:
    """What RELION is asked for, with a seed of its own for every fold."""
    from alphacryo4d.relion.plan import Request

    own_seed = int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0] % (2**31 - 1))
    return Request(
        levels=options.levels,
        iterations=options.iterations,
        limit_resolution=options.limit_resolution,
        particle_diameter=options.mask_diameter,
        seed=own_seed,
    )


class RelionEngine:
    """RELION's Class3D without alignment; held-out particles are judged by our expectation."""

    def __init__(self, particles: ParticleSet, plan: Plan, threads: int | None) -> None:
        self.particles = particles
        self.plan = plan
        self.threads = threads

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
        """Run RELION on the fold's table and judge the held-out particles."""
        del rows, batch
        from alphacryo4d.relion.classify import classify_with_relion

        options = self.plan.classify
        found = classify_with_relion(
            table,
            folder,
            relion_request(options, self.plan.seed, stream),
            self.plan.relion,
            threads=self.threads,
            resume=True,
            deadline=deadline,
            progress=progress,
        )
        best = np.zeros(len(heldout), dtype=np.int32)
        if len(heldout):
            from alphacryo4d.ml3d.classify import expectation
            from alphacryo4d.mrc import read_volume
            from alphacryo4d.progress import no_progress

            images = prepare(
                self.particles,
                heldout,
                options.limit_resolution,
                threads=self.threads,
                progress=no_progress,
            )
            nearest, _ = expectation(
                images,
                np.arange(len(heldout)),
                np.stack([read_volume(item.map)[0] for item in found.classes]),
                resolution=options.limit_resolution,
                threads=self.threads,
            )
            numbers = np.array([item.number for item in found.classes], dtype=np.int32)
            best = numbers[nearest]
        return [*found.outputs, files.save_array(folder / HELDOUT, best)]
