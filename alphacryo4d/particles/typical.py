"""What most images of a table are like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core.arrays import NO_ROWS, Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.io.star import MICROGRAPH_COLUMN, ParticleTable
from alphacryo4d.particles.particle_set import ParticleSet

if TYPE_CHECKING:
    from alphacryo4d.ml3d.background import Typical


_LOOKED_AT = 1000
_BLOCK = 256
_TOGETHER = 8
"""Images of a micrograph, or of one and the next, that are looked at together."""


def typical_deviations(particles: ParticleSet, diameter: float | None) -> Typical:
    """Deviations of most images, from about a thousand that are spread over the table.

    The same for every part of a table, so that an image is an outlier in all of them or in none.

    Parameters
    ----------
    particles : ParticleSet
    diameter : float or None
        Of the particle (A).
    """
    from alphacryo4d.ml3d.background import typical_of

    held = particles.measured.typical
    if diameter not in held:
        rows, levels = sampled_levels(particles, diameter)
        groups = particles.optics_group[rows]
        held[diameter] = typical_of(levels, groups, len(particles.optics))
    return held[diameter]


def sampled_levels(particles: ParticleSet, diameter: float | None) -> tuple[Array, Array]:
    """Rows of about a thousand images that are spread over the table, and their levels.

    Where the table names micrographs, several are of one.

    Parameters
    ----------
    particles, diameter
        As for :func:`background_levels`.
    """
    held = particles.measured.sampled
    if diameter not in held:
        rows = spread_rows(len(particles), _LOOKED_AT, micrographs(particles))
        held[diameter] = rows, background_levels(particles, rows, diameter)
    return held[diameter]


def spread_rows(count: int, wanted: int, micrograph: Array | None) -> Array:
    """Rows that are spread over a table, several of one micrograph where it names them.

    Parameters
    ----------
    count : int
        Rows of the table.
    wanted : int
        How many are wanted, about.
    micrograph : (count,) int array or None
        Number of the micrograph of every row.
    """
    step = max(1, count // wanted)
    if micrograph is None:
        return np.arange(0, count, step)
    order = np.argsort(micrograph, kind="stable")
    rows: Array = np.sort(order[np.arange(count) // _TOGETHER % step == 0])
    return rows


def micrographs(particles: ParticleSet) -> Array | None:
    """Number of the micrograph of every particle, from 0; None where the table names none."""
    if particles.measured.micrographs is None:
        numbers = micrograph_numbers(particles.table)
        particles.measured.micrographs = NO_ROWS if numbers is None else numbers
    held = particles.measured.micrographs
    return held if len(held) else None


def micrograph_numbers(table: ParticleTable) -> Array | None:
    """Number of the micrograph of every row, from 0; None where a table names none."""
    if MICROGRAPH_COLUMN not in table.columns:
        return None
    names = np.asarray(table.read([MICROGRAPH_COLUMN])[MICROGRAPH_COLUMN])
    return np.unique(names, return_inverse=True)[1]


def background_levels(
    particles: ParticleSet, rows: Array, diameter: float | None, progress: Progress = no_progress
) -> Array:
    """Mean and deviation of the background, and deviation of all pixels, of some images.

    Parameters
    ----------
    particles : ParticleSet
    rows : (n,) int array
    diameter : float or None
        Of the particle (A).
    progress : callback
        Called while images are read.

    Returns
    -------
    (n, 3) float64
        As :func:`alphacryo4d.ml3d.background.level` gives them.
    """
    from alphacryo4d.ml3d.background import circle, level

    group = particles.optics_group[rows]
    levels, done = np.zeros((len(rows), 3)), 0
    for number in np.unique(group):
        mine = np.flatnonzero(group == number)
        size = float(particles.optics.pixel_size[number])
        for first in range(0, len(mine), _BLOCK):
            part = mine[first : first + _BLOCK]
            images = particles.images(rows[part])
            wide = None if diameter is None else diameter / size
            levels[part] = level(images, circle(images.shape[1], wide), "none")
            done += len(part)
            progress(done, len(rows))
    return levels
