"""What a table says of aberrations, magnification and the treatment of its images.

RELION takes a parameter of the CTF from the row where the row has it, else from the optics group:
so does everything here. Values that a row may have of its own but that are alike for most rows
(voltage, beam tilt ...) split the optics groups; those of single particles (B factor, scale, phase
shift) stay columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.words import plural
from alphacryo4d.io.star import Fault, ParticleTable
from alphacryo4d.maths.aberrations import with_beam_tilt

LENS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
BEAM_TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
MAGNIFICATION = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
OLD_MAGNIFICATION = tuple(f"rlnMagMatrix_{place}" for place in ("00", "01", "10", "11"))
PREMULTIPLIED, PHASE_FLIPPED = "rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"
ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
NUMBERS = (*LENS, *BEAM_TILT, *MAGNIFICATION, *OLD_MAGNIFICATION, PREMULTIPLIED, PHASE_FLIPPED)
"""Columns of numbers that optics groups or rows may have."""
SINGLE = {"rlnPhaseShift": 0.0, "rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0}
"""Columns of single particles, with the value where neither row nor optics group has one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Aberrations:
    """What distorts the images of every optics group beyond defocus, Cs and amplitude contrast.

    Attributes
    ----------
    odd, even : list of tuple of float
        Zernike coefficients of every group; the odd ones hold the beam tilt.
    magnification : (G, 2, 2) float64
        Takes a frequency of the image to one of the particle.
    premultiplied, phase_flipped : (G,) bool
        Images that are multiplied by their CTF, or by its sign.
    beam_tilt : (G, 2) float64
        mrad; also in ``odd``.
    """

    odd: list[tuple[float, ...]]
    even: list[tuple[float, ...]]
    magnification: Array
    premultiplied: Array
    phase_flipped: Array
    beam_tilt: Array


def split_groups(
    table: ParticleTable, index: Array, count: int
) -> tuple[Array, Array, dict[str, Array]]:
    """Optics groups parted by what rows say for themselves.

    Parameters
    ----------
    table : ParticleTable
    index : (P,) int array
        Group of every particle, from 0.
    count : int
        Groups that there are.

    Returns
    -------
    index : (P,) int32
        New group of every particle.
    parent : (n,) int64
        The group that a new group is a part of; all groups that there were, in order, where no
        row has a value of its own.
    values : dict of (n,) arrays
        The values of the rows, by column.
    """
    columns = set(table.columns)
    if table.optics_block is None:
        columns -= set(LENS)  # which made the groups
    numbers = [name for name in NUMBERS if name in columns]
    texts = [name for name in ZERNIKE if name in columns]
    if not numbers and not texts:
        return index.astype(np.int32), np.arange(count), {}
    row_values, words = table.read_parts(numbers, texts)
    keys = index.astype(np.int64)
    for name in numbers:
        column = row_values[name]
        if not np.isfinite(column).all():
            row = int(np.argmax(~np.isfinite(column)))
            raise InputError(
                f"{table.path}: row {row + 1}: {name} is {column[row]}; restore the value"
            )
        keys = _parted(keys, np.unique(column, return_inverse=True)[1])
    for name in texts:
        keys = _parted(keys, words[name][0])
    _, firsts, parts = np.unique(keys, return_index=True, return_inverse=True)
    values: dict[str, Array] = {name: row_values[name][firsts] for name in numbers}
    for name in texts:
        codes, distinct = words[name]
        values[name] = np.array([distinct[code] for code in codes[firsts]], object)
    return parts.astype(np.int32), index[firsts].astype(np.int64), values


def _parted(keys: Array, codes: Array) -> Array:
    return np.unique(keys * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1]


def read_aberrations(
    path: Path,
    optics: Mapping[str, Array],
    rows: Mapping[str, Array],
    lens: tuple[Array, Array],
    names: list[str],
) -> Aberrations:
    """Aberrations of optics groups.

    Parameters
    ----------
    path : Path
        Table, for messages.
    optics, rows : mapping of (G,) arrays
        Columns of the optics table, and values of rows that go before them.
    lens : tuple of (G,) arrays
        Voltage (kV) and spherical aberration (mm), with which a beam tilt acts.
    names : list of str
        Names of the groups.

    Raises
    ------
    InputError
        A value is no number, or a magnification matrix is not near the identity.
    """
    count = len(names)

    def column(name: str, missing: float) -> Array:
        values = rows.get(name, optics.get(name))
        if values is None:
            return np.full(count, missing)
        numbers = _as_numbers(path, name, values)
        if not np.isfinite(numbers).all():
            group = names[int(np.argmax(~np.isfinite(numbers)))]
            raise InputError(f"{path}: {name} of optics group {group} is no number; restore it")
        return numbers

    tilt = np.stack([column(name, 0.0) for name in BEAM_TILT], axis=1)
    odd = [zernike_numbers(path, ZERNIKE[0], text) for text in _texts(rows, optics, 0, count)]
    even = [zernike_numbers(path, ZERNIKE[1], text) for text in _texts(rows, optics, 1, count)]
    voltage, aberration = lens
    for group in np.flatnonzero(tilt.any(axis=1)).tolist():
        if np.isfinite(voltage[group]) and np.isfinite(aberration[group]):
            pair = (float(aberration[group]), float(voltage[group]))
            odd[group] = tuple(with_beam_tilt(odd[group], tilt[group].tolist(), *pair))
    spelt = MAGNIFICATION if _any_of(MAGNIFICATION, rows, optics) else OLD_MAGNIFICATION
    matrix = [column(name, 1.0 if i in (0, 3) else 0.0) for i, name in enumerate(spelt)]
    magnification = np.stack(matrix, axis=1).reshape(count, 2, 2)
    _refuse_far_matrix(path, magnification, spelt[0], names)
    return Aberrations(
        odd=odd,
        even=even,
        magnification=magnification,
        premultiplied=column(PREMULTIPLIED, 0.0) != 0,
        phase_flipped=column(PHASE_FLIPPED, 0.0) != 0,
        beam_tilt=tilt,
    )


def _as_numbers(path: Path, name: str, values: Any) -> Array:
    try:
        return np.asarray(values, np.float64)
    except ValueError as error:
        raise InputError(f"{path}: {name} is no number ({error}); restore it") from error


def _refuse_far_matrix(path: Path, matrices: Array, column: str, names: list[str]) -> None:
    strain = np.linalg.svd(matrices - np.eye(2), compute_uv=False)[:, 0]
    if (strain > 0.5).any():
        worst = int(np.argmax(strain))
        raise InputError(
            f"{path}: the magnification matrix ({column} ...) of optics group {names[worst]} is "
            f"{matrices[worst].ravel().tolist()}, far from the identity matrix, from which it "
            "should differ by some percent; correct it"
        )


def _any_of(names: Iterable[str], *columns: Mapping[str, Array]) -> bool:
    return any(name in held for name in names for held in columns)


def _texts(
    rows: Mapping[str, Array], optics: Mapping[str, Array], which: int, count: int
) -> list[Any]:
    values = rows.get(ZERNIKE[which], optics.get(ZERNIKE[which]))
    return [""] * count if values is None else list(values)


def zernike_numbers(path: Path, name: str, text: Any) -> tuple[float, ...]:
    """Coefficients of a list such as ``[0.1,0,-2]``; none for an empty one.

    Raises
    ------
    InputError
        A part of it is no finite number.
    """
    words = str(text).strip().strip("[]").replace(",", " ").split()
    try:
        values = tuple(float(word) for word in words)
    except ValueError:
        values = (np.nan,)
    if not np.isfinite(values).all():
        raise InputError(
            f"{path}: {name} is {str(text)[:60]!r}, which is no list of numbers such as [0,0,1.5]; "
            "restore it"
        )
    if len(values) > 200:
        raise InputError(f"{path}: {name} has {len(values)} coefficients; restore it")
    return values


def single_columns(
    table: ParticleTable, numbers: dict[str, Array], group: Array
) -> dict[str, Array]:
    """Phase shift (degrees), B factor (A^2) and scale of every particle, (P,) float64 each.

    A column of one value, as in most tables, takes the memory of one (and cannot be written to).

    Parameters
    ----------
    table : ParticleTable
    numbers : dict
        Columns of the rows that were read; those in ``SINGLE`` are taken out.
    group : (P,) int array
        Row of the optics table of every particle.
    """
    optics = table.optics_columns or {}
    columns = {}
    for name, missing in SINGLE.items():
        if name in numbers:
            values = np.asarray(numbers.pop(name), np.float64)
        elif name in optics:
            values = _as_numbers(table.path, name, optics[name])[group]
        else:
            values = np.broadcast_to(missing, table.rows)
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values)))
            raise InputError(
                f"{table.path}: row {row + 1}: {name} is {values[row]}; restore the value"
            )
        constant = len(values) > 0 and bool((values == values[0]).all())
        columns[name] = np.broadcast_to(values[0], len(values)) if constant else values
    return columns


def contradictions(table: ParticleTable) -> list[Fault]:
    """Where a parameter stands in the rows and in the optics table, and the two differ.

    The row is taken, as in RELION; this says that it was.
    """
    optics = table.optics_columns or {}
    rows = set(table.columns)
    both = [name for name in (*NUMBERS, *SINGLE) if name in rows and name in optics]
    texts = [name for name in ZERNIKE if name in rows and name in optics]
    listed = len(optics.get("rlnOpticsGroup", ()))
    if not (both or texts) or "rlnOpticsGroup" not in rows or not listed:
        return []
    columns, words = table.read_parts([*both, "rlnOpticsGroup"], texts)
    place = {number: row for row, number in enumerate(optics["rlnOpticsGroup"].tolist())}
    groups, inverse = np.unique(columns["rlnOpticsGroup"], return_inverse=True)
    known = np.array([place.get(number, -1) for number in groups.tolist()])[inverse]
    notes = []
    for name in [*both, *texts]:
        if name in columns:
            own, shared = columns[name], _as_numbers(table.path, name, optics[name])[known]
            with np.errstate(invalid="ignore", over="ignore"):
                differ = np.abs(own - shared) > 1e-6 * np.maximum(np.abs(shared), 1.0)
        else:
            codes, distinct = words[name]
            own = np.array(distinct, object)[codes]
            shared = np.array([str(text) for text in optics[name]], object)[known]
            differ = own != shared
        differ &= known >= 0
        if differ.any():
            row = int(np.argmax(differ))
            notes.append(
                Fault(
                    table.path,
                    f"row {row + 1}",
                    f"{name} is {own[row]} in the row and {shared[row]} in data_optics "
                    f"(so in {plural(int(differ.sum()), 'row')}); the row is taken, as RELION does",
                    "remove the wrong one of the two",
                    "row-over-optics",
                    "warning",
                )
            )
    return notes
