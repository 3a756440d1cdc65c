"""The reference classifier as files: conformers and a particle table in, labels out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.assessment.conformers import Conformer
from alphacryo4d.assessment.conformers_stage import load_conformers
from alphacryo4d.assessment.limit import ImagingTable, classify_by_reference, reference_scores
from alphacryo4d.assessment.marginal_reference import (
    conformer_cubes,
    marginalise_poses,
    scale_and_noise,
)
from alphacryo4d.assessment.options import ReferenceOptions
from alphacryo4d.assessment.pose_errors import pose_errors
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import load_array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.rotations import euler_angles, euler_matrices, rotation_matrices
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.samples import prepare_rows

_BLOCK = 4096
_SOME = 1024
WIDTH = 7
"""Columns of a reference: label, certainty, and the pose that it finds."""


def make_reference(
    conformers: Sequence[str],
    table: Path,
    options: ReferenceOptions,
    *,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Array:
    """What the reference classifier says of the particles of a table.

    Returns
    -------
    (P, 2) or (P, 7) float32 array
        Label and certainty; where poses are marginalised also the pose that the label's volume
        fits best: rot, tilt, psi (degrees) and two shifts (A).
    """
    particles = read_particles(table)
    groups = np.unique(particles.optics_group)
    if len(groups) > 1:
        raise InputError(f"{table}: the reference classifier knows one optics group, not several")
    if np.any(particles.phase_shift):
        raise InputError(f"{table}: the reference classifier knows no phase plate")
    molecules = load_conformers(conformers, box=particles.box, pixel_size=particles.pixel_size)
    prior = options.pose_prior
    if prior is None:
        return _at_given_poses(molecules, particles, options, threads, progress)
    return _marginalised(molecules, particles, options, prior, threads, progress)


def _at_given_poses(
    molecules: Sequence[Conformer],
    particles: ParticleSet,
    options: ReferenceOptions,
    threads: int,
    progress: Progress,
) -> Array:
    optics, group = particles.optics, int(particles.optics_group[0])
    imaging = ImagingTable(
        angles=particles.angles,
        shifts=particles.shifts,
        defocus=particles.defocus,
        box=particles.box,
        pixel_size=particles.pixel_size,
        voltage=float(optics.voltage[group]),
        spherical_aberration=float(optics.spherical_aberration[group]),
        amplitude_contrast=float(optics.amplitude_contrast[group]),
    )
    cross, power, energy, samples = reference_scores(
        molecules,
        particles.images,
        imaging,
        resolution=options.reference_resolution,
        atom_sigma=options.atom_sigma,
        threads=threads,
        progress=progress,
    )
    result = classify_by_reference(cross, power, energy, samples=samples)
    return np.stack([result.labels, result.certainty], axis=1).astype(np.float32)


def _marginalised(
    molecules: Sequence[Conformer],
    particles: ParticleSet,
    options: ReferenceOptions,
    prior: tuple[float, float],
    threads: int,
    progress: Progress,
) -> Array:
    """Labels, certainties and poses (P, 7), block by block."""
    resolution, box = options.reference_resolution, particles.box
    if resolution * (box // 2 - 1) < box * particles.pixel_size * (1 - 1e-6):
        raise InputError(
            f"resolution {resolution} A is beyond the Nyquist limit of {2 * particles.pixel_size} A"
        )
    grid = Grid(shell_of_resolution(resolution, box, particles.pixel_size), threads)
    cubes = conformer_cubes(
        molecules, grid, box=box, pixel_size=particles.pixel_size, atom_sigma=options.atom_sigma
    )
    result = np.empty((len(particles), WIDTH), np.float32)
    rng, every = np.random.default_rng(0), np.arange(len(particles))
    some = np.sort(rng.permutation(every)[:_SOME])
    images = prepare_rows(particles, some, resolution, threads=threads)
    scale, noise = scale_and_noise(images, cubes, grid, errors=prior)
    cubes *= np.float32(scale)
    for start in range(0, len(every), _BLOCK):
        progress(start, len(every))
        rows = every[start : start + _BLOCK]
        images = prepare_rows(particles, rows, resolution, threads=threads)
        marginal = marginalise_poses(images, cubes, grid, noise=noise, errors=prior)
        best = marginal.evidence.argmax(axis=1)
        here = np.arange(len(rows))
        apart = marginal.evidence - marginal.evidence.max(axis=1, keepdims=True)
        turns = rotation_matrices(marginal.rotations[here, best])
        result[rows, 0] = best + 1
        result[rows, 1] = 1 / np.exp(apart).sum(axis=1)
        result[rows, 2:5] = euler_angles(turns @ euler_matrices(particles.angles[rows]))
        result[rows, 5:] = particles.shifts[rows] + marginal.shifts[here, best]
    progress(len(every), len(every))
    return result


def read_reference(path: Path, particles: int) -> Array:
    """A reference (P, 2) or (P, 7) that an earlier run saved."""
    known = load_array(path, dtype=np.floating, ndim=2)
    if known.shape not in ((particles, 2), (particles, WIDTH)):
        raise InputError(
            f"{path}: has shape {known.shape}, but ({particles}, 2) or ({particles}, {WIDTH}) is "
            "needed: label, certainty and perhaps pose of every particle, as --save-reference "
            "writes them"
        )
    return known


def reference_of(
    given: Sequence[str],
    table: Path,
    particles: int,
    options: ReferenceOptions,
    threads: int,
    progress: Progress,
) -> Array:
    """A reference made from conformers, or read from one ``.npy`` file."""
    if len(given) == 1 and given[0].endswith(".npy"):
        return read_reference(Path(given[0]), particles)
    return make_reference(given, table, options, threads=threads, progress=progress)


def reference_pose_errors(known: Array, true: Array, truth: Array) -> dict[str, Any]:
    """Errors of the poses that the reference finds; see :func:`pose_errors`."""
    known, true, truth = (values[truth > 0] for values in (known, true, truth))
    return pose_errors(known[:, 2:5], known[:, 5:], true[:, :3], true[:, 3:], truth)
