"""Values that no microscope has, or that look like another unit: faults and warnings.

A wrong unit changes the CTF, the poses or the shifts of all particles and gives a map all the same.
What cannot be is a fault; what is merely unlikely is a warning. Each names the unit it looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.io.tables.faults import Fault

if TYPE_CHECKING:
    from alphacryo4d.particles.optics import Optics


VOLTAGE = (40.0, 1500.0)
"""kV: from low-voltage to high-voltage microscopes."""
SPHERICAL_ABERRATION = (0.0, 20.0)
"""mm."""
SMALLEST_PIXEL, LARGEST_PIXEL = 0.2, 40.0
"""Angstrom."""
SMALLEST_DEFOCUS = 100.0
"""Angstrom: below this in all rows it is another unit."""
_NANOMETRES, _FAR = 5_000.0, 100_000.0
"""Angstrom: all defoci below look like nanometres; a median above is farther than anyone goes."""
_FEW, _ENOUGH = 3, 20
"""Rows from which something equal in all of them is said; from which radians are sure."""
_RADIANS = 3.15


def optics_value_faults(path: Path, optics: Optics, index: Array) -> list[Fault]:
    """Faults of voltage, spherical aberration, amplitude contrast and pixel size.

    Parameters
    ----------
    path : Path
        Table, for messages.
    optics : Optics
        Groups; values that are not known (NaN) are passed over.
    index : (P,) int array
        Group of every particle.
    """
    faults: list[Fault] = []

    def say(group: int, what: str, way_out: str, level: str = "fault") -> None:
        name = optics.names[group]
        faults.append(
            Fault(path, f"optics group {name}", what, way_out, "implausible-optics", level)
        )

    for group in np.unique(index).tolist():
        value = float(optics.voltage[group])
        if not np.isnan(value) and not VOLTAGE[0] <= value <= VOLTAGE[1]:
            hint = f", {value / 1000:g} kV if it is in V" if 4e4 <= value <= 1.5e6 else ""
            way_out = "give it in kV (--voltage)"
            say(group, f"the voltage is {value:g} kV, which no microscope has{hint}", way_out)
        value = float(optics.spherical_aberration[group])
        low, high = SPHERICAL_ABERRATION
        if not np.isnan(value) and not low <= value <= high:
            hint = _in_mm(value)
            way_out = "give it in mm (--cs)"
            say(group, f"the spherical aberration is {value:g} mm{hint}", way_out)
        value = float(optics.amplitude_contrast[group])
        if not np.isnan(value) and not 0 <= value <= 1:
            hint = f", {value / 100:g} if it is in percent" if 1 < value <= 100 else ""
            way_out = "give a fraction from 0 to 1 (--amplitude-contrast)"
            say(group, f"the amplitude contrast is {value:g}{hint}", way_out)
        value = float(optics.pixel_size[group])
        if not np.isnan(value) and not value > 0:
            way_out = "give it in Angstrom (--pixel-size)"
            say(group, f"the pixel size is {value:g} A", way_out)
        elif value < SMALLEST_PIXEL:
            what = f"the pixel size is {value:g} A, {10 * value:g} A if it is in nm"
            say(group, what, "give it in Angstrom (--pixel-size)")
        elif value > LARGEST_PIXEL:
            what = f"the pixel size is {value:g} A, which resolves no particle"
            say(group, what, "see whether it is in pm or of another image", "warning")
    return faults


def refuse_implausible(path: Path, optics: Optics, index: Array) -> None:
    """Raise ``InputError`` for the first of :func:`optics_value_faults` that is no warning."""
    for fault in optics_value_faults(path, optics, index):
        if fault.level == "fault":
            raise fault.error()


def _in_mm(value: float) -> str:
    """Reading of a spherical aberration in another unit, where one gives 0.5 to 5 mm."""
    for unit, factor in (("um", 1e3), ("nm", 1e6), ("A", 1e7)):
        if 0.5 <= value / factor <= 5:
            return f", {value / factor:g} mm if it is in {unit}"
    return ""


def defocus_faults(path: Path, numbers: Mapping[str, Array]) -> list[Fault]:
    """Faults of defocus and phase shift: other units, the wrong sign, one value for all."""
    columns = [numbers[name] for name in ("rlnDefocusU", "rlnDefocusV") if name in numbers]
    if not columns or not len(columns[0]) or not all(np.isfinite(c).all() for c in columns):
        return []
    faults: list[Fault] = []

    def say(what: str, way_out: str, level: str = "warning") -> None:
        faults.append(Fault(path, "", what, way_out, "implausible-defocus", level))

    largest = max(float(np.abs(column).max()) for column in columns)
    middle = max(float(np.median(np.abs(column))) for column in columns)
    if largest == 0:
        say("the defocus is 0 in all rows", "estimate the CTF, unless there was none")
    elif largest < SMALLEST_DEFOCUS:
        say(
            f"all defoci are below {SMALLEST_DEFOCUS:g} A (the largest is {largest:g}); "
            "they look like micrometres",
            "multiply rlnDefocusU and rlnDefocusV by 10000",
            "fault",
        )
    elif largest < _NANOMETRES:
        say(
            f"all defoci are below {_NANOMETRES:g} A (the largest is {largest:g}); they may be "
            "nanometres",
            "if so, multiply rlnDefocusU and rlnDefocusV by 10",
        )
    elif middle > _FAR:
        say(f"half of the defoci are above {_FAR:g} A", "see whether they are in Angstrom")
    negative = np.logical_or.reduce([column < 0 for column in columns])
    count = int(negative.sum())
    if count == len(negative):
        say(
            "all defoci are negative (overfocus); in RELION underfocus is positive",
            "if the images are underfocused, take the sign off",
        )
    elif count:
        say(
            f"{count} of {len(negative)} defoci are negative (overfocus), first in row "
            f"{int(negative.argmax()) + 1}",
            "see whether the CTF was estimated well there",
        )
    if len(negative) >= _FEW and largest > 0 and all(np.ptp(column) == 0 for column in columns):
        say(
            f"the defocus is {columns[0][0]:g} A in all rows",
            "take the values that were estimated for every micrograph or particle",
        )
    shift = numbers.get("rlnPhaseShift")
    if shift is not None and shift.any() and 0 < np.abs(shift).max() <= _RADIANS:
        say(
            f"all phase shifts are within {np.abs(shift).max():g} degrees; they may be radians",
            "if so, multiply rlnPhaseShift by 57.2958",
        )
    return faults


def pose_faults(path: Path, angles: list[Array]) -> list[Fault]:
    """Faults of poses: radians, one pose for all.

    Parameters
    ----------
    path : Path
        Table, for messages.
    angles : list of (P,) arrays
        rot, tilt and psi in degrees, finite; none where the table has none.
    """
    if len(angles) < 3 or len(angles[0]) < 2:
        return []
    if not all(np.isfinite(column).all() for column in angles):
        return []
    rows = len(angles[0])
    rot, tilt, psi = angles
    largest = [float(np.abs(column).max()) for column in angles]
    if not any(largest):
        return []
    if all(np.ptp(column) == 0 for column in angles):
        what = f"all particles have one pose (rot {rot[0]:g}, tilt {tilt[0]:g}, psi {psi[0]:g})"
        way_out = "give a table of a 3D refinement; one view makes no volume"
        return [Fault(path, "", what, way_out, "one-pose", "warning")]
    if max(largest) > _RADIANS:
        return []
    sure = rows >= _ENOUGH and max(largest[0], largest[2]) > 2.0 and np.ptp(tilt) > 0.5
    what = f"all angles are within {max(largest):.3g} degrees; they look like radians"
    way_out = "multiply rot, tilt and psi by 57.2958"
    level = "fault" if sure else "warning"
    return [Fault(path, "", what, way_out, "implausible-angles", level)]


def shift_faults(path: Path, shifts: Array, half_box: Array) -> list[Fault]:
    """Faults of shifts that move the particle out of its image.

    Parameters
    ----------
    path : Path
        Table, for messages.
    shifts : (P, 2) float array
        x and y in Angstrom.
    half_box : (P,) float array
        Half of the box of every particle's image in Angstrom; NaN where it is not known.
    """
    with np.errstate(invalid="ignore"):
        beyond = np.abs(shifts).max(axis=1, initial=0) > half_box
    count = int(beyond.sum())
    if not count:
        return []
    row = int(np.argmax(beyond))
    x, y = shifts[row]
    way_out = "see whether they are in Angstrom, and of images of this size"
    if count == len(beyond) and count > 1:
        what = f"all shifts exceed half of the box ({half_box[row]:.4g} A), first {x:g}, {y:g} A"
        return [Fault(path, "", what, way_out, "implausible-shifts")]
    what = (
        f"the shift {x:g}, {y:g} A is beyond half of the box ({half_box[row]:.4g} A); "
        f"so are {count} of {len(beyond)}"
    )
    return [Fault(path, f"row {row + 1}", what, way_out, "implausible-shifts", "warning")]
