"""Volumes at any point of the landscape: the mean and the components of the folds."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.particle_landscape.frame import Frame


def linear_volumes(folds: list[Array], frame: Frame, points: Array) -> Array:
    """Volumes that points of the frame stand for, as the mean of what all folds make of them.

    Parameters
    ----------
    folds : list of (p + 1, m, m, m) arrays
        Mean and components of every fold.
    frame : Frame
    points : (N, d) array
        Coordinates in the frame; further ones are 0, their mean.

    Returns
    -------
    (N, m, m, m) float32 array
        On the cubes of the folds.
    """
    count, d = points.shape
    total = np.zeros((count, *folds[0].shape[1:]), np.float32)
    for cubes in folds:
        offset, turn = frame.from_fold(cubes)
        own = offset + points @ turn[:, :d].T
        total += cubes[0] + np.tensordot(own.astype(np.float32), cubes[1:], 1)
    return total / np.float32(len(folds))
