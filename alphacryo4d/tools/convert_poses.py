"""Poses of a STAR table in the particles of the ``.cs`` file that it came from."""

from __future__ import annotations

import logging

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs_aberrations import without_beam_shift
from alphacryo4d.io.cs_star import cs_poses, pixels_of_shifts
from alphacryo4d.maths.rotations import cryosparc_vectors, euler_matrices, rotation_vectors
from alphacryo4d.particles.particle_set import ParticleSet

logger = logging.getLogger(__name__)

_SAME_ANGLE, _SAME_SHIFT = 1e-4, 1e-4
"""Degrees and A within which a pose is that of the ``.cs`` file: a table has six decimals."""


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
