"""Poses as a consensus refinement of a heterogeneous set leaves them.

Every pose becomes the best fit of its own image to one map of all particles. Its error then depends
on the noise of that image, and is drawn, state by state, towards the mean: real poses are wrong in
this way, and not at random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.reclassify.joint_moments import joint_moments
from alphacryo4d.reclassify.pose_prior import consensus_map
from alphacryo4d.reclassify.poses import MovingPoses

START_ERRORS = (2.0, 1.0)
"""Error of the poses that the refinement starts from (degrees, A), beside that of the table."""
RESOLUTIONS = tuple(max(20.0 - 1.5 * step, 8.0) for step in range(12))
"""Resolution (A) of every iteration."""
_FLAT = (60.0, 60.0)
_LONGEST = np.deg2rad(5.0), 3.0


def refine_consensus(
    images: PreparedImages,
    *,
    workers: int = 1,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
) -> MovingPoses:
    """Twelve times one map from all particles, and a Gauss-Newton step of every pose against it.

    Parameters
    ----------
    images : PreparedImages
        To 8 A, at the poses that the refinement starts from.
    workers : int
        Threads.
    progress : Progress
        Callback.
    check : callable
        Called before every iteration; stops the work by raising.

    Returns
    -------
    MovingPoses
        With the changes of all poses.
    """
    poses = MovingPoses(images, workers)
    for number, resolution in enumerate(RESOLUTIONS):
        check()
        progress(number, len(RESOLUTIONS))
        shell = shell_of_resolution(resolution, images.box, images.pixel_size)
        grid = Grid(min(shell, images.radius), workers)
        view = View(poses.images, images.sorted_rows(np.arange(len(images))), grid)
        cube, noise = consensus_map(view, check=check)
        moments, _ = joint_moments(view, cube, noise)
        step = moments.posterior_mean(_FLAT, np.zeros((len(view.rows), 6)))
        poses.move(view.rows, bounded(step))
    progress(len(RESOLUTIONS), len(RESOLUTIONS))
    return poses


def bounded(step: Array) -> Array:
    """Steps (n, 6) of which none turns by more than 5 degrees or moves by more than 3 A."""
    shortened = step.copy()
    for part, longest in zip((slice(0, 3), slice(3, 6)), _LONGEST, strict=True):
        length = np.linalg.norm(step[:, part], axis=1, keepdims=True)
        shortened[:, part] *= np.minimum(1.0, longest / np.maximum(length, 1e-12))
    return shortened
