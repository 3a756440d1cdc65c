"""What the resampling recorded, and images prepared as it prepared them.

Every command of the voting stage that reads images again takes point group, masks, noise groups
and resolution from here, so that all of them see the particles as the classification did.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import read_job, recorded_inputs
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.samples import match_intensities, prepare_rows
from alphacryo4d.relion.preflight import check_map

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """Options of a resampling that its volumes and particles depend on.

    Attributes
    ----------
    engine : str
        ``native`` or ``relion``.
    classify : ClassifyOptions
        With the noise groups and the focus mask.
    symmetry : str
        Point group, in RELION's orientation.
    mask : Path or None
        Solvent mask.
    minimum_class_size : int
        Classes with fewer particles were dropped.
    """

    engine: str = "native"
    classify: ClassifyOptions = dataclasses.field(default_factory=ClassifyOptions)
    symmetry: str = "C1"
    mask: Path | None = None
    minimum_class_size: int = 20

    @property
    def resolution(self) -> float:
        """Finest resolution (A) at which the folds were classified."""
        coarse = self.classify.initial_resolution
        if self.engine != "native":
            return coarse
        return min(coarse, self.classify.final_resolution or coarse)

    def mask_diameter(self, given: float | None) -> float | None:
        """Diameter (A) of the spherical mask: the one given, or else that of the resampling."""
        if given is not None and self.mask is not None:
            logger.warning(
                "--mask-diameter %g is not used: the mask of the resampling, %s, takes its place",
                given, self.mask,
            )  # fmt: skip
        return given or self.classify.mask_diameter

    def with_symmetry(self, symmetry: str | None) -> Recorded:
        """The same with another point group, where one is given."""
        return self if symmetry is None else dataclasses.replace(self, symmetry=symmetry)

    def on_grid(self, particles: ParticleSet) -> ParticleSet:
        """The particles for volumes of the box and voxel size of the resampling."""
        return particles.on_grid(*self.classify.grid)


def read_recorded(resample: Path) -> Recorded:
    """Options in ``job.json`` of a resample folder; the defaults for what is not there."""
    record = read_job(resample) or {}
    options = record.get("options", {})
    given = {
        entry["given"]: path
        for entry, path in zip(record.get("inputs", []), recorded_inputs(resample), strict=True)
        if "given" in entry
    }
    root = Path(record.get("image_root", "."))
    classify = dict(options.get("classify", {}))
    known = {field.name for field in dataclasses.fields(ClassifyOptions)}
    if classify.get("focus_mask") is not None:
        focus = classify["focus_mask"]
        classify["focus_mask"] = given.get(focus, root / focus)
    stage, maps = options.get("resample", {}), options.get("relion", {})
    mask = maps.get("mask")
    return Recorded(
        engine=stage.get("engine", "native"),
        classify=ClassifyOptions(**{name: classify[name] for name in known & classify.keys()}),
        symmetry=maps.get("symmetry", "C1"),
        mask=None if mask is None else given.get(mask, root / mask),
        minimum_class_size=int(stage.get("minimum_class_size", 20)),
    )


def resample_of(folder: Path) -> Path | None:
    """Resample folder that a voting folder was made from, as its record names the inputs."""
    for path in recorded_inputs(folder):
        if path.name == files.GROUPS_NPY:
            if not path.is_file():
                raise InputError(
                    f"{path}: no such file; {folder} was made from that project: put it back, or "
                    "make the states again from where it is now"
                )
            return path.parent
    return None


def recorded_of(folder: Path) -> Recorded:
    """Options of the resampling behind a voting folder; the defaults where there is none."""
    resample = resample_of(folder)
    return Recorded() if resample is None else read_recorded(resample)


def symmetry_of(folder: Path, given: str | None) -> str:
    """Point group that was asked for, or else that of the resampling behind a voting folder."""
    return given or recorded_of(folder).symmetry


def prepare_recorded(
    particles: ParticleSet,
    rows: Array,
    recorded: Recorded,
    resolution: float | None,
    *,
    outliers: Array | None = None,
    threads: int | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Fourier samples with the point group, noise groups and intensity scales of a resampling.

    Parameters
    ----------
    particles : ParticleSet
    rows : (n,) int array
    recorded : Recorded
    resolution : float or None
        Finest resolution that is kept (A); all shells when None.
    outliers : array, optional
        Particles (rows of the table) that took no part in the resampling; here they take none too.
    threads, memory, scratch, progress
        As :func:`alphacryo4d.particles.samples.prepare_rows` takes them.
    """
    images = prepare_rows(
        particles,
        rows,
        resolution,
        symmetry=recorded.symmetry,
        noise_groups=recorded.classify.noise_groups,
        normalise=recorded.classify.normalise,
        diameter=recorded.classify.mask_diameter,
        threads=threads,
        memory=memory,
        scratch=scratch,
        progress=progress,
    )
    if outliers is not None and images.outlier is not None:
        gone = np.isin(rows, outliers)
        images.outlier[gone] = True
        images.ctf[gone] = 0
    match_intensities(images, recorded.resolution, recorded.classify.normalise, threads=threads)
    return images


def read_mask(path: Path, particles: ParticleSet) -> Array:
    """Mask that fits the particles."""
    check_map(path, particles, what="mask", is_mask=True)
    return read_volume(path)[0]


class BatchImages:
    """Images of all particles of a batch, read once while work stays in that batch.

    Parameters
    ----------
    particles : ParticleSet
    groups : (P, 2) int array
        Batch and group of every particle, both from 1.
    recorded : Recorded
    outliers : array, optional
        As :func:`prepare_recorded` takes them.
    change : callable, optional
        ``change(images, batch)`` gives what is kept instead of the images read.
    threads, memory, scratch
        As :func:`prepare_recorded` takes them.
    """

    def __init__(
        self,
        particles: ParticleSet,
        groups: Array,
        recorded: Recorded,
        *,
        outliers: Array | None = None,
        change: Callable[[PreparedImages, int], PreparedImages] | None = None,
        threads: int | None = None,
        memory: float | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.particles, self.groups, self.recorded = particles, groups, recorded
        self.outliers, self.change, self.threads = outliers, change, threads
        self.memory, self.scratch = memory, scratch
        self._batch = 0
        self._images: PreparedImages | None = None

    @property
    def batches(self) -> int:
        """Number of batches."""
        return int(self.groups[:, 0].max())

    @property
    def folds(self) -> int:
        """Number of folds of a batch, M + 1."""
        return int(self.groups[:, 1].max())

    def rows(self, batch: int) -> Array:
        """Particles of a batch, ascending: the order of its images."""
        return np.flatnonzero(self.groups[:, 0] == batch)

    def left_out(self, batch: int, fold: int) -> Array:
        """Which images of a batch the fold (from 1) leaves out, (n,) bool."""
        left: Array = self.groups[self.rows(batch), 1] == fold
        return left

    def of(self, batch: int) -> PreparedImages:
        """Images of a batch (from 1)."""
        if self._images is None or self._batch != batch:
            self._images = None
            images = prepare_recorded(
                self.particles,
                self.rows(batch),
                self.recorded,
                self.recorded.resolution,
                outliers=self.outliers,
                threads=self.threads,
                memory=self.memory,
                scratch=self.scratch,
            )
            self._images = images if self.change is None else self.change(images, batch)
            self._batch = batch
        return self._images
