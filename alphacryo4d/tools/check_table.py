"""Faults of a particle table: columns, values, optics groups; no image is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import IMAGE_COLUMN, SIGN_COLUMN, ParticleTable
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.kinds import FIND_POSES, way_to_poses
from alphacryo4d.particles.optics import (
    COLUMNS,
    column_name,
    missing_groups,
    read_optics,
)
from alphacryo4d.particles.origins import (
    SUBSET,
    origin_columns,
    origin_faults,
    read_shifts,
    subset_fault,
)
from alphacryo4d.particles.particle_set import ANGLES, DEFOCUS
from alphacryo4d.particles.plausible import (
    defocus_faults,
    optics_value_faults,
    pose_faults,
    shift_faults,
)
from alphacryo4d.tools.convert_fill import way_to_optics_table


def as_fault(path: Path, error: InputError) -> Fault:
    """Fault from a message of the form ``file: what; way out``."""
    text = str(error).removeprefix(f"{path}: ")
    what, _, way_out = text.partition("; ")
    return Fault(path, "", what, way_out or "give another file", "unreadable")


def missing_columns(
    table: ParticleTable, given: Mapping[str, float | None], *, need_poses: bool
) -> list[Fault]:
    """Name every column that the work needs and the table lacks."""
    faults = []
    needed: list[tuple[tuple[str, ...], str]] = [
        ((IMAGE_COLUMN,), "take the table from the extraction")
    ]
    needed.append((DEFOCUS, "estimate the CTF first"))
    if need_poses:
        needed.append((ANGLES, ""))
    for names, way_out in needed:
        missing = [name for name in names if name not in table.columns]
        if missing:
            what = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing"
            kind = "missing-column"
            if names is ANGLES:
                kind, way_out = "no-poses", f"no poses: {way_to_poses(table)}"
            faults.append(Fault(table.path, "", what, way_out, kind))
    held = {*(table.optics_columns or ()), *table.columns}
    for name, (_, _, option) in COLUMNS.items():
        if table.dialect == "3.1" and table.optics_block is None:
            break
        wanted = column_name(table, name)
        if given.get(name) is None and not any(
            all(part in held for part in words) for words in wanted
        ):
            shown = " or ".join(" and ".join(words) for words in wanted)
            faults.append(
                Fault(
                    table.path,
                    "data_optics" if table.optics_block is not None else "",
                    f"column {shown} missing",
                    f"give {option}",
                    "missing-column",
                )
            )
    if table.dialect == "3.1":
        if table.optics_block is None:
            faults.append(
                Fault(
                    table.path,
                    "",
                    "table data_optics missing",
                    way_to_optics_table(table.path, given),
                    "missing-optics",
                )
            )
        elif "rlnOpticsGroup" not in table.columns:
            faults.append(
                Fault(
                    table.path,
                    "",
                    "column rlnOpticsGroup missing",
                    "restore it",
                    "missing-column",
                )
            )
    return faults


def read_values(
    table: ParticleTable, rows: Array
) -> tuple[dict[str, Array], dict[str, tuple[Array, list[str]]], list[Fault]]:
    """Columns that the work needs; a column that cannot be read becomes a fault."""
    wanted = [*ANGLES, *DEFOCUS, *origin_columns(table.columns), "rlnPhaseShift", SUBSET]
    wanted.append(SIGN_COLUMN)
    wanted = [name for name in [*wanted, "rlnOpticsGroup"] if name in table.columns]
    has_images = IMAGE_COLUMN in table.columns
    faults: list[Fault] = []
    try:
        numbers, texts = table.read_parts(wanted, images=has_images)
    except InputError:
        numbers, texts = {}, {}
        for names, images in [*(([name], False) for name in wanted), ([], has_images)]:
            try:
                columns, words = table.read_parts(names, images=images)
            except InputError as error:
                faults.append(as_fault(table.path, error))
                continue
            numbers |= columns
            texts |= words
    for name, values in numbers.items():
        bad = ~np.isfinite(values)
        if bad.any():
            first = int(np.argmax(bad))
            more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
            faults.append(
                Fault(
                    table.path,
                    f"row {rows[first] + 1}",
                    f"{name} is {values[first]}{more}",
                    "restore the value or remove the row",
                    "not-finite",
                )
            )
    return numbers, texts, faults


def zero_poses(table: ParticleTable, numbers: Mapping[str, Array]) -> list[Fault]:
    """Fault where every pose is 0, as in a table that was never aligned."""
    angles = [numbers[name] for name in ANGLES if name in numbers]
    if len(angles) < 3 or table.rows < 2 or any(column.any() for column in angles):
        return []
    return [
        Fault(
            table.path,
            "",
            "no poses: rot, tilt and psi are 0 in every row",
            f"give a table of a 3D refinement, such as run_data.star; {FIND_POSES}",
            "no-poses",
        )
    ]


def split_faults(
    table: ParticleTable, numbers: Mapping[str, Array], groups: tuple[Any, Array] | None
) -> list[Fault]:
    """Half-sets that are none, and origins that contradict each other."""
    faults = []
    if SUBSET in numbers:
        try:
            fault = subset_fault(table, numbers[SUBSET])
        except InputError as error:
            fault = as_fault(table.path, error)
        faults += [fault] if fault is not None else []
    if groups is not None:
        optics, index = groups
        faults += origin_faults(table, numbers, optics.pixel_size[index])
    return faults


def value_faults(
    table: ParticleTable, numbers: Mapping[str, Array], groups: tuple[Any, Array] | None
) -> list[Fault]:
    """Values that cannot be, or that look like another unit."""
    path = table.path
    faults = defocus_faults(path, numbers)
    faults += pose_faults(path, [numbers[name] for name in ANGLES if name in numbers])
    if groups is None:
        return faults
    optics, index = groups
    faults = optics_value_faults(path, optics, index) + faults
    sizes = optics.pixel_size[index]
    try:
        shifts = read_shifts(table, numbers, sizes)
    except InputError:
        return faults  # said where columns are read
    half = np.where(optics.box[index] > 0, optics.box[index] * sizes / 2, np.nan)
    return faults + shift_faults(path, shifts, half)


def poses_of(
    table: ParticleTable, numbers: Mapping[str, Array], groups: tuple[Any, Array] | None
) -> tuple[Array, Array] | None:
    """Angles (P, 3) and shifts (P, 2), or None where the table has no poses."""
    angles = [numbers[name] for name in ANGLES if name in numbers]
    if len(angles) < 3 or not any(column.any() for column in angles):
        return None
    size = np.ones(table.rows) if groups is None else groups[0].pixel_size[groups[1]]
    try:
        shifts = read_shifts(table, numbers, np.nan_to_num(size, nan=1.0))
    except InputError:
        shifts = np.zeros((table.rows, 2))
    return np.column_stack(angles), shifts


def optics_faults(
    table: ParticleTable,
    group: Array | None,
    given: Mapping[str, float | None],
    rows: Array,
) -> tuple[tuple[Any, Array] | None, list[Fault]]:
    """Optics of every particle, or the reason why there are none."""
    path = table.path
    if table.optics_block is not None and group is not None:
        faults = missing_groups(table, group, rows)
        if faults:
            return None, faults
    try:
        optics, index = read_optics(table, group, given, complete=False)
    except InputError as error:
        already_named = table.dialect == "3.1" and (group is None or table.optics_block is None)
        return None, [] if already_named else [as_fault(path, error)]
    return (optics, index), []
