"""Grid of the volumes from particles whose optics groups may have several."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.particles.optics import Optics

logger = logging.getLogger(__name__)


def output_grid(
    path: Path, optics: Optics, group: Array, wanted: tuple[int | None, float | None]
) -> tuple[int, float]:
    """Box (pixels) and pixel size (A) of volumes: those of the first optics group in use.

    An odd box becomes even by its last row and column, which leaves the origin where it is.

    Parameters
    ----------
    path : Path
        Table, for messages.
    optics : Optics
    group : (P,) int array
        Group of every particle.
    wanted : (int or None, float or None)
        Box and voxel size that were asked for. With a voxel size alone the box is that of the same
        width, with a box alone the voxel size stays.

    Returns
    -------
    (int, float)
        0 and NaN where they are unknown.
    """
    first = int(group.min()) if len(group) else 0
    box, size = int(optics.box[first]), float(optics.pixel_size[first])
    even = box - box % 2
    if not (box > 0 and size > 0):
        return even, size
    if wanted[1] is not None:
        even = 2 * round(0.5 * box * size / wanted[1])
        size = wanted[1]
    if wanted[0] is not None:
        even = wanted[0]
    used = np.unique(group)
    several = {(int(optics.box[g]), round(float(optics.pixel_size[g]), 4)) for g in used}
    if len(several) > 1 or even != box or wanted != (None, None):
        held = ", ".join(f"{b} px of {s:g} A" for b, s in sorted(several))
        logger.info("%s: images of %s; volumes of %d px of %g A", path, held, even, size)
    return even, size


def known(path: Path, value: Any, what: str) -> Any:
    """The value, refused where it is not positive."""
    if not value > 0:
        raise InputError(f"{path}: the {what} is unknown; give it as an option")
    return value
