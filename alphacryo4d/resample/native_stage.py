"""Our engine on files: classify, judge left-out particles, reconstruct the classes, write."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.memory import half_of_memory
from alphacryo4d.core.progress import Progress, show_progress
from alphacryo4d.core.reading import load_archive
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.maths.fourier import fourier_resize
from alphacryo4d.particles.copies import batch_half_sets
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.samples import leave_out_junk, match_intensities, prepare_rows
from alphacryo4d.relion.preflight import check_map
from alphacryo4d.resample.engines import IndexArray, Plan
from alphacryo4d.resample.fold_stage import (
    CHECKPOINT,
    CLASS_VOLUMES,
    HELDOUT,
    FoldClass,
    FoldClasses,
    write_fold,
)
from alphacryo4d.resample.options import analysis_box

if TYPE_CHECKING:
    from alphacryo4d.ml3d.classify import Classification
    from alphacryo4d.ml3d.images import PreparedImages
    from alphacryo4d.ml3d.signal import Signal

logger = logging.getLogger(__name__)


def samples_memory(particles: ParticleSet, count: int) -> float:
    """GB that all Fourier samples of some images take, with their CTF."""
    radius = particles.box // 2 - 1
    return count * 0.5 * np.pi * radius**2 * 12 / 2**30


class FoldCheckpoint:
    """State of a running classification, kept at most once a minute (``--continue``)."""

    def __init__(self, path: Path, interval: float = 60.0) -> None:
        self.path = path
        self.interval = interval
        self.saved = time.monotonic()

    def load(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """State that was saved last, or None."""
        if not self.path.is_file():
            return None
        try:
            return load_archive(self.path)
        except InputError as damaged:
            logger.warning("checkpoint left out: %s", damaged)
            return None

    def save(self, state: dict[str, np.ndarray[Any, Any]]) -> None:
        """Keep a state, unless the last one is recent."""
        if time.monotonic() - self.saved < self.interval:
            return
        with files.atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **state)  # type: ignore[arg-type]
        self.saved = time.monotonic()

    def remove(self) -> None:
        """Forget the state: the classification is finished."""
        self.path.unlink(missing_ok=True)


class NativeEngine:
    """Our engine; keeps the Fourier samples of a batch between its folds."""

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
        self._images: PreparedImages | None = None
        self._whole = True
        self._intensity = np.ones(0)
        self._signal: Signal | None = None
        self._solvent = self._mask(plan.relion.mask, "mask")
        self._focus = self._mask(plan.classify.focus_mask, "focus mask")

    def images(self, batch: IndexArray) -> PreparedImages:
        """Fourier samples of a batch, read once.

        All shells where they fit in memory. Otherwise those of the classification, and the final
        volumes read the images of their class again.
        """
        if self._images is None or self._batch is None or not np.array_equal(self._batch, batch):
            self.close()
            options = self.plan.classify
            finest = min(options.initial_resolution, options.final_resolution or np.inf)
            whole = samples_memory(self.particles, len(batch)) <= self.memory
            with show_progress("read images") as progress:
                self._images = self._prepared(
                    batch,
                    None if whole else finest,
                    threads=self.threads,
                    memory=self.memory,
                    scratch=self.scratch,
                    progress=progress,
                )
            self._batch, self._whole = batch, whole
            self._signal = leave_out_junk(
                self._images,
                finest,
                keep=options.keep_outliers,
                solvent=self._solvent,
                diameter=options.mask_diameter,
                threads=self.threads,
            )
            self._intensity = match_intensities(
                self._images, finest, options.normalise, threads=self.threads
            )
        return self._images

    def _prepared(self, rows: IndexArray, resolution: float | None, **where: Any) -> PreparedImages:
        return prepare_rows(
            self.particles,
            rows,
            resolution,
            symmetry=self.plan.relion.symmetry,
            noise_groups=self.plan.classify.noise_groups,
            normalise=self.plan.classify.normalise,
            diameter=self.plan.classify.mask_diameter,
            **where,
        )

    def _mask(self, path: Path | None, what: str) -> np.ndarray[Any, Any] | None:
        """A mask that fits the particles, from its file."""
        if path is None:
            return None
        check_map(path, self.particles, what=what, is_mask=True)
        return read_volume(path)[0]

    def close(self) -> None:
        """Let go of the images."""
        self._images = None

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
        """Classify, judge the held-out particles, reconstruct the classes, write."""
        del table
        from alphacryo4d.ml3d.classify import classify

        options = self.plan.classify
        images = self.images(batch)
        local = np.searchsorted(batch, rows)
        checkpoint = FoldCheckpoint(folder / CHECKPOINT)
        result = classify(
            images,
            local,
            options,
            np.random.default_rng([self.plan.seed, *stream]),
            solvent=self._solvent,
            focus=self._focus,
            threads=self.threads,
            progress=lambda done, total, text="": progress(0.9 * done, total, text),
            check=deadline.check,
            checkpoint=checkpoint,
        )
        for line in result.log:
            logger.info("%s: %s", folder.name, line)
        outputs = self._write_heldout(folder, images, np.searchsorted(batch, heldout), result)
        if images.outlier is not None and images.outlier.any():
            outliers = batch[images.outlier].astype(np.int64)
            outputs.append(files.save_array(folder / files.OUTLIERS_NPY, outliers))
        if self._signal is not None:
            outputs.append(files.save_array(folder / files.SIGNAL_NPY, self._signal.table()))
        maps, classes = self._write_classes(folder, images, batch, local, result)
        outputs += maps
        outputs += write_fold(
            folder,
            options.iterations,
            table=self.particles.table,
            rows=rows,
            result=FoldClasses(result.labels + 1, classes),
            certainty=result.confidence,
        )
        progress(1.0, 1.0)
        checkpoint.remove()
        return outputs

    def _write_heldout(
        self, folder: Path, images: PreparedImages, heldout: IndexArray, result: Classification
    ) -> list[Path]:
        """Class that each left-out particle fits best among those that are not dropped."""
        best = np.full(len(heldout), -1, dtype=np.int32)
        labels = result.labels[result.labels >= 0]
        sizes = np.bincount(labels, minlength=len(result.volumes))
        kept = np.flatnonzero(sizes >= self.plan.resample.minimum_class_size)
        if len(heldout) and len(kept):
            from alphacryo4d.ml3d.classify import expectation

            nearest, _ = expectation(
                images,
                heldout,
                result.volumes[kept],
                resolution=result.resolution,
                noise=result.noise,
                threads=self.threads,
            )
            best = (kept[nearest] + 1).astype(np.int32)
        return [files.save_array(folder / HELDOUT, best)]

    def _write_classes(
        self,
        folder: Path,
        images: PreparedImages,
        batch: IndexArray,
        local: IndexArray,
        result: Classification,
    ) -> tuple[list[Path], list[FoldClass]]:
        """Final maps and half maps at the full box, and the volumes of the classification."""
        from alphacryo4d.ml3d.reconstruct import reconstruct

        iteration, voxel_size = self.plan.classify.iterations, images.pixel_size
        labels = np.full((len(images), 1), -1, dtype=np.int32)
        labels[local, 0] = result.labels
        half_sets = batch_half_sets(self.particles, batch)
        deep = len(self.plan.classify.levels) > 1
        outputs, classes, kept = [], [], []
        again = None
        if not self._whole:

            def again(rows: IndexArray) -> PreparedImages:
                prepared = self._prepared(batch[rows], None, threads=1)
                prepared.ctf[:] *= self._intensity[rows, None].astype(np.float32)
                return prepared

        for item in reconstruct(
            images, labels, half_sets=half_sets, source=again, threads=self.threads
        ):
            number = item.label + 1
            for half, volume in enumerate((item.volume, *item.half_maps)):
                path = files.class_volume(folder, iteration, number, half)
                outputs.append(write_volume(path, volume, voxel_size))
            parent = int(result.parents[item.label]) + 1 if deep else 0
            classes.append(FoldClass(number, parent, item.count, item.resolution))
            kept.append(item.label)
        small = analysis_box("auto", images.box, voxel_size, result.resolution)
        volumes = np.stack([fourier_resize(result.volumes[label], small) for label in kept])
        return [*outputs, files.save_array(folder / CLASS_VOLUMES, volumes)], classes
