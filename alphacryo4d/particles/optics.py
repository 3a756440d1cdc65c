"""Optics groups of a particle table, and what the image model does not hold."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import Fault, ParticleTable, whole_numbers
from alphacryo4d.particles.aberrations import Aberrations, read_aberrations, split_groups

logger = logging.getLogger(__name__)


# value: (column of the optics table, column of a table of RELION 3.0, option)
COLUMNS = {
    "pixel_size": ("rlnImagePixelSize", "rlnPixelSize", "--pixel-size"),
    "voltage": ("rlnVoltage", "rlnVoltage", "--voltage"),
    "spherical_aberration": ("rlnSphericalAberration", "rlnSphericalAberration", "--cs"),
    "amplitude_contrast": (
        "rlnAmplitudeContrast",
        "rlnAmplitudeContrast",
        "--amplitude-contrast",
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Optics:
    """Optics groups.

    Attributes
    ----------
    names : list of str
        Names of the G groups.
    voltage, spherical_aberration, amplitude_contrast : (G,) float64
        kV, mm, fraction. NaN where neither the table nor an option gives it.
    pixel_size : (G,) float64
        Angstrom; NaN where unknown.
    box : (G,) int64
        Pixels; 0 where unknown.
    row : (G,) int64
        Row of the optics table that a group is of; rows with values of their own part a group.
    aberrations : Aberrations
    """

    names: list[str]
    voltage: Array
    spherical_aberration: Array
    amplitude_contrast: Array
    pixel_size: Array
    box: Array
    row: Array
    aberrations: Aberrations

    def __len__(self) -> int:
        return len(self.names)


def column_name(table: ParticleTable, name: str) -> list[tuple[str, ...]]:
    """Columns that give a value of ``COLUMNS`` in the dialect of a table, as alternatives."""
    modern, old, _ = COLUMNS[name]
    if table.optics_block is not None:
        return [(modern,)]
    if name == "pixel_size":
        return [("rlnMagnification", "rlnDetectorPixelSize"), (old,)]
    return [(old,)]


def missing_groups(table: ParticleTable, group: Array, rows: Array) -> list[Fault]:
    """One fault for every optics group of the particles that ``data_optics`` does not list."""
    columns = table.optics_columns or {}
    listed = set(columns["rlnOpticsGroup"].tolist()) if "rlnOpticsGroup" in columns else set()
    faults = []
    for number in np.unique(group[np.isfinite(group)]).tolist():
        if number not in listed:
            mine = group == number
            count = int(mine.sum())
            more = f" ({count} particles)" if count > 1 else ""
            faults.append(
                Fault(
                    table.path,
                    f"row {rows[int(np.argmax(mine))] + 1}",
                    f"optics group {number:g} has no entry in data_optics{more}",
                    "add it, or remove its particles",
                    "missing-optics-group",
                )
            )
    return faults


def read_optics(
    table: ParticleTable, group: Array | None, given: Mapping[str, float | None], *, complete: bool
) -> tuple[Optics, Array]:
    """Optics groups of a table and the group of every particle.

    Parameters
    ----------
    table : ParticleTable
        Table of either dialect.
    group : (P,) float64 or None
        ``rlnOpticsGroup``.
    given : mapping
        Values that the user gave, by the names of ``COLUMNS``.
    complete : bool
        Refuse missing values; otherwise they become NaN.

    Returns
    -------
    Optics, (P,) int32
        Groups, and indices into them from 0.
    """
    columns = table.optics_columns
    if columns is None and group is not None:
        raise InputError(
            f"{table.path}: has rlnOpticsGroup but no data_optics table; restore that table from "
            "the file the particles came from, or have it written: alphacryo4d convert --i "
            f"{table.path} --o completed.star with --pixel-size and so on"
        )
    if columns is not None:
        names, box, index, values = _modern_groups(table, columns, group)
    else:
        names, box, index, values = _old_groups(table)
    index, row, own = split_groups(table, index, len(names))
    if own:
        names, box = [names[place] for place in row], box[row]
        values = {name: value[row] for name, value in values.items()}
        values |= {name: own[COLUMNS[name][0]] for name in values if COLUMNS[name][0] in own}
    _override(table, values, index, given, complete=complete)
    shared = {name: column[row] for name, column in (columns or {}).items()}
    lens = (values["voltage"], values["spherical_aberration"])
    aberrations = read_aberrations(table.path, shared, own, lens, names)
    return Optics(names=names, box=box, row=row, aberrations=aberrations, **values), index


def _override(
    table: ParticleTable,
    values: dict[str, Array],
    index: Array,
    given: Mapping[str, float | None],
    *,
    complete: bool,
) -> None:
    """Put the values that the user gave in the place of the table's; refuse what is missing."""
    missing = []
    for name, (modern, _, option) in COLUMNS.items():
        override = given.get(name)
        if override is not None:
            stated = values[name][np.isfinite(values[name])]
            if stated.size and (np.abs(stated - override) > 1e-4 * abs(override)).any():
                logger.warning(
                    "%s: %s is %g as given by %s, not %g as the table says",
                    table.path,
                    modern,
                    override,
                    option,
                    stated[0],
                )
            values[name] = np.full(len(values[name]), float(override))
        elif not np.isfinite(values[name][np.unique(index)]).all():
            words = " or ".join(" and ".join(names) for names in column_name(table, name))
            missing.append(f"{words} ({option})")
    if missing and complete:
        raise InputError(
            f"{table.path}: no {', '.join(missing)}; give the value with the option in brackets"
        )


def _modern_groups(
    table: ParticleTable, columns: Mapping[str, Array], group: Array | None
) -> tuple[list[str], Array, Array, dict[str, Array]]:
    path = table.path
    if "rlnOpticsGroup" not in columns:
        raise InputError(f"{path}: data_optics has no rlnOpticsGroup; restore that column")
    if group is None:
        raise InputError(f"{path}: data_{table.block.name} has no rlnOpticsGroup; restore it")
    numbers = columns["rlnOpticsGroup"].tolist()
    place = {number: row for row, number in enumerate(numbers)}
    if len(place) < len(numbers):
        raise InputError(f"{path}: data_optics lists an optics group twice; keep one entry each")
    wanted, inverse = np.unique(whole_numbers(path, "rlnOpticsGroup", group), return_inverse=True)
    faults = missing_groups(table, group, np.arange(len(group)))
    if faults:
        raise faults[0].error()
    index = np.array([place[number] for number in wanted.tolist()], np.int32)[inverse]
    count = len(numbers)
    names = [
        str(name)
        for name in columns.get(
            "rlnOpticsGroupName", [f"opticsGroup{number}" for number in numbers]
        )
    ]
    values = {name: _numbers(path, columns, COLUMNS[name][0], count) for name in COLUMNS}
    box = np.nan_to_num(_numbers(path, columns, "rlnImageSize", count))
    box = np.clip(box, 0, 1 << 24).astype(np.int64)
    return names, box, index, values


def _numbers(path: Any, columns: Mapping[str, Array], name: str, count: int) -> Array:
    if name not in columns:
        return np.full(count, np.nan)
    try:
        return np.asarray(columns[name], np.float64)
    except ValueError as error:
        raise InputError(f"{path}: data_optics: {name} is no number ({error})") from error


def _old_groups(
    table: ParticleTable,
) -> tuple[list[str], Array, Array, dict[str, Array]]:
    """Particles of RELION 3.0 that share all optical values form a group."""
    scale = ("rlnMagnification", "rlnDetectorPixelSize")
    wanted = {name: old for name, (_, old, _) in COLUMNS.items()}
    columns = set(table.columns)
    has_scale = set(scale) <= columns
    names = [name for name in wanted.values() if name in columns]
    row_values, _ = table.read_parts([*names, *(scale if has_scale else ())])
    if has_scale:
        magnification, detector = row_values[scale[0]], row_values[scale[1]]
        with np.errstate(divide="ignore", invalid="ignore"):
            row_values["rlnPixelSize"] = 1e4 * detector / magnification
    used = [(name, row_values[old]) for name, old in wanted.items() if old in row_values]
    index = np.zeros(table.rows, np.int64)
    for _, column in used:
        _, codes = np.unique(column, return_inverse=True)
        _, index = np.unique(index * (int(codes.max()) + 1) + codes, return_inverse=True)
    _, firsts = np.unique(index, return_index=True)
    count = len(firsts)
    values = {name: np.full(count, np.nan) for name in COLUMNS}
    for name, column in used:
        values[name] = column[firsts]
    groups = [f"opticsGroup{number}" for number in range(1, count + 1)]
    return groups, np.zeros(count, np.int64), index.astype(np.int32), values
