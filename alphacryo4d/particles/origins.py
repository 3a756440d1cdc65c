"""Columns of a particle table as the science needs them: shifts, half-sets, finite numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.words import ONCE, plural
from alphacryo4d.io.star import SIGN_COLUMN, ParticleTable, whole_numbers
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.kinds import way_to_poses

logger = logging.getLogger(__name__)


ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst")
OLD_ORIGINS = ("rlnOriginX", "rlnOriginY")
SUBSET = "rlnRandomSubset"
_SAME_PIXELS = 0.02
"""Origins in pixels and in Angstrom agree within so many pixels (both are written rounded)."""


def origin_columns(columns: list[str]) -> list[str]:
    """Columns of origins that a table has, in Angstrom and in pixels."""
    return [name for name in (*ORIGINS, *OLD_ORIGINS) if name in columns]


def read_shifts(table: ParticleTable, numbers: Mapping[str, Array], pixel_size: Array) -> Array:
    """Shifts in Angstrom: each axis from the column in Angstrom, else from that in pixels.

    Parameters
    ----------
    table : ParticleTable
        For messages.
    numbers : mapping
        Columns of the table; 0 where it has none.
    pixel_size : (P,) float64
        Angstrom, of every particle.

    Returns
    -------
    (P, 2) float64 array
        x and y.

    Raises
    ------
    InputError
        A value is not finite, or the two columns of an axis contradict each other: which of them
        is right cannot be told, and a shift must not be lost.
    """
    for fault in origin_faults(table, numbers, pixel_size):
        raise fault.error()
    shifts = np.zeros((table.rows, 2))
    for axis, (modern, old) in enumerate(zip(ORIGINS, OLD_ORIGINS, strict=True)):
        if modern in numbers:
            shifts[:, axis] = finite_column(table, modern, numbers[modern])
        elif old in numbers:
            column = finite_column(table, old, numbers[old])
            if column.any():
                shifts[:, axis] = column * pixel_size
    return shifts


def origin_faults(
    table: ParticleTable, numbers: Mapping[str, Array], pixel_size: Array
) -> list[Fault]:
    """Faults where a table gives the origin of an axis twice, and differently."""
    for modern, old in zip(ORIGINS, OLD_ORIGINS, strict=True):
        if modern not in numbers or old not in numbers:
            continue
        with np.errstate(invalid="ignore"):
            apart = np.abs(numbers[modern] - numbers[old] * pixel_size)
            bad = apart > _SAME_PIXELS * pixel_size
        if bad.any():
            row = int(np.argmax(bad))
            return [
                Fault(
                    table.path,
                    f"row {row + 1}",
                    f"{modern} is {numbers[modern][row]:g} A but {old} is {numbers[old][row]:g} px "
                    f"of {pixel_size[row]:g} A (so in {plural(int(bad.sum()), 'row')})",
                    "keep the column that belongs to the poses and remove the other",
                    "origin-contradiction",
                )
            ]
    return []


def finite_column(table: ParticleTable, name: str, column: Array) -> Array:
    """A column whose values are all finite; ``InputError`` names the first that is not."""
    bad = ~np.isfinite(column)
    if bad.any():
        raise InputError(
            f"{table.path}: row {int(np.argmax(bad)) + 1}: {name} is {column[bad][0]}; "
            f"restore the value or remove what is so ({plural(int(bad.sum()), 'row')})"
        )
    return column


def columns_of(table: ParticleTable, numbers: dict[str, Array], names: tuple[str, ...]) -> Array:
    """Columns side by side, 0 where the table lacks one (as RELION takes it)."""
    values = np.zeros((table.rows, len(names)))
    for i, name in enumerate(names):
        if name not in numbers:
            continue
        values[:, i] = finite_column(table, name, numbers.pop(name))
    return values


def read_subset(table: ParticleTable, column: Array | None) -> Array | None:
    """Half-set of every particle, 1 or 2; None where the table does not split its particles.

    Parameters
    ----------
    table : ParticleTable
        For messages.
    column : (P,) float64 or None
        ``rlnRandomSubset``.

    Raises
    ------
    InputError
        Some rows say 1 or 2 and others something else.
    """
    if column is None:
        return None
    fault = subset_fault(table, column)
    if fault is None:
        return column.astype(np.int8)
    if fault.level == "fault":
        raise fault.error()
    logger.warning("%s", fault, extra=ONCE)
    return None


def subset_fault(table: ParticleTable, column: Array) -> Fault | None:
    """What is wrong with half-sets: a fault, or a warning where they are made by this program."""
    subset = whole_numbers(table.path, SUBSET, column)
    if table.rows > 1 and subset.min() == subset.max():
        return Fault(
            table.path,
            "",
            f"{SUBSET} is {subset[0]} in every row, which is no split into half-sets",
            "half-sets are made here, at random, all copies of an image in one; to have RELION's, "
            "split the particles there",
            "one-half-set",
            "warning",
        )
    bad = (subset != 1) & (subset != 2)
    if not bad.any():
        return None
    row = int(np.argmax(bad))
    return Fault(
        table.path,
        f"row {row + 1}",
        f"{SUBSET} is {subset[row]}, not 1 or 2 ({int(bad.sum())} rows)",
        "split the particles again in RELION, or remove the column: half-sets are then made here",
        "half-sets",
    )


def image_signs(table: ParticleTable, numbers: dict[str, Array]) -> Array | None:
    """Sign of every image, or None where all are positive."""
    if SIGN_COLUMN not in numbers:
        return None
    signs = np.asarray(numbers[SIGN_COLUMN])
    if (np.abs(signs) != 1).any():
        row = int(np.argmax(np.abs(signs) != 1))
        raise InputError(
            f"{table.path}: row {row + 1}: {SIGN_COLUMN} is {signs[row]}; it must be 1 or -1"
        )
    return None if (signs == 1).all() else signs.astype(np.float32)


def require_poses(table: ParticleTable) -> None:
    """Refuse a table without poses, and say where some are."""
    missing = [name for name in ANGLES if name not in table.columns]
    if missing:
        raise InputError(
            f"{table.path}: no poses (no {', '.join(missing)}); {way_to_poses(table)}; or align "
            "first with: alphacryo4d resample consensus"
        )
