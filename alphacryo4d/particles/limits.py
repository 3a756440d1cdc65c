"""What the image model does not hold and refuses: tomography, aberrations, premultiplied CTF."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.io.star import Fault, ParticleTable
from alphacryo4d.particles.kinds import refuse_tomography

__all__ = ["refuse_tomography", "refuse_unmodelled", "unmodelled_columns", "unmodelled_faults"]

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


def unmodelled_columns(table: ParticleTable) -> dict[str, str]:
    """Columns whose values the image model cannot hold, with where and the value."""
    found: dict[str, str] = {}
    optics = table.optics_columns or {}
    names = [str(name) for name in optics.get("rlnOpticsGroupName", [])]
    for name, neutral in _ABERRATIONS.items():
        for row, value in enumerate(optics.get(name, [])):
            if not _is_neutral(value, neutral):
                group = names[row] if row < len(names) else str(row + 1)
                found[name] = f"is {str(value)[:40]} in optics group {group}"
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


def unmodelled_faults(table: ParticleTable) -> list[Fault]:
    """Faults for aberrations and the like, which would otherwise be ignored silently."""
    faults, aberrations = [], []
    for name, value in unmodelled_columns(table).items():
        if name in _WAYS_OUT:
            what = f"{name} {value}, which the image model does not hold"
            faults.append(Fault(table.path, "", what, _WAYS_OUT[name], "unmodelled"))
        else:
            aberrations.append(f"{name} {value}")
    if aberrations:
        what = f"aberrations that the image model does not hold: {'; '.join(aberrations)}"
        way_out = (
            "they are not ignored silently: where their effect at the resolution limit can be "
            "neglected, set the columns to 0 (rlnMagMat00 and 11 to 1) in a copy of the table"
        )
        faults.append(Fault(table.path, "", what, way_out, "unmodelled"))
    return faults


def refuse_unmodelled(table: ParticleTable) -> None:
    """Raise ``InputError`` for the first of :func:`unmodelled_faults`."""
    for fault in unmodelled_faults(table):
        raise fault.error()
