"""All faults of a particle table and its images, in one list, before any work starts.

RELION reads much damaged input as garbage and exits with 0; a run of a day should not end at a
truncated stack. Nothing is written.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.io.star import IMAGE_COLUMN, ParticleTable, choose_particles
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.io.tables.scan import scan
from alphacryo4d.particles.limits import refuse_tomography, unmodelled_faults
from alphacryo4d.particles.optics import (
    COLUMNS,
    column_name,
    missing_groups,
    mixed_optics,
    read_optics,
)
from alphacryo4d.particles.particle_set import ANGLES, DEFOCUS, ORIGINS
from alphacryo4d.tools.check_images import StackReport, find_image_faults, read_stacks

__all__ = ["Fault", "Report", "examine", "find_faults", "require_sound"]

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    path : Path
        Particle table.
    faults : list of Fault
        Empty for a sound input.
    summary : dict
        Particles, stacks, boxes, pixel sizes and optics groups, as far as they can be told.
    """

    path: Path
    faults: list[Fault]
    summary: dict[str, Any]


def find_faults(path: Path, **choices: Any) -> list[Fault]:
    """Every fault of an input; the keywords are those of :func:`examine`."""
    return examine(path, **choices).faults


def require_sound(path: Path, **choices: Any) -> Report:
    """Raise ``InputError`` with every fault of an input, one a line, or return the report."""
    report = examine(path, **choices)
    if report.faults:
        count = len(report.faults)
        head = f"{path}: {count} faults" if count > 1 else f"{path}: 1 fault"
        raise InputError("\n  ".join([f"{head}, nothing was written", *map(str, report.faults)]))
    return report


def examine(
    path: Path,
    *,
    full: bool = False,
    need_poses: bool = True,
    given: Mapping[str, float | None] | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Look for faults in a particle table, its optics and its images.

    Parameters
    ----------
    path : Path
        STAR table of RELION 3.0 to 5, or cryoSPARC ``.cs``.
    full : bool
        Look at every pixel; otherwise at about a thousand images spread over all.
    need_poses : bool
        Whether missing poses are a fault.
    given : mapping, optional
        Values given by options: ``pixel_size``, ``voltage``, ``spherical_aberration``,
        ``amplitude_contrast``.
    progress : callback
        Called while pixels are read.

    Returns
    -------
    Report
        Faults and summary.
    """
    path = Path(path)
    given = given or {}
    if path.suffix == ".cs":
        from alphacryo4d.particles.open import open_table

        try:
            return _examine_table(open_table(path), None, full, need_poses, given, progress)
        except InputError as error:
            return Report(path, [_as_fault(path, error)], {})
    try:
        structure = scan(path)
        block = choose_particles(structure)
    except InputError as error:
        return Report(path, [_as_fault(path, error)], {})
    faults = list(structure.faults)
    table = ParticleTable(path, structure, block)
    others = [other for other in structure.blocks if other is not block]
    if any(other.bad_rows for other in others):
        return Report(path, faults, {"particles": block.rows})
    if not block.bad_rows:
        report = _examine_table(table, None, full, need_poses, given, progress)
    elif len(block.bad_rows) == block.rows:
        return Report(path, faults, {"particles": block.rows})
    else:
        report = _examine_sound_rows(table, full, need_poses, given, progress)
    return Report(path, faults + report.faults, report.summary)


def _as_fault(path: Path, error: InputError) -> Fault:
    """Fault from a message of the form ``file: what; way out``."""
    text = str(error).removeprefix(f"{path}: ")
    what, _, way_out = text.partition("; ")
    return Fault(path, "", what, way_out or "give another file", "unreadable")


def _examine_sound_rows(
    table: ParticleTable,
    full: bool,
    need_poses: bool,
    given: Mapping[str, float | None],
    progress: Progress,
) -> Report:
    """Go on with the rows that can be read, so that all faults are in one list."""
    mask = np.ones(table.rows, bool)
    mask[table.block.bad_rows] = False
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rows.star"
        table.write_rows(copy, mask)
        structure = scan(copy)
        block = choose_particles(structure)
        if block.bad_rows:
            return Report(table.path, [], {"particles": table.rows})
        readable = ParticleTable(table.path, structure, block, copy)
        numbers = np.flatnonzero(mask)
        return _examine_table(readable, numbers, full, need_poses, given, progress)


def _examine_table(
    table: ParticleTable,
    row_numbers: Array | None,
    full: bool,
    need_poses: bool,
    given: Mapping[str, float | None],
    progress: Progress,
) -> Report:
    rows = np.arange(table.rows) if row_numbers is None else row_numbers
    try:
        refuse_tomography(table)
    except InputError as error:
        return Report(table.path, [_as_fault(table.path, error)], {"particles": len(rows)})
    faults = missing_columns(table, given, need_poses=need_poses)
    try:
        faults += unmodelled_faults(table)
    except InputError as error:
        faults.append(_as_fault(table.path, error))
    numbers, texts, more = _read_values(table, rows)
    faults += more
    if need_poses:
        faults += _zero_poses(table, numbers)
    groups, more = _optics_faults(table, numbers.get("rlnOpticsGroup"), given, rows)
    faults += more
    stacks: list[StackReport] = []
    if IMAGE_COLUMN in texts and IMAGE_COLUMN in numbers:
        codes, names = texts[IMAGE_COLUMN]
        stacks = read_stacks(names, table.path)
        faults += find_image_faults(
            table.path,
            stacks,
            codes,
            numbers[IMAGE_COLUMN],
            groups,
            rows,
            full=full,
            progress=progress,
        )
    return Report(table.path, faults, _summary(table, stacks, groups, len(rows)))


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
        way_out = "no poses: give a table of a 3D refinement, such as run_data.star"
        needed.append((ANGLES, way_out))
    for names, way_out in needed:
        missing = [name for name in names if name not in table.columns]
        if missing:
            what = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing"
            kind = "no-poses" if ANGLES[0] in names else "missing-column"
            faults.append(Fault(table.path, "", what, way_out, kind))
    held = table.optics_columns if table.optics_block is not None else table.columns
    for name, (_, _, option) in COLUMNS.items():
        if table.dialect == "3.1" and table.optics_block is None:
            break
        wanted = column_name(table, name)
        if given.get(name) is None and not any(
            all(part in (held or ()) for part in words) for words in wanted
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
                    "restore it from the file that the particles came from",
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


def _read_values(
    table: ParticleTable, rows: Array
) -> tuple[dict[str, Array], dict[str, tuple[Array, list[str]]], list[Fault]]:
    """Columns that the work needs; a column that cannot be read becomes a fault."""
    wanted = [*ANGLES, *DEFOCUS, *ORIGINS, "rlnOriginX", "rlnOriginY", "rlnPhaseShift"]
    wanted = [name for name in [*wanted, "rlnOpticsGroup"] if name in table.columns]
    has_images = IMAGE_COLUMN in table.columns
    faults: list[Fault] = []
    try:
        numbers, texts = table.read_parts(wanted, images=has_images)
    except InputError:
        numbers, texts = {}, {}
        for names, images in [*(([name], False) for name in wanted), ([], has_images)]:
            try:
                found, words = table.read_parts(names, images=images)
            except InputError as error:
                faults.append(_as_fault(table.path, error))
                continue
            numbers |= found
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


def _zero_poses(table: ParticleTable, numbers: Mapping[str, Array]) -> list[Fault]:
    angles = [numbers[name] for name in ANGLES if name in numbers]
    if len(angles) < 3 or table.rows < 2 or any(column.any() for column in angles):
        return []
    return [
        Fault(
            table.path,
            "",
            "no poses: rot, tilt and psi are 0 in every row",
            "give a table of a 3D refinement, such as run_data.star",
            "no-poses",
        )
    ]


def _optics_faults(
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
        return None, [] if already_named else [_as_fault(path, error)]
    return (optics, index), mixed_optics(path, optics, index)


def _summary(
    table: ParticleTable, stacks: list[StackReport], groups: Any, rows: int
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "particles": rows,
        "format": "cryoSPARC" if table.path.suffix == ".cs" else f"RELION {table.dialect}",
        "stacks": len(stacks),
        "box": sorted({s.header.shape[2] for s in stacks if s.header is not None}),
    }
    if groups is not None:
        optics, index = groups
        used = np.unique(index)
        result["optics_groups"] = [
            {
                "name": optics.names[g],
                "particles": int((index == g).sum()),
                "pixel_size": _plain(optics.pixel_size[g]),
                "voltage": _plain(optics.voltage[g]),
                "spherical_aberration": _plain(optics.spherical_aberration[g]),
                "amplitude_contrast": _plain(optics.amplitude_contrast[g]),
            }
            for g in used.tolist()
        ]
    return result


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
