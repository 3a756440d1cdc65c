"""Scales of the background that follow the viewing direction, apart from those of micrographs."""

from __future__ import annotations

import numpy as np
import scipy.special

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import euler_matrices

_SIZE = 0.02
"""Spread of the scales of views that is told; sets in boxes large enough have up to 0.01."""
_CHANCE = 1e-6
_HEIGHTS, _SECTORS = 3, 4
_ENOUGH = 100
_FAR = 5.0
"""Spreads at which an image that is unlike all others is held."""


def told_by_view(deviation: Array, angles: Array, unit: Array) -> tuple[float, Array]:
    """Scales of views where they are beyond chance and differ by more than a little.

    Parameters
    ----------
    deviation : (n,) array
        Of the background of every image.
    angles : (n, 3) array
        rot, tilt, psi (degrees).
    unit : (n,) int array
        Of images whose noise has one scale, a micrograph or an optics group
        (:func:`one_scale`).

    Returns
    -------
    float
        Standard deviation of the scales of views, 0 where nothing is told.
    (n,) float64 array
        Logarithm of the scale of the view of every image; 0 for those without deviation or pose,
        and where nothing is told.
    """
    scales = np.zeros(len(deviation))
    good = (deviation > 0) & np.isfinite(deviation) & np.isfinite(angles).all(axis=1)
    if good.sum() < _ENOUGH:
        return 0.0, scales
    found, size, chance = scales_of_views(np.log(deviation[good]), angles[good], unit[good])
    if size < _SIZE or chance > _CHANCE:
        return 0.0, scales
    scales[good] = found
    return size, scales


def scales_of_views(values: Array, angles: Array, unit: Array) -> tuple[Array, float, float]:
    """How much the deviation of the background varies with the viewing direction.

    Least squares of its logarithm by twelve bins of equal area, beside a mean for every unit: so
    neither the noise of units hides the views, nor is a part of the views taken for that of units
    of few images. A direction and its opposite, which show mirror images, are one.

    Parameters
    ----------
    values : (n,) array
        Logarithm of the deviation of every image.
    angles, unit
        As for :func:`told_by_view`.

    Returns
    -------
    (n,) float64 array
        Logarithm of the scale of the view of every image, of mean 0.
    float
        Standard deviation of the scales of views, without what chance gives.
    float
        Probability of so much by chance.
    """
    cell = _cells(angles)
    unit = np.unique(unit, return_inverse=True)[1]
    values = values - means(values, unit)
    most = _FAR * 1.4826 * float(np.median(np.abs(values)))
    values = values.clip(-most, most)
    flags = np.eye(int(cell.max()) + 1)[cell]
    flags -= np.stack([means(column, unit) for column in flags.T], axis=1)
    normal = flags.T @ flags
    free = int(np.linalg.matrix_rank(normal, hermitian=True))
    rest = len(values) - int(unit.max()) - 1 - free
    if free < 1 or rest < 1:
        return np.zeros(len(values)), 0.0, 1.0
    inverse = np.linalg.pinv(normal, hermitian=True)
    effect = inverse @ (flags.T @ values)
    fitted = flags @ effect
    between = float(np.square(fitted).sum())
    within = float(np.square(values - fitted).sum()) / rest
    share = np.bincount(cell) / len(cell)
    centre = np.eye(len(share)) - share
    effect = centre @ effect
    by_chance = within * float(share @ np.diagonal(centre @ inverse @ centre.T))
    size = float(np.sqrt(max(0.0, float(share @ np.square(effect)) - by_chance)))
    if within == 0:
        return effect[cell], size, float(between == 0)
    return effect[cell], size, float(scipy.special.fdtrc(free, rest, between / free / within))


def one_scale(micrograph: Array | None, group: Array) -> Array:
    """Units (n,) of images whose noise has one scale, numbered from 0.

    The micrographs of every optics group, where they have two of the images on average: fewer do
    not tell noise from views. Else the optics groups.

    Parameters
    ----------
    micrograph : (n,) int array or None
        Number of the micrograph, where the table names it.
    group : (n,) int array
        Optics group.
    """
    numbers = np.unique(group, return_inverse=True)[1]
    if micrograph is None:
        return numbers
    both = micrograph * np.int64(int(numbers.max(initial=0)) + 1) + numbers
    units = np.unique(both, return_inverse=True)[1]
    return units if len(units) >= 2 * (int(units.max(initial=-1)) + 1) else numbers


def within_units(values: Array, unit: Array) -> float | None:
    """Standard deviation within units, pooled; None where none has two values.

    Values far from all others count as at most five times as far as most.

    Parameters
    ----------
    values : (n,) array
    unit : (n,) int array
        From 0.
    """
    count = np.bincount(unit)[unit]
    several = count > 1
    if not several.any():
        return None
    count, own = count[several], unit[several]
    own = np.unique(own, return_inverse=True)[1]
    away = (values[several] - means(values[several], own)) * np.sqrt(count / (count - 1))
    most = _FAR * 1.4826 * float(np.median(np.abs(away)))
    freedom = 1 - 1 / count
    return float(np.sqrt((freedom * np.square(away.clip(-most, most))).sum() / freedom.sum()))


def medians(values: Array, unit: Array, count: Array) -> Array:
    """Median of the values of every unit, 0 where it has none; ``count`` is how many it has."""
    order = np.lexsort((values, unit))
    first = np.cumsum(count) - count
    held = np.append(values[order], 0.0)
    low, high = first + np.maximum(count - 1, 0) // 2, first + count // 2
    found: Array = np.where(count > 0, (held[low] + held[high]) / 2, 0.0)
    return found


def means(values: Array, cell: Array) -> Array:
    """Mean of its cell for every value."""
    found: Array = (np.bincount(cell, values) / np.bincount(cell))[cell]
    return found


def _cells(angles: Array) -> Array:
    """Number of the bin of every viewing direction, from 0, without empty ones."""
    view = euler_matrices(angles)[:, 2]
    view = np.where(view[:, 2:] < 0, -view, view)
    height = np.minimum((view[:, 2] * _HEIGHTS).astype(int), _HEIGHTS - 1)
    turn = (np.arctan2(view[:, 1], view[:, 0]) / (2 * np.pi)) % 1
    sector = np.minimum((turn * _SECTORS).astype(int), _SECTORS - 1)
    cells: Array = np.unique(height * _SECTORS + sector, return_inverse=True)[1]
    return cells
