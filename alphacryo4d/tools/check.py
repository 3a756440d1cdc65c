"""All faults of a particle table and its images, in one list, before any work starts.

RELION reads much damaged input as garbage and exits with 0; a run of a day should not end at a
truncated stack. Nothing is written.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.words import ONCE, plural
from alphacryo4d.io.star import IMAGE_COLUMN, SIGN_COLUMN, ParticleTable
from alphacryo4d.io.tables.choice import choose_particles
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.io.tables.scan import scan
from alphacryo4d.ml3d.background import BY_IMAGE
from alphacryo4d.particles.aberrations import contradictions
from alphacryo4d.particles.kinds import (
    refuse_foreign,
    refuse_other_tables,
    refuse_tomography,
    refuse_volumes,
)
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.origins import SUBSET
from alphacryo4d.particles.typical import micrograph_numbers
from alphacryo4d.tools.check_images import find_image_faults
from alphacryo4d.tools.check_pixels import StackReport, read_stacks
from alphacryo4d.tools.check_table import (
    as_fault,
    missing_columns,
    optics_faults,
    poses_of,
    read_values,
    split_faults,
    value_faults,
    zero_poses,
)
from alphacryo4d.tools.check_views import BY_VIEW

__all__ = ["Fault", "Report", "examine", "find_faults", "require_sound"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    path : Path
        Particle table.
    faults : list of Fault
        What forbids the work; empty for a sound input.
    summary : dict
        Particles, stacks, boxes, pixel sizes and optics groups, as far as they can be told.
    warnings : list of Fault
        What the user should know: values that are there but unlikely, choices that are made here.
    """

    path: Path
    faults: list[Fault]
    summary: dict[str, Any]
    warnings: list[Fault] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, path: Path, every_fault: list[Fault], summary: dict[str, Any]) -> Report:
        """Report of everything that was found, by its level."""
        faults = [fault for fault in every_fault if fault.level == "fault"]
        return cls(
            path, faults, summary, [fault for fault in every_fault if fault.level != "fault"]
        )


def find_faults(path: Path, **choices: Any) -> list[Fault]:
    """Every fault of an input; the keywords are those of :func:`examine`."""
    return examine(path, **choices).faults


def require_sound(path: Path, *, normalise: str = "auto", **choices: Any) -> Report:
    """Raise ``InputError`` with every fault of an input, one a line, or return the report.

    Warnings are said, but for that of a background whose deviation, image by image,
    ``normalise`` does not use; by ``auto`` who reads the images says what is done.
    """
    report = examine(path, **choices)
    unused = () if normalise in BY_IMAGE else (BY_VIEW,)
    for warning in report.warnings:
        if warning.kind not in unused:
            logger.warning("%s", warning, extra=ONCE)
    if report.faults:
        count = len(report.faults)
        head = f"{path}: {plural(count, 'fault')}"
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
    if path.suffix.lower() == ".cs":
        try:
            return _examine_table(open_table(path), None, full, need_poses, given, progress)
        except InputError as error:
            return Report(path, [as_fault(path, error)], {})
    try:
        refuse_foreign(path)
        structure = scan(path)
        if not structure.faults:
            refuse_other_tables(structure)
        block = choose_particles(structure)
    except InputError as error:
        return Report(path, [as_fault(path, error)], {})
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
    return dataclasses.replace(report, path=path, faults=faults + report.faults)


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
        return Report(table.path, [as_fault(table.path, error)], {"particles": len(rows)})
    faults = missing_columns(table, given, need_poses=need_poses)
    try:
        faults += contradictions(table)
    except InputError as error:
        faults.append(as_fault(table.path, error))
    numbers, texts, more = read_values(table, rows)
    faults += more
    if need_poses:
        faults += zero_poses(table, numbers)
    groups, more = optics_faults(table, numbers.get("rlnOpticsGroup"), given, rows)
    faults += more
    faults += split_faults(table, numbers, groups)
    faults += value_faults(table, numbers, groups)
    stacks: list[StackReport] = []
    if IMAGE_COLUMN in texts and IMAGE_COLUMN in numbers:
        codes, names = texts[IMAGE_COLUMN]
        stacks = read_stacks(names, table.path)
        try:
            refuse_volumes(table, [stack.path for stack in stacks if stack.path is not None])
        except InputError as error:
            return Report(table.path, [as_fault(table.path, error)], {"particles": len(rows)})
        faults += find_image_faults(
            table.path,
            stacks,
            codes,
            numbers[IMAGE_COLUMN],
            groups,
            rows,
            signs=numbers.get(SIGN_COLUMN),
            poses=poses_of(table, numbers, groups),
            subset=numbers.get(SUBSET),
            defocus=numbers.get("rlnDefocusU"),
            micrograph=micrograph_numbers(table),
            full=full,
            progress=progress,
        )
    summary = _summary(table, stacks, groups, len(rows))
    return Report.of(
        table.path, faults, summary | {"poses": poses_of(table, numbers, groups) is not None}
    )


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
