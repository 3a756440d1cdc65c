"""Random poses and frequencies of images, in RELION's conventions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import euler_angles, euler_matrices, rotation_matrices

FloatArray = npt.NDArray[np.float64]


def random_rotations(rng: np.random.Generator, count: int) -> FloatArray:
    """Euler angles (count, 3), degrees, uniform over all rotations."""
    rot = rng.uniform(-180, 180, count)
    tilt = np.rad2deg(np.arccos(rng.uniform(-1, 1, count)))
    psi = rng.uniform(-180, 180, count)
    return np.stack([rot, tilt, psi], axis=1)


def perturb_rotations(angles: Array, deviation: float, rng: np.random.Generator) -> FloatArray:
    """Turn every pose by a random rotation vector, Gaussian on each of its axes.

    Parameters
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees.
    deviation : float
        Standard deviation on each axis, degrees.
    rng : numpy.random.Generator
        Source of the rotations.

    Returns
    -------
    (P, 3) array
        rot, tilt, psi in degrees.
    """
    vectors = rng.normal(0.0, deviation, (len(angles), 3))
    turned = rotation_matrices(vectors) @ euler_matrices(angles)
    return euler_angles(turned)


def frequencies(box: int, pixel_size: float) -> tuple[FloatArray, FloatArray]:
    """Frequencies y (box, 1) and x (1, box // 2 + 1) of ``rfft2``, in 1/Angstrom."""
    y = np.asarray(np.fft.fftfreq(box, pixel_size), np.float64)
    x = np.asarray(np.fft.rfftfreq(box, pixel_size), np.float64)
    return y[:, None], x[None, :]
