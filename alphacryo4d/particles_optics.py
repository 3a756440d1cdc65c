"""Optics groups of a particle table, and what the image model does not hold."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphacryo4d.errors import InputError
from alphacryo4d.star import ParticleTable, whole_numbers

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

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
_ABERRATIONS = {
    "rlnBeamTiltX": 0.0,
    "rlnBeamTiltY": 0.0,
    "rlnOddZernike": 0.0,
    "rlnEvenZernike": 0.0,
    "rlnMagMat00": 1.0,
    "rlnMagMat01": 0.0,
    "rlnMagMat10": 0.0,
    "rlnMagMat11": 1.0,
    "rlnMagMatrix_00": 1.0,
    "rlnMagMatrix_01": 0.0,
    "rlnMagMatrix_10": 0.0,
    "rlnMagMatrix_11": 1.0,
    "rlnCtfDataAreCtfPremultiplied": 0.0,
    "rlnCtfDataArePhaseFlipped": 0.0,
}
_ROW_FACTORS = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, "rlnBeamTiltX": 0.0}
_ROW_FACTORS |= {"rlnBeamTiltY": 0.0, "rlnMagMat00": 1.0, "rlnMagMat01": 0.0}
_ROW_FACTORS |= {"rlnMagMat10": 0.0, "rlnMagMat11": 1.0}
_WAYS_OUT = {
    "rlnCtfDataAreCtfPremultiplied": "extract the particles again without premultiplication",
    "rlnCtfDataArePhaseFlipped": "take the particles that are not phase-flipped",
    "rlnCtfBfactor": "set the column to 0 if the damping is to be neglected",
    "rlnCtfScalefactor": "set the column to 1 if the scale is to be neglected",
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
    """

    names: list[str]
    voltage: Array
    spherical_aberration: Array
    amplitude_contrast: Array
    pixel_size: Array
    box: Array

    def __len__(self) -> int:
        return len(self.names)


def refuse_tomography(table: ParticleTable) -> None:
    """Raise ``InputError`` for subtomograms and tilt series, which are no single particles."""
    names = set(table.columns)
    optics = table.optics_columns or {}
    what = ""
    dimensions = optics.get("rlnImageDimensionality")
    if dimensions is not None and any(str(value) == "3" for value in dimensions.tolist()):
        what = "subtomograms (rlnImageDimensionality is 3)"
    tomo = sorted(name for name in [*names, *optics] if name.startswith("rlnTomo"))
    if not what and tomo:
        what = f"subtomograms or tilt series ({tomo[0]})"
    if not what and {"rlnGroupName", "rlnCtfBfactor"} <= names:
        values, texts = table.read_parts(["rlnCtfBfactor"], ["rlnGroupName"])
        codes, groups = texts["rlnGroupName"]
        doses = values["rlnCtfBfactor"]
        low = np.full(len(groups), np.inf)
        high = np.full(len(groups), -np.inf)
        np.minimum.at(low, codes, doses)
        np.maximum.at(high, codes, doses)
        if (high > low).any():
            what = (
                "tilt images (rows share rlnGroupName and differ in the dose of rlnCtfBfactor: "
                f"group {groups[int(np.argmax(high > low))]})"
            )
    if what:
        raise InputError(
            f"{table.path}: holds {what}; tomography is not supported, give single-particle images"
        )


def unmodelled_columns(table: ParticleTable) -> dict[str, str]:
    """Columns whose values the image model cannot hold, with where and the value."""
    found: dict[str, str] = {}
    optics = table.optics_columns or {}
    names = [str(name) for name in optics.get("rlnOpticsGroupName", [])]
    for name, neutral in _ABERRATIONS.items():
        for row, value in enumerate(optics.get(name, [])):
            if not _is_neutral(value, neutral):
                group = names[row] if row < len(names) else str(row + 1)
                found[name] = f"is {value} in optics group {group}"
                break
    rows = [name for name in _ROW_FACTORS if name in table.columns and name not in optics]
    if rows:
        values, _ = table.read_parts(rows)
        for name in rows:
            bad = np.abs(values[name] - _ROW_FACTORS[name]) > 1e-6
            if bad.any():
                row = int(np.argmax(bad))
                found[name] = f"is {values[name][row]:g} in row {row + 1}"
    return found


def _is_neutral(value: Any, neutral: float) -> bool:
    try:
        parts = [float(word) for word in str(value).strip("[]").split(",") if word]
    except ValueError:
        return False
    return all(abs(part - neutral) <= 1e-9 for part in parts)


def refuse_unmodelled(table: ParticleTable) -> None:
    """Raise ``InputError`` for aberrations and the like, which would be ignored silently."""
    found = unmodelled_columns(table)
    if not found:
        return
    name, value = next(iter(found.items()))
    others = f" (also {', '.join(list(found)[1:])})" if len(found) > 1 else ""
    way_out = _WAYS_OUT.get(
        name,
        "where its effect at the resolution limit can be neglected set the column to "
        f"{_ABERRATIONS.get(name, 0.0):g} in a copy of the table",
    )
    raise InputError(
        f"{table.path}: {name} {value}{others}; the image model does not hold it and will not "
        f"ignore it: {way_out}"
    )


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
            "the file the particles came from"
        )
    if columns is not None:
        names, box, index, values = _modern_groups(table, columns, group)
    else:
        names, box, index, values = _old_groups(table, given)
    missing = []
    for name, (modern, old, option) in COLUMNS.items():
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
            values[name] = np.full(len(names), float(override))
        elif not np.isfinite(values[name][np.unique(index)]).all():
            missing.append(f"{modern if columns is not None else old} ({option})")
    if missing and complete:
        raise InputError(
            f"{table.path}: no {', '.join(missing)}; give the value with the option in brackets"
        )
    return Optics(names=names, box=box, **values), index


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
    for number in wanted.tolist():
        if number not in place:
            row = int(np.argmax(group == number)) + 1
            raise InputError(
                f"{path}: row {row}: optics group {number} has no entry in data_optics; "
                "add it, or remove its particles"
            )
    index = np.array([place[number] for number in wanted.tolist()], np.int32)[inverse]
    count = len(numbers)
    names = [
        str(name)
        for name in columns.get(
            "rlnOpticsGroupName", [f"opticsGroup{number}" for number in numbers]
        )
    ]
    values = {name: _numbers(path, columns, COLUMNS[name][0], count) for name in COLUMNS}
    box = np.nan_to_num(_numbers(path, columns, "rlnImageSize", count)).astype(np.int64)
    return names, box, index, values


def _numbers(path: Any, columns: Mapping[str, Array], name: str, count: int) -> Array:
    if name not in columns:
        return np.full(count, np.nan)
    try:
        return np.asarray(columns[name], np.float64)
    except ValueError as error:
        raise InputError(f"{path}: data_optics: {name} is no number ({error})") from error


def _old_groups(
    table: ParticleTable, given: Mapping[str, float | None]
) -> tuple[list[str], Array, Array, dict[str, Array]]:
    """Particles of RELION 3.0 that share all optical values form a group."""
    scale = ("rlnMagnification", "rlnDetectorPixelSize")
    wanted = {name: old for name, (_, old, _) in COLUMNS.items() if given.get(name) is None}
    columns = set(table.columns)
    has_scale = set(scale) <= columns and "pixel_size" in wanted
    names = [name for name in wanted.values() if name in columns]
    found, _ = table.read_parts([*names, *(scale if has_scale else ())])
    if has_scale:
        magnification, detector = found[scale[0]], found[scale[1]]
        with np.errstate(divide="ignore", invalid="ignore"):
            found["rlnPixelSize"] = 1e4 * detector / magnification
    used = [(name, found[old]) for name, old in wanted.items() if old in found]
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
