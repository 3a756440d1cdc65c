"""Poses that fit another optimum better: a grid around the pose that a particle has.

Steps uphill do not leave an optimum. A refinement of a heterogeneous set leaves a few per cent of
its poses at a wrong one, some 10 to 25 degrees away. Particles whose signal is low for their state
are compared with it at turns and moves around their pose, and the best of these climb
(:mod:`alphacryo4d.alignment.climbing`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alphacryo4d.alignment import climbing
from alphacryo4d.alignment.poses import Poses, Target, grid_steps, target_of
from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import rotation_vectors, whole_rotations
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.reclassify.pose_centres import Centres

ANGLES = (8.0, 16.0)
"""Turns (degrees) around the pose, alone and in pairs of axes."""
LOWEST = 0.4
"""Share of the particles that are looked at: those of the lowest amplitude. Three quarters of the
wrong poses are among them."""
_CANDIDATES = 12
_FINER = 1.5
"""Between the shell of the grid and the last one."""
_BLOCK = 1000
"""Images whose candidates are in memory at once."""


def look_around(
    images: PreparedImages,
    rows: Array,
    centres: Centres,
    grid: Grid,
    noise: Array,
    workers: int = 1,
    check: Callable[[], None] = lambda: None,
) -> tuple[Array, Array, Array]:
    """Poses that fit a particle better than its own, of those at a low signal.

    Parameters
    ----------
    images : PreparedImages
        With the poses of now.
    rows : (n,) int array
        Particles.
    centres : Centres
        Volumes of their states, on the cube of the grid.
    grid : Grid
    noise : (G, shells) array
        Noise power.
    workers : int
        Threads.
    check : callable
        Called before every block of particles; stops the work by raising.

    Returns
    -------
    better : (m,) int array
        Places in ``rows``.
    turn, slide : (m, 3), (m, 2) arrays
        Changes of these poses: rotation vectors (degrees) and shifts (A) of the images.
    """
    targets = [target_of(cube, grid, 1 / noise) for cube in centres.cubes]
    now = Poses(
        rows, whole_rotations(images.matrices[rows]), np.zeros((len(rows), 2)), np.zeros(len(rows))
    )
    amplitude, score = _amplitudes(images, targets, now, centres.group, workers)
    amplitude[~images.informative[rows]] = np.inf
    low = np.argsort(amplitude, kind="stable")[: int(LOWEST * np.isfinite(amplitude).sum())]
    if not len(low):
        return low, np.empty((0, 3)), np.empty((0, 2))
    found = []
    for some in np.split(low, range(_BLOCK, len(low), _BLOCK)):
        check()
        found.append(_best_around(images, targets, now.take(some), centres.group[some], workers))
    rotations, shifts, scores = (
        np.concatenate([getattr(poses, name) for poses in found])
        for name in ("rotations", "shifts", "score")
    )
    up = scores > score[low]
    better = low[up]
    turned = rotations[up] @ now.rotations[better].transpose(0, 2, 1)
    return better, rotation_vectors(turned), shifts[up] * images.pixel_size


def _amplitudes(
    images: PreparedImages, targets: list[Target], poses: Poses, group: Array, workers: int
) -> tuple[Array, Array]:
    """Signal by regression on the particle's own volume, and log-likelihood ratio."""
    cross, norm = np.empty(len(poses.row)), np.empty(len(poses.row))
    for number, target in enumerate(targets):
        mine = np.flatnonzero(group == number)
        sums = climbing.fit(images, target, poses.take(mine), target.radius, workers)
        cross[mine], norm[mine] = sums.cross, sums.norm
    return cross / np.maximum(norm, 1e-30), 2 * cross - norm


def _best_around(
    images: PreparedImages, targets: list[Target], now: Poses, group: Array, workers: int
) -> Poses:
    """The best pose of every particle among those around its own."""
    radius = targets[0].radius
    coarse = max(1, int(radius / _FINER))
    slide = grid_steps(coarse, images.box)[1]
    parts = [climbing.around(now, angle, slide) for angle in ANGLES]
    counts = [len(part.row) // len(now.row) for part in parts]
    near, each = Poses.joined(parts, counts), sum(counts)
    model = np.repeat(group, each)
    for number, target in enumerate(targets):
        mine = np.flatnonzero(model == number)
        sums = climbing.fit(images, target, near.take(mine), coarse, workers)
        near.score[mine] = 2 * sums.cross - sums.norm
    chosen = climbing.best_rows(near, _CANDIDATES, each)
    best, _, _ = climbing.climb_models(
        images, targets, near.take(chosen), model[chosen], _CANDIDATES, coarse, workers=workers
    )
    return best
