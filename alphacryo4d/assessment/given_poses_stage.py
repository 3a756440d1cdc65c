"""Poses that a simulated table says: read from a file, or refined against one map of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from alphacryo4d.assessment.consensus import RESOLUTIONS, START_ERRORS, refine_consensus
from alphacryo4d.assessment.imaging import perturb_rotations
from alphacryo4d.assessment.simulate import SimulatedTable
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import load_array
from alphacryo4d.core.progress import Progress
from alphacryo4d.maths.rotations import euler_angles, euler_matrices, rotation_matrices
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows


def read_poses(path: Path, particles: int) -> tuple[Array, Array]:
    """Angles (P, 3) in degrees and shifts (P, 2) in A of a particle table or a ``.npy`` file."""
    if path.suffix == ".npy":
        values = load_array(path, dtype=np.floating, ndim=2)
        if values.shape != (particles, 5):
            raise InputError(
                f"{path}: has shape {values.shape}, but ({particles}, 5) is needed: rot, tilt, psi "
                "in degrees and two shifts in Angstrom"
            )
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise InputError(f"{path}: row {bad[0] + 1} has a pose that is not a number")
        return values[:, :3], values[:, 3:]
    table = read_particles(path, need_images=False)
    if len(table) != particles:
        raise InputError(
            f"{path}: has {len(table)} particles, but {particles} are simulated; every particle "
            "needs a pose"
        )
    return table.angles, table.shifts


def with_poses_of(table: SimulatedTable, path: Path) -> SimulatedTable:
    """The table that says the poses of a file."""
    angles, shifts = read_poses(path, len(table))
    return replace(table, angles=angles, shifts=shifts)


def further_from_truth(table: SimulatedTable, rng: np.random.Generator) -> SimulatedTable:
    """The table with 2 degrees and 1 A more of error: where a consensus refinement starts."""
    angles = perturb_rotations(table.angles, START_ERRORS[0], rng)
    shifts = table.shifts + rng.normal(0, START_ERRORS[1], table.shifts.shape)
    return replace(table, angles=angles, shifts=shifts)


def with_consensus_poses(
    table: SimulatedTable, start: Path, scratch: Path, *, threads: int, progress: Progress
) -> SimulatedTable:
    """The table that says poses refined against one map of all particles.

    Parameters
    ----------
    table : SimulatedTable
        With the poses that the refinement starts from.
    start : Path
        The same as a particle table, with its images.
    scratch : Path
        Folder for samples that do not fit in memory.
    threads : int
        Threads.
    progress : Progress
        Callback.
    """
    particles = read_particles(start)
    finest = max(RESOLUTIONS[-1], 2.2 * particles.pixel_size)
    images = prepare_rows(
        particles, np.arange(len(particles)), finest, threads=threads, memory=4.0, scratch=scratch
    )
    poses = refine_consensus(images, workers=threads, progress=progress)
    angles = euler_angles(rotation_matrices(poses.rotations) @ euler_matrices(table.angles))
    return replace(table, angles=angles, shifts=table.shifts + poses.shifts)
