"""What most images of a table are like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.particles.particle_set import ParticleSet

if TYPE_CHECKING:
    from alphacryo4d.ml3d.background import Typical


_LOOKED_AT = 1000
_BLOCK = 256


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

    held: Typical | None = particles.typical.get(diameter)
    if held is None:
        rows, levels = sampled_levels(particles, diameter)
        held = typical_of(levels, particles.optics_group[rows], len(particles.optics))
        particles.typical[diameter] = held
    return held


def sampled_levels(particles: ParticleSet, diameter: float | None) -> tuple[Array, Array]:
    """Rows of about a thousand images that are spread over the table, and their levels.

    Parameters
    ----------
    particles, diameter
        As for :func:`background_levels`.
    """
    key = ("sample", diameter)
    if key not in particles.typical:
        rows = np.arange(0, len(particles), max(1, len(particles) // _LOOKED_AT))
        particles.typical[key] = rows, background_levels(particles, rows, diameter)
    held: tuple[Array, Array] = particles.typical[key]
    return held


def background_levels(particles: ParticleSet, rows: Array, diameter: float | None) -> Array:
    """Mean and deviation of the background, and deviation of all pixels, of some images.

    Parameters
    ----------
    particles : ParticleSet
    rows : (n,) int array
    diameter : float or None
        Of the particle (A).

    Returns
    -------
    (n, 3) float64
        As :func:`alphacryo4d.ml3d.background.level` gives them.
    """
    from alphacryo4d.ml3d.background import circle, level

    group = particles.optics_group[rows]
    levels = np.zeros((len(rows), 3))
    for number in np.unique(group):
        mine = np.flatnonzero(group == number)
        size = float(particles.optics.pixel_size[number])
        for first in range(0, len(mine), _BLOCK):
            part = mine[first : first + _BLOCK]
            images = particles.images(rows[part])
            wide = None if diameter is None else diameter / size
            levels[part] = level(images, circle(images.shape[1], wide), "none")
    return levels
