"""Tables, and cryoSPARC files, with other poses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import read_cs, write_cs
from alphacryo4d.io.cs_aberrations import without_beam_shift
from alphacryo4d.io.cs_star import cs_poses, pixels_of_shifts
from alphacryo4d.maths.rotations import (
    cryosparc_vectors,
    euler_angles,
    euler_matrices,
    rotation_matrices,
    rotation_vectors,
)
from alphacryo4d.particles.origins import ANGLES, OLD_ORIGINS, ORIGINS
from alphacryo4d.particles.particle_set import ParticleSet, read_particles

_SAME_ANGLE, _SAME_SHIFT = 1e-4, 1e-4
"""Degrees and A within which a pose is that of the ``.cs`` file: a table has six decimals."""


def write_refined_poses(
    particles: ParticleSet,
    rotations: Array,
    shifts: Array,
    path: Path,
    *,
    more: Mapping[str, Array] | None = None,
) -> Path:
    """Write the table with changed poses; those that it had are kept as ``ac4dInput...``.

    Origins are in Angstrom, as in RELION 3.1 to 5, or in pixels where the table is of RELION 3.0 or
    has them so.

    Parameters
    ----------
    particles : ParticleSet
    rotations : (P, 3) array
        Rotation vectors in the frame of the image (degrees).
    shifts : (P, 2) array
        Added to the shifts that centre the images (A).
    path : Path
        STAR file to write.
    more : mapping, optional
        Further columns.
    """
    turned = rotation_matrices(rotations) @ euler_matrices(particles.angles)
    angles = euler_angles(turned)
    moved = particles.shifts + shifts
    names: tuple[str, ...] = ORIGINS
    there = particles.table.columns
    in_pixels = ORIGINS[0] not in there and OLD_ORIGINS[0] in there
    if in_pixels or particles.table.dialect == "3.0":
        pixels = particles.optics.pixel_size[particles.optics_group]
        names, moved = OLD_ORIGINS, moved / pixels[:, None]
    columns = dict(zip(ANGLES, angles.T.round(6), strict=True))
    columns |= dict(zip(names, moved.T.round(6), strict=True))
    columns |= dict(more or {})
    others = ORIGINS if names is OLD_ORIGINS else OLD_ORIGINS
    kept = {n: f"ac4dInput{n[3:]}" for n in others if n in there}
    return particles.table.write_with_columns(path, columns, rename=kept or None)


def write_refined_cs(source: Path, refined: Path, path: Path) -> Path:
    """Write a ``.cs`` file with the poses of its refined table; every other field stays.

    Parameters
    ----------
    source : Path
        The ``.cs`` file that the table was made of, row by row.
    refined : Path
        What :func:`write_refined_poses` made of it.
    path : Path
        ``.cs`` file to write.
    """
    particles = np.array(read_cs(source))
    fill_refined_poses(particles, read_particles(refined, need_images=False))
    return write_cs(path, particles)


def fill_refined_poses(result: Array, particles: ParticleSet) -> int:
    """Put the poses of a table in the place of those that differ; other rows stay bit for bit.

    Parameters
    ----------
    result : (P,) structured array
        Particles with ``alignments3D``, row by row those of the table; changed in place.
    particles : ParticleSet
        The table, with poses.

    Returns
    -------
    int
        Particles whose pose was another one.
    """
    angles, shifts = particles.angles, particles.shifts
    if not np.isfinite(shifts).all():
        raise InputError(f"{particles.path}: no pixel size, of the shifts; give it: --pixel-size")
    before, shifts_before = cs_poses(result)
    turned = euler_matrices(angles) @ euler_matrices(np.nan_to_num(before)).transpose(0, 2, 1)
    same = np.linalg.norm(rotation_vectors(turned), axis=1) <= _SAME_ANGLE
    same &= (np.abs(shifts - shifts_before) <= _SAME_SHIFT).all(axis=1)
    changed = ~same
    beam = -without_beam_shift(result, np.zeros_like(shifts))
    pixels = (shifts + beam) / pixels_of_shifts(result)[:, None]
    result["alignments3D/pose"][changed] = cryosparc_vectors(angles[changed])
    result["alignments3D/shift"][changed] = pixels[changed]
    return int(changed.sum())
