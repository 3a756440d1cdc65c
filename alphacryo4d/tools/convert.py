"""Particle tables from STAR to ``.cs`` and back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.cs import add_passthrough, match_uids, read_cs, with_fields, write_cs
from alphacryo4d.io.cs_star import POSE_FIELDS, write_star_of_cs
from alphacryo4d.io.star import IMAGE_COLUMN, SIGN_COLUMN, UID_COLUMN, ParticleTable
from alphacryo4d.maths.rotations import cryosparc_vectors
from alphacryo4d.particles.kinds import refuse_folder
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.origins import ANGLES
from alphacryo4d.particles.particle_set import read_particles, stack_file
from alphacryo4d.particles.refined import fill_refined_poses
from alphacryo4d.tools.convert_aberrations import fill_aberrations
from alphacryo4d.tools.convert_fill import fill_optics
from alphacryo4d.tools.convert_layout import _START_VALUES, _complete_optics, _layout, _split
from alphacryo4d.tools.convert_uids import new_uids

logger = logging.getLogger(__name__)


def convert(
    input_path: Path,
    output_path: Path,
    *,
    passthrough: Sequence[Path] = (),
    pixel_size: float | None = None,
    voltage: float | None = None,
    spherical_aberration: float | None = None,
    amplitude_contrast: float | None = None,
) -> int:
    """Convert particles between STAR and ``.cs``, by the suffixes of the two files.

    From STAR to STAR, what the table lacks of its optics is filled in.

    Parameters
    ----------
    input_path, output_path : Path
        ``.star`` or ``.cs``. From ``.cs`` to ``.cs`` the passthrough files are merged.
    passthrough : sequence of Path
        ``.cs`` files of the same particles. With a STAR input that has ``ac4dUid``: the first is
        the ``.cs`` file that its rows are picked from, with every field as it was, but poses that
        the table has refined.
    pixel_size, voltage, spherical_aberration, amplitude_contrast : float, optional
        Angstrom, kV, mm, fraction where a STAR table lacks them.

    Returns
    -------
    int
        Particles written.

    Raises
    ------
    UsageError
        The suffixes are no pair that can be converted.
    InputError
        The input lacks what the other format needs, or holds what it cannot say.
    """
    given = {
        "pixel_size": pixel_size,
        "voltage": voltage,
        "spherical_aberration": spherical_aberration,
        "amplitude_contrast": amplitude_contrast,
    }
    filled = any(value is not None for value in given.values())
    pair = _suffixes(input_path, output_path, filled=filled)
    if pair == (".star", ".star"):
        return fill_optics(input_path, output_path, given)
    if pair[0] == ".star":
        if passthrough:
            particles = rows_of_star(input_path, passthrough, **given)
        else:
            particles = cs_of_star(input_path, **given)
        write_cs(output_path, particles)
        return len(particles)
    particles = add_passthrough(input_path, read_cs(input_path), passthrough)
    if pair[1] == ".cs":
        write_cs(output_path, particles)
    else:
        write_star_of_cs(input_path, particles, output_path, (input_path, *passthrough))
        _say_what_relion_must_know(input_path, particles)
    return len(particles)


def _suffixes(input_path: Path, output_path: Path, *, filled: bool) -> tuple[str, str]:
    """Suffixes of the two files; raise where they are no pair that can be converted."""
    refuse_folder(input_path)
    pair = (input_path.suffix.lower(), output_path.suffix.lower())
    pairs = [(".cs", ".star"), (".star", ".cs"), (".cs", ".cs")]
    if filled:
        pairs.append((".star", ".star"))
    if pair not in pairs:
        raise UsageError(
            f"cannot convert {input_path.name} to {output_path.name}; give .star to .cs, .cs to "
            ".star, .cs to .cs with --passthrough, or .star to .star with --pixel-size and so on"
        )
    if input_path.resolve() == output_path.resolve():
        raise UsageError(f"{output_path}: input and output are the same file; take another --o")
    return pair


def _say_what_relion_must_know(path: Path, particles: Array) -> None:
    fields = particles.dtype.names or ()
    if "blob/sign" in fields and (particles["blob/sign"] < 0).any():
        logger.warning(
            "%s: the images are dark on light (blob/sign is -1). This program inverts them "
            "(column %s); RELION does not: invert them for it with relion_image_handler "
            "--multiply_constant -1",
            path,
            SIGN_COLUMN,
        )


def rows_of_star(path: Path, sources: Sequence[Path], **given: Any) -> Array:
    """Particles of the original ``.cs`` file that a STAR table lists by ``ac4dUid``.

    Poses of the table that are not those of the file, since they were refined, come along.

    Parameters
    ----------
    path : Path
        STAR table, such as the particles of a voted state.
    sources : sequence of Path
        The ``.cs`` file that the table came from, and further passthrough files.
    **given : float or None
        As for :func:`cs_of_star`.

    Returns
    -------
    (n,) structured array
        In the order of the table, every field as it was but the poses that were refined.
    """
    table = open_table(path)
    if UID_COLUMN not in table.columns:
        raise InputError(
            f"{path}: has no column {UID_COLUMN}, by which rows are found in {sources[0]}: "
            "the table did not come from a .cs file by `alphacryo4d convert`, or lost the column; "
            "convert it without --passthrough, or take a table that has the column"
        )
    uids = table_uids(table)
    original = read_cs(sources[0])
    rows = match_uids(path, uids, sources[0], original["uid"])
    particles = add_passthrough(path, original[rows], sources[1:])
    if "blob/path" not in (particles.dtype.names or ()):
        logger.warning(
            "%s: no field blob/path, so that cryoSPARC finds no images; give the job's particles "
            "and its passthrough file, each with --passthrough",
            ", ".join(map(str, sources)),
        )
    return _with_poses(table, particles, given) if set(ANGLES) <= set(table.columns) else particles


def _with_poses(table: ParticleTable, particles: Array, given: dict[str, Any]) -> Array:
    """Particles of the original file with the poses of a table, where these are others."""
    held = set(particles.dtype.names or ())
    found = not held >= POSE_FIELDS
    if found:
        made = cs_of_star(table.path, **given)
        names = [name for name in made.dtype.names or () if name.startswith("alignments3D/")]
        particles = with_fields(particles, {n: made[n] for n in names if n not in held})
    if not {"alignments3D/psize_A", "blob/psize_A"} & set(particles.dtype.names or ()):
        raise InputError(
            f"{table.path}: the .cs files given have no pixel size of the shifts (blob/psize_A); "
            "give the one that holds the images as well, with --passthrough"
        )
    posed = read_particles(table.path, need_images=False, **given)
    changed = fill_refined_poses(particles, posed)
    if found or changed:
        logger.info(
            "%s: the poses of %d of %d particles are not those of the .cs files: alignments3D/pose "
            "and shift are the table's",
            table.path, len(particles) if found else changed, len(particles),
        )  # fmt: skip
    return particles


def table_uids(table: ParticleTable) -> Array:
    """``ac4dUid`` of a table as uint64."""
    words = table.read([UID_COLUMN])[UID_COLUMN].tolist()
    for row, word in enumerate(words, 1):
        if not (word.isascii() and word.isdigit() and int(word) < 1 << 64):
            raise InputError(
                f"{table.path}: row {row}: {UID_COLUMN} is {word!r}, which is no uid of cryoSPARC; "
                "restore the column from the table that convert wrote"
            )
    return np.array([int(word) for word in words], np.uint64)


def cs_of_star(path: Path, **given: Any) -> Array:
    """Particles of a STAR table as cryoSPARC stores them.

    Parameters
    ----------
    path : Path
        STAR table of RELION 3.0 to 5 with poses or without.
    **given : float or None
        Values for :func:`alphacryo4d.particles.particle_set.read_particles`.

    Returns
    -------
    (P,) structured array
        Fields ``uid``, ``blob``, ``ctf`` and, where the table has poses, ``alignments3D``.
    """
    particles = read_particles(path, need_poses=False, need_images=False, **given)
    table = particles.table
    table.require([IMAGE_COLUMN, "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"])
    optics = _complete_optics(particles)
    has_poses = set(ANGLES) <= set(table.columns)
    (numbers, texts) = table.read_parts([], images=True)
    codes, names = texts[IMAGE_COLUMN]
    files = [stack_file(name) for name in names]
    paths = np.array([name.encode("utf-8", "surrogateescape") for name in files], dtype=bytes)
    signs = table.read([SIGN_COLUMN])[SIGN_COLUMN] if SIGN_COLUMN in table.columns else 1
    classes = (
        table.read(["rlnClassNumber"])["rlnClassNumber"]
        if "rlnClassNumber" in table.columns
        else np.ones(len(particles), np.int64)
    )
    group = particles.optics_group
    result = np.zeros(len(particles), _layout(paths.dtype.itemsize, has_poses))
    if UID_COLUMN in table.columns:
        result["uid"] = table_uids(table)
    else:
        result["uid"] = new_uids(files, codes, particles.slice_index)
    result["blob/path"] = paths[codes]
    result["blob/idx"] = particles.slice_index
    result["blob/shape"] = optics["box"][group][:, None]
    result["blob/psize_A"] = optics["pixel_size"][group]
    result["blob/sign"] = signs
    result["ctf/type"] = b"imported"
    result["ctf/exp_group_id"] = group + 1
    result["ctf/accel_kv"] = optics["voltage"][group]
    result["ctf/cs_mm"] = optics["spherical_aberration"][group]
    result["ctf/amp_contrast"] = optics["amplitude_contrast"][group]
    result["ctf/df1_A"], result["ctf/df2_A"] = particles.defocus[:, 0], particles.defocus[:, 1]
    result["ctf/df_angle_rad"] = np.deg2rad(particles.defocus[:, 2])
    result["ctf/phase_shift_rad"] = np.deg2rad(particles.phase_shift)
    fill_aberrations(result, particles)
    if has_poses:
        result["alignments3D/split"] = _split(particles)
        result["alignments3D/shift"] = particles.shifts / optics["pixel_size"][group][:, None]
        result["alignments3D/pose"] = cryosparc_vectors(particles.angles)
        result["alignments3D/psize_A"] = optics["pixel_size"][group]
        result["alignments3D/class"] = np.maximum(classes - 1, 0)
        for name, value in _START_VALUES.items():
            result[f"alignments3D/{name}"] = value
    return result
