"""Intensity of groups of particles, and of single ones, relative to each other."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.masks import first_mask
from alphacryo4d.ml3d.mean import data_power, solve_mean

_MORE = 10.0
"""Particles of intensity one that every group is given, so that small ones stay near one."""
_VARY = 0.1
"""Relative deviation of the intensities of particles, beyond their errors, that is left alone."""
_LEAST = 0.25
"""Part of the variance of their errors that the variance of the intensities must exceed."""
_MOST = 4.0
"""Factor by which the intensity of a particle is changed at most."""


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
        inner, norm = _moments_of_groups(view, grid.class_references(field * mask), noise)
        correction = np.where(norm > 0, inner / np.maximum(norm, 1e-30), 1.0)
        correction = (particles * correction + _MORE) / (particles + _MORE)
        correction = np.clip(correction / np.average(correction, weights=particles), 0.2, 5.0)
        for start in range(0, len(images), 4096):
            part = slice(start, start + 4096)
            images.ctf[part] *= correction[images.group[part], None].astype(np.float32)
        scales *= correction
    return scales


def _moments_of_groups(view: View, references: Array, noise: Array) -> Array:
    """Sums over each group of data times reference, and of the reference squared, (2, G)."""
    moments = expect(view, references, 1 / noise, np.ones(1)).moments
    group = view.images.group[view.rows]
    return np.stack([np.bincount(group, column, minlength=view.groups) for column in moments.T])


def apply_particle_scales(
    images: PreparedImages, radius: int, *, threads: int | None = None, rounds: int = 3
) -> Array:
    """Measure the intensity of single particles where they differ, and put it into the CTF.

    The background has the deviation of the noise only where little signal reaches it. Images of
    little noise, and particles as large as their box, are brought to unlike intensities by it. The
    intensity that fits an image best is its inner product with the consensus over the norm of
    that; the variance of its error is half of one over the norm, since noise of a power has half of
    it in the real part. Where intensities vary by more than a
    tenth beyond their errors (by the median, so that images of something else do not decide), each
    becomes its posterior mean under a normal prior of that variance; elsewhere nothing is done.

    Parameters
    ----------
    images : PreparedImages
        Its CTF is multiplied in place.
    radius : int
        Last Fourier shell used (pixels).
    threads : int, optional
    rounds : int
        Times that consensus and intensities are estimated in turn, at most.

    Returns
    -------
    (P,) float64 array
        Intensity of each particle relative to the median; 1 of all where they vary little.
    """
    scales = np.ones(len(images))
    rows = images.sorted_rows(np.flatnonzero(images.informative))
    if not len(rows):
        return scales
    grid = Grid(min(radius, images.radius), thread_count(threads))
    view, mask = View(images, rows, grid), first_mask(grid, images, None, None)
    for _ in range(rounds):
        noise = data_power(view)
        noise[:, 0] = noise[:, 1]
        field, _, noise = solve_mean(view, noise, mask, rounds=1)
        references = grid.class_references(field * mask)
        moments = expect(view, references, 1 / noise, np.ones(1)).moments.astype(np.float64)
        inner, norm = moments[:, 0], np.maximum(moments[:, 1], 1e-12)
        usual = float(np.median(inner / norm))
        error = float(np.median(0.5 / norm))
        variance = np.square(1.4826 * np.median(np.abs(inner / norm - usual))) - error
        if usual <= 0 or variance <= max(np.square(_VARY * usual), _LEAST * error):
            break
        likely = (2 * inner + usual / variance) / (2 * norm + 1 / variance)
        correction = np.clip(likely / usual, 1 / _MOST, _MOST)
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            images.ctf[part] *= correction[start : start + 4096, None].astype(np.float32)
        scales[rows] *= correction
    return scales
