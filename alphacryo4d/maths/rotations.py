"""Rotation vectors of cryoSPARC and Euler angles of RELION."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def rotation_vectors(angles: Array) -> Array:
    """Rotation vectors as cryoSPARC stores them.

    Parameters
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees (ZYZ).

    Returns
    -------
    (P, 3) array
        Radians; their rotation is Rz(rot) Ry(tilt) Rz(psi), the transpose of RELION's matrix.
    """
    from scipy.spatial.transform import Rotation

    vectors: Array = Rotation.from_euler("ZYZ", angles, degrees=True).as_rotvec()
    return vectors


def euler_angles(vectors: Array) -> Array:
    """Euler angles of rotation vectors; the inverse of :func:`rotation_vectors`.

    Parameters
    ----------
    vectors : (P, 3) array
        Radians.

    Returns
    -------
    (P, 3) array
        rot, tilt, psi in degrees, tilt from 0 to 180; rot is 0 where only its sum with psi (tilt
        0) or their difference (tilt 180) is defined.
    """
    from scipy.spatial.transform import Rotation

    finite = np.isfinite(vectors).all(axis=1, keepdims=True)
    rotations = Rotation.from_rotvec(np.where(finite, vectors, 0).astype(np.float64))
    a = rotations.as_matrix().transpose(0, 2, 1)
    sine = np.hypot(a[:, 2, 0], a[:, 2, 1])
    poles = sine < 1e-9
    up = a[:, 2, 2] > 0
    rot = np.where(poles, 0.0, np.arctan2(a[:, 2, 1], a[:, 2, 0]))
    at_pole = np.where(up, np.arctan2(-a[:, 1, 0], a[:, 0, 0]), np.arctan2(a[:, 1, 0], -a[:, 0, 0]))
    psi = np.where(poles, at_pole, np.arctan2(a[:, 1, 2], -a[:, 0, 2]))
    tilt = np.where(poles, np.where(up, 0.0, np.pi), np.arctan2(sine, a[:, 2, 2]))
    angles = np.rad2deg(np.column_stack([rot, tilt, psi]))
    return np.where(finite, angles, np.nan)
