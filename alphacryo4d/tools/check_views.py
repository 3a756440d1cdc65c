"""Images whose background depends on the direction that the particle is seen from.

Images are brought to one deviation of their background. Where the particle, or what its CTF
spreads, reaches into the background, every view gets a scale of its own, and views become states.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.special

from alphacryo4d.core.arrays import Array
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.maths.rotations import euler_matrices

BY_VIEW = "background-by-view"
_SIZE = 0.02
"""Spread of the scales of views that is told; sets in boxes large enough have up to 0.01."""
_CHANCE = 1e-6
_HEIGHTS, _SECTORS = 3, 4
_ENOUGH = 100


def spread_by_view(deviation: Array, angles: Array, group: Array) -> tuple[float, float]:
    """How much the deviation of the background varies with the viewing direction.

    Analysis of variance of its logarithm over twelve bins of equal area; a direction and its
    opposite, which show mirror images, are one.

    Parameters
    ----------
    deviation : (n,) array
        Of the background of every image, positive.
    angles : (n, 3) array
        rot, tilt, psi (degrees).
    group : (n,) int array
        Optics group, whose mean is taken off.

    Returns
    -------
    tuple of float
        Standard deviation of the scales of views, without what chance gives; and the probability
        of so much by chance.
    """
    view = euler_matrices(angles)[:, 2]
    view = np.where(view[:, 2:] < 0, -view, view)
    height = np.minimum((view[:, 2] * _HEIGHTS).astype(int), _HEIGHTS - 1)
    turn = (np.arctan2(view[:, 1], view[:, 0]) / (2 * np.pi)) % 1
    sector = np.minimum((turn * _SECTORS).astype(int), _SECTORS - 1)
    values = np.log(deviation)
    values = values - _means(values, np.unique(group, return_inverse=True)[1])
    cell = np.unique(height * _SECTORS + sector, return_inverse=True)[1]
    fitted = _means(values, cell)
    between, free = float(np.square(fitted).sum()), int(cell.max())
    rest = len(values) - free - 1
    if free < 1 or rest < 1:
        return 0.0, 1.0
    within = float(np.square(values - fitted).sum()) / rest
    size = np.sqrt(max(0.0, between - free * within) / len(values))
    if within == 0:
        return float(size), float(between == 0)
    chance = scipy.special.fdtrc(free, rest, between / free / within)
    return float(size), float(chance)


def view_faults(table: Path, deviation: Array, angles: Array, group: Array) -> list[Fault]:
    """Warning where the background depends on the view, beyond chance and by more than a little.

    Parameters
    ----------
    table : Path
        For messages.
    deviation, angles, group
        As for :func:`spread_by_view`; images without a deviation are passed over.
    """
    good = (deviation > 0) & np.isfinite(angles).all(axis=1)
    if good.sum() < _ENOUGH:
        return []
    size, chance = spread_by_view(deviation[good], angles[good], group[good])
    if size < _SIZE or chance > _CHANCE:
        return []
    what = (
        "the background (outside three quarters of the box) depends on the viewing direction, by "
        f"{100 * size:.2g}%: the particle reaches into it, and where images are brought to one "
        "deviation of their background, views may become states"
    )
    way_out = (
        "extract with a larger box; or --normalise none, where the stacks have one scale of noise"
    )
    return [Fault(table, "", what, way_out, BY_VIEW, "warning")]


def _means(values: Array, cell: Array) -> Array:
    """Mean of its cell for every value."""
    means: Array = (np.bincount(cell, values) / np.bincount(cell))[cell]
    return means
