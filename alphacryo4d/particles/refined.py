"""Tables with other poses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import euler_angles, euler_matrices, rotation_matrices
from alphacryo4d.particles.origins import ANGLES, OLD_ORIGINS, ORIGINS
from alphacryo4d.particles.particle_set import ParticleSet


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
