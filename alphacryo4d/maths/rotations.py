"""Euler angles of RELION, rotation vectors, and rotation matrices (by scipy's Rotation)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.core.arrays import Array


def euler_matrices(angles: Array) -> Array:
    """Rotation matrices of RELION's Euler angles.

    Parameters
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees (ZYZ).

    Returns
    -------
    (P, 3, 3) float64 array
        As ``Euler_angles2matrix`` of RELION: rows map the frame of the volume (x, y, z) to the
        frame of the image.
    """
    matrices = _of_angles(np.asarray(angles, np.float64)).as_matrix()
    return np.ascontiguousarray(matrices.transpose(0, 2, 1))


def euler_angles(matrices: Array) -> Array:
    """Euler angles of rotation matrices; the inverse of :func:`euler_matrices`.

    Parameters
    ----------
    matrices : (P, 3, 3) array

    Returns
    -------
    (P, 3) float64 array
        rot, tilt, psi in degrees, tilt from 0 to 180; rot is 0 where only its sum with psi (tilt
        0) or their difference (tilt 180) is defined, as in RELION.
    """
    return _angles_of(Rotation.from_matrix(np.asarray(matrices, np.float64).transpose(0, 2, 1)))


def rotation_matrices(vectors: Array) -> Array:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3) in degrees, for columns."""
    matrices: Array = Rotation.from_rotvec(vectors, degrees=True).as_matrix()
    return matrices


def whole_rotations(rows: Array) -> Array:
    """Rotation matrices (n, 3, 3) float64 of their first two rows (n, 2, 3)."""
    first = rows.astype(np.float64)
    third = np.cross(first[:, 0], first[:, 1])[:, None]
    whole: Array = np.concatenate([first, third], axis=1)
    return whole


def rotation_vectors(matrices: Array) -> Array:
    """Rotation vectors (n, 3) in degrees of rotation matrices (n, 3, 3)."""
    vectors: Array = Rotation.from_matrix(matrices).as_rotvec(degrees=True)
    return vectors


def cryosparc_vectors(angles: Array) -> Array:
    """Poses as cryoSPARC stores them (``alignments3D/pose``).

    Parameters
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees (ZYZ).

    Returns
    -------
    (P, 3) array
        Rotation vectors in radians; their rotation is Rz(rot) Ry(tilt) Rz(psi), the transpose of
        RELION's matrix.
    """
    vectors: Array = _of_angles(angles).as_rotvec()
    return vectors


def cryosparc_angles(vectors: Array) -> Array:
    """Euler angles of cryoSPARC's poses; the inverse of :func:`cryosparc_vectors`.

    Parameters
    ----------
    vectors : (P, 3) array
        Radians.

    Returns
    -------
    (P, 3) array
        rot, tilt, psi in degrees as in :func:`euler_angles`; NaN where a vector is not finite.
    """
    finite = np.isfinite(vectors).all(axis=1, keepdims=True)
    rotations = Rotation.from_rotvec(np.where(finite, vectors, 0).astype(np.float64))
    return np.where(finite, _angles_of(rotations), np.nan)


def _of_angles(angles: Array) -> Any:
    """Rotations Rz(rot) Ry(tilt) Rz(psi): the transposes of RELION's matrices."""
    return Rotation.from_euler("ZYZ", angles, degrees=True)


def _angles_of(rotations: Any) -> Array:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock")  # scipy then sets psi to 0
        angles: Array = rotations.as_euler("ZYZ", degrees=True)
    sine = np.sin(np.deg2rad(angles[:, 1]))
    pole = (np.abs(sine) < 1e-6) & (angles[:, 2] == 0)
    sign = np.where(angles[pole, 1] < 90, 1.0, -1.0)
    angles[pole, 2] = sign * angles[pole, 0]
    angles[pole, 0] = 0
    return angles
