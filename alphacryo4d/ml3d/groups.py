"""Intensity of groups of particles relative to each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.masks import first_mask
from alphacryo4d.ml3d.mean import data_power, solve_mean

Array = np.ndarray[Any, Any]
_MORE = 10.0
"""Particles of intensity one that every group is given, so that small ones stay near one."""


def apply_group_scales(
    images: PreparedImages, radius: int, *, threads: int | None = None, rounds: int = 2
) -> Array:
    """Measure the intensity of each group against the consensus, and put it into the CTF.

    The consensus is solved from all particles; the scale of a group is the one that fits its
    images best (as RELION's scale correction of groups). Nothing is done for a single group.

    Parameters
    ----------
    images : PreparedImages
        Its CTF is multiplied in place.
    radius : int
        Last Fourier shell used (pixels).
    threads : int, optional
    rounds : int
        Times that consensus and scales are estimated in turn.

    Returns
    -------
    (G,) float64 array
        Scale of each group; its mean over the particles is 1.
    """
    particles = np.bincount(images.group)
    scales = np.ones(len(particles))
    if len(particles) < 2:
        return scales
    grid = Grid(min(radius, images.radius), thread_count(threads))
    view = View(images, images.sorted_rows(np.arange(len(images))), grid)
    mask = first_mask(grid, images, None, None)
    for _ in range(rounds):
        noise = data_power(view)
        noise[:, 0] = noise[:, 1]
        field, _, noise = solve_mean(view, noise, mask, rounds=1)
        found = expect(view, grid.class_references(field * mask), 1 / noise, np.ones(1)).scale
        found = (particles * found + _MORE) / (particles + _MORE)
        found = np.clip(found / np.average(found, weights=particles), 0.2, 5.0)
        for start in range(0, len(images), 4096):
            part = slice(start, start + 4096)
            images.ctf[part] *= found[images.group[part], None].astype(np.float32)
        scales *= found
    return scales
