"""Fields of a ``.cs`` array, and what of a table fills them."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import read_header
from alphacryo4d.particles.copies import half_sets, image_count, particle_images
from alphacryo4d.particles.origins import SUBSET
from alphacryo4d.particles.particle_set import ParticleSet

_START_VALUES = {
    "error": 0, "error_min": 0, "resid_pow": 0, "slice_pow": 0, "image_pow": 0, "cross_cor": 0,
    "alpha": 1, "weight": 0, "pose_ess": 0, "shift_ess": 0, "class_posterior": 1, "class_ess": 1,
}  # fmt: skip
"""Fields of alignments3D that a STAR table does not give, with the value cryoSPARC starts from."""
_NO_ABERRATIONS = {"shift_A": 2, "tilt_A": 2, "trefoil_A": 2, "tetra_A": 4, "anisomag": 4}


def _split(particles: ParticleSet) -> Array:
    """Half-set of every particle, 0 or 1; alternating images where the table has none."""
    if particles.random_subset is not None:
        return np.asarray(half_sets(particles))
    table = particles.table
    if SUBSET in table.columns and not table.read_parts([SUBSET])[0][SUBSET].any():
        raise InputError(
            f"{table.path}: {SUBSET} is 0 in every row, which cryoSPARC does not know; remove the "
            "column, and half-sets are made, or split the particles in RELION"
        )
    ids = particle_images(particles)
    copied = image_count(ids) < len(ids)
    return np.asarray((ids if copied else np.arange(len(particles))) % 2)


def _layout(path_length: int, has_poses: bool) -> list[Any]:
    """Fields of a particle file of cryoSPARC, in its order."""
    fields: list[Any] = [
        ("uid", "<u8"),
        ("blob/path", f"S{path_length}"),
        ("blob/idx", "<u4"),
        ("blob/shape", "<u4", (2,)),
        ("blob/psize_A", "<f4"),
        ("blob/sign", "<f4"),
        ("ctf/type", "S9"),
        ("ctf/exp_group_id", "<u4"),
    ]
    numbers = ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad")
    for name in (*numbers, "phase_shift_rad", "scale", "scale_const"):
        fields.append((f"ctf/{name}", "<f4"))
    fields += [(f"ctf/{name}", "<f4", (count,)) for name, count in _NO_ABERRATIONS.items()]
    fields.append(("ctf/bfactor", "<f4"))
    if has_poses:
        fields += [
            ("alignments3D/split", "<u4"),
            ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/pose", "<f4", (3,)),
            ("alignments3D/psize_A", "<f4"),
            *((f"alignments3D/{name}", "<f4") for name in _START_VALUES),
            ("alignments3D/class", "<u4"),
        ]
    return fields


def _complete_optics(particles: ParticleSet) -> dict[str, Array]:
    """Optics of every group; boxes that the table lacks come from the stacks."""
    optics, path = particles.optics, particles.path
    box = np.array(optics.box)
    for group in np.unique(particles.optics_group[box[particles.optics_group] == 0]).tolist():
        stack = particles.stacks[particles.stack_index[particles.optics_group == group][0]]
        box[group] = read_header(stack).shape[1]
    values = {
        "box": box,
        "pixel_size": optics.pixel_size,
        "voltage": optics.voltage,
        "spherical_aberration": optics.spherical_aberration,
        "amplitude_contrast": optics.amplitude_contrast,
    }
    used = np.unique(particles.optics_group)
    missing = [name for name, value in values.items() if not np.isfinite(value[used]).all()]
    if missing:
        options = {"spherical_aberration": "--cs"}
        named = ", ".join(
            f"{name.replace('_', ' ')} ({options.get(name, '--' + name.replace('_', '-'))})"
            for name in missing
        )
        raise InputError(f"{path}: no {named}; give the value with the option in brackets")
    return values
