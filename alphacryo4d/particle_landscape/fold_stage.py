"""Folds of the particle landscape: components and likelihoods of every fold, kept in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import NO_ROWS, Array
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import Passes, show_progress
from alphacryo4d.core.reading import load_archive
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.latent import packed
from alphacryo4d.particle_landscape.coordinates import fold_coordinates
from alphacryo4d.particle_landscape.frame import posterior
from alphacryo4d.particle_landscape.options import CoordinateOptions
from alphacryo4d.particles.copies import copied_images
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.folds import seed_labels
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.voting.recorded_stage import Recorded, prepare_recorded, read_mask

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages

FOLDS = "folds"
"""Folder of the results of single folds, so that work can go on after an interruption."""
SCRATCH = ".scratch"


@dataclass(frozen=True)
class FoldInputs:
    """What all folds share: the particles, their groups, the states to start from, the options."""

    particles: ParticleSet
    groups: Array
    states: Array
    options: CoordinateOptions
    fit: FitOptions
    recorded: Recorded
    flags: RunFlags
    outliers: Array = field(default_factory=lambda: NO_ROWS)
    """Particles (rows of the table) that took no part in the resampling, and take none here."""
    states_of: str = ""
    """Folder of the set that the states are of."""

    @property
    def folds(self) -> int:
        """Number of folds of a batch, M + 1."""
        return int(self.groups[:, 1].max())

    @property
    def batches(self) -> int:
        """Number of batches."""
        return int(self.groups[:, 0].max())

    @cached_property
    def copies(self) -> Array | None:
        """Image of every particle, (P,) int, where some are copies of one."""
        return copied_images(self.particles)

    def images_of(self, rows: Array | slice) -> Array | None:
        """Image of each of some particles, where there are copies."""
        return None if self.copies is None else self.copies[rows]

    def members(self, batch: int) -> Array:
        """Particles of a batch, ascending."""
        return np.flatnonzero(self.groups[:, 0] == batch)

    def sides(self, batch: int, fold: int) -> tuple[Array, Array]:
        """Particles of a fold (from 1) and those that it leaves out, as places in the batch."""
        left = self.groups[self.members(batch), 1] == fold
        return np.flatnonzero(~left), np.flatnonzero(left)


def fit_options(
    options: CoordinateOptions, recorded: Recorded, pixel_size: float, seed: int
) -> FitOptions:
    """Options of the fit of a fold."""
    finest = max(min(options.final_resolution, recorded.resolution), 2.2 * pixel_size)
    return FitOptions(
        resolution=finest,
        components=16,
        initial_resolution=max(options.initial_resolution, finest),
        iterations=options.iterations,
        move=options.refine_poses and recorded.classify.focus_mask is None,
        pose_sigma=options.pose_sigma,
        split_merge=False,
        mask_diameter=recorded.mask_diameter(options.mask_diameter),
        seed=seed,
    )


def fold_file(folder: Path, batch: int, fold: int) -> Path:
    """Results of a fold (from 1)."""
    return folder / FOLDS / f"b{batch}_f{fold}.npz"


def run_folds(job: Job, inputs: FoldInputs) -> None:
    """Fit all folds of all batches; those that are there already are left as they are."""
    solvent = inputs.recorded.mask
    mask = None if solvent is None else read_mask(solvent, inputs.particles)
    left = [
        (batch, fold)
        for batch in range(1, inputs.batches + 1)
        for fold in range(1, inputs.folds + 1)
        if not job.completed(f"fold_b{batch}_f{fold}")
    ]
    images: PreparedImages | None = None
    of_batch = 0
    with show_progress("components of the folds") as progress:
        passes = Passes(progress, len(left))
        for batch, fold in left:
            inputs.flags.deadline.check()
            with passes.one():
                if images is None or of_batch != batch:
                    images, of_batch = None, batch  # those of the batch before go first
                    images = _images(job, inputs, batch)
                path = fold_file(job.folder, batch, fold)
                _write(path, _fold(images, inputs, batch, fold, mask))
            job.complete(f"fold_b{batch}_f{fold}", [path])
        progress(1, 1)


def _images(job: Job, inputs: FoldInputs, batch: int) -> PreparedImages:
    return prepare_recorded(
        inputs.particles,
        inputs.members(batch),
        inputs.recorded,
        inputs.fit.resolution,
        outliers=inputs.outliers,
        threads=inputs.flags.threads,
        memory=inputs.options.memory,
        scratch=job.folder / SCRATCH,
    )


def _fold(
    images: PreparedImages, inputs: FoldInputs, batch: int, fold: int, mask: Array | None
) -> dict[str, Array]:
    """What is kept of a fold: everything of the particles it left out, coordinates of the others.

    The likelihoods of the particles that it left out are kept whole, as they are evidence that is
    independent of the components.
    """
    members, workers = inputs.members(batch), thread_count(inputs.flags.threads)
    seen, left = inputs.sides(batch, fold)
    solvent = mask
    if inputs.recorded.classify.focus_mask is not None:
        from alphacryo4d.ml3d.focus import without_surroundings

        focus = read_mask(inputs.recorded.classify.focus_mask, inputs.particles)
        images = without_surroundings(
            images, seen, inputs.fit.resolution, diameter=inputs.fit.mask_diameter, solvent=mask,
            focus=focus, workers=workers,
        )[0]  # fmt: skip
        solvent = focus
    poses = MovingPoses(images, workers)
    start = seed_labels(inputs.states[members[seen]], int(inputs.states.max()))
    coordinates = fold_coordinates(
        poses, seen, left, start, inputs.fit, solvent=solvent, check=inputs.flags.deadline.check
    )
    mean, _ = posterior(coordinates.projected[seen], coordinates.information[seen])
    return {
        "cubes": coordinates.cubes,
        "projected": coordinates.projected[left],
        "information": packed(coordinates.information[left]),
        "seen": mean.astype(np.float32),
        "states": coordinates.states[left],
        "pose_sigma": np.array(coordinates.pose_sigma),
    }


def _write(path: Path, result: dict[str, Array]) -> None:
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **result)  # type: ignore[arg-type]


def read_fold(folder: Path, batch: int, fold: int) -> dict[str, Array]:
    """Results of a fold (from 1)."""
    return load_archive(fold_file(folder, batch, fold))
