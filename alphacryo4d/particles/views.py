"""Images whose background depends on the direction that the particle is seen from.

Where the particle, or what its CTF spreads, reaches into the background, an image that is brought
to the deviation of its own background gets the scale of its view, and views become states. Then
images are brought to the deviation that those of their micrograph have in common.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import scipy.special

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.words import ONCE
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.typical import background_levels, sampled_levels

logger = logging.getLogger(__name__)

MICROGRAPH = "rlnMicrographName"
_SIZE = 0.02
"""Spread of the scales of views that is told; sets in boxes large enough have up to 0.01."""
_CHANCE = 1e-6
_HEIGHTS, _SECTORS = 3, 4
_ENOUGH = 100
_ONE_SCALE = 0.2
"""Spread within a micrograph, without that of views, from which its images differ in scale."""
_IMAGES, _FEW = 16, 4
"""Images that tell the deviation of a micrograph, and that its spread needs."""


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


def told_by_view(deviation: Array, angles: Array, group: Array) -> float:
    """Spread of the scales of views where it is beyond chance and more than a little, else 0.

    Parameters
    ----------
    deviation, angles, group
        As for :func:`spread_by_view`; images without a deviation or a pose are passed over.
    """
    good = (deviation > 0) & np.isfinite(angles).all(axis=1)
    if good.sum() < _ENOUGH:
        return 0.0
    size, chance = spread_by_view(deviation[good], angles[good], group[good])
    return 0.0 if size < _SIZE or chance > _CHANCE else size


def settled(classify: ClassifyOptions, particles: ParticleSet) -> ClassifyOptions:
    """The options with the normalisation that fits the images, where none was chosen.

    The images, and nothing else, decide: the same for every run on a table. Results record what
    was decided, and what is made of them takes it from there.
    """
    if classify.normalise != "auto":
        return classify
    return replace(classify, normalise=fitting(particles, classify.mask_diameter))


def fitting(particles: ParticleSet, diameter: float | None) -> str:
    """``deviation``, or ``micrograph`` where the background depends on the view; says so once.

    Parameters
    ----------
    particles : ParticleSet
    diameter : float or None
        Of the particle (A).
    """
    key = ("normalise", diameter)
    if key not in particles.typical:
        particles.typical[key] = _fitting(particles, diameter)
    choice: str = particles.typical[key]
    return choice


def _fitting(particles: ParticleSet, diameter: float | None) -> str:
    rows, levels = sampled_levels(particles, diameter)
    size = told_by_view(levels[:, 1], particles.angles[rows], particles.optics_group[rows])
    if not size:
        return "deviation"
    _, spread = _common(particles, diameter)
    rest = np.sqrt(max(0.0, spread**2 - size**2))
    said = f"{particles.path}: the background depends on the viewing direction by {100 * size:.2g}%"
    if rest > _ONE_SCALE:
        logger.warning(
            "%s, and images of a micrograph differ by %.0f%% otherwise, so that each is brought to "
            "the deviation of its own background all the same: views may become states; extract "
            "with a larger box", said, 100 * rest, extra=ONCE,
        )  # fmt: skip
        return "deviation"
    logger.info(
        "%s: the native engine brings images to the deviation of their %s, so that views do not "
        "become states (--normalise micrograph; deviation takes that of each image)",
        said, "micrograph" if MICROGRAPH in particles.table.columns else "optics group",
        extra=ONCE,
    )  # fmt: skip
    return "micrograph"


def common_deviations(particles: ParticleSet, diameter: float | None) -> Array:
    """Deviation of the background that the images of a micrograph have in common, (P,) float64.

    The median of its images, up to sixteen: single images of high contrast, ice or an edge, and
    views that reach far into the background draw a mean square, not a median. It is drawn towards
    the median of all images of the optics group as far as chance explains the difference, so that
    in a micrograph of few images not their views decide. Without micrographs in the table those
    of an optics group are one.

    Parameters
    ----------
    particles : ParticleSet
    diameter : float or None
        Of the particle (A).
    """
    return _common(particles, diameter)[0]


def _common(particles: ParticleSet, diameter: float | None) -> tuple[Array, float]:
    """Common deviation of every particle, and the spread (of the logarithm) within micrographs."""
    key = ("micrographs", diameter)
    if key not in particles.typical:
        particles.typical[key] = _measured(particles, diameter)
    held: tuple[Array, float] = particles.typical[key]
    return held


def _measured(particles: ParticleSet, diameter: float | None) -> tuple[Array, float]:
    optics, unit = particles.optics_group, np.zeros(len(particles), int)
    if MICROGRAPH in particles.table.columns:
        names = np.asarray(particles.table.read([MICROGRAPH])[MICROGRAPH])
        unit = np.unique(names, return_inverse=True)[1]
    unit = np.unique(unit * np.int64(len(particles.optics)) + optics, return_inverse=True)[1]
    every, most = np.bincount(unit), max(_IMAGES, 1000 // (int(unit.max()) + 1))
    order = np.argsort(unit, kind="stable")
    place = np.arange(len(unit)) - np.repeat(np.cumsum(every) - every, every)
    step = -(-every // most)[unit[order]]
    rows = np.sort(order[place % step == 0])
    deviation = background_levels(particles, rows, diameter)[:, 1]
    good = (deviation > 0) & np.isfinite(deviation)
    rows, values = rows[good], np.log(deviation[good])
    usual = np.zeros(len(particles.optics))
    for group in np.unique(optics[rows]):
        usual[group] = np.median(values[optics[rows] == group])
    values = values - usual[optics[rows]]
    count = np.bincount(unit[rows], minlength=len(every))
    middle = _medians(values, unit[rows], count)
    away, known = np.abs(values - middle[unit[rows]]), count[unit[rows]] >= _FEW
    spread = float(1.4826 * np.median(away[known])) if known.any() else 0.0
    error = np.pi / 2 * spread**2 / np.maximum(count, 1)
    seen = count > 0
    between = max(0.0, float((np.square(middle) - error)[seen].mean())) if seen.any() else 0.0
    kept = between / np.maximum(between + error, 1e-300)
    return np.exp(usual[optics] + (kept * middle)[unit]), spread


def _medians(values: Array, unit: Array, count: Array) -> Array:
    """Median of the values of every unit, 0 where it has none."""
    order = np.lexsort((values, unit))
    first = np.cumsum(count) - count
    held = np.append(values[order], 0.0)
    low, high = first + np.maximum(count - 1, 0) // 2, first + count // 2
    medians: Array = np.where(count > 0, (held[low] + held[high]) / 2, 0.0)
    return medians


def _means(values: Array, cell: Array) -> Array:
    """Mean of its cell for every value."""
    means: Array = (np.bincount(cell, values) / np.bincount(cell))[cell]
    return means
