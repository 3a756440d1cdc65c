"""Rigid motions of volumes: their numbers, applying them, changing box and voxel size.

Positions are x, y, z in voxels from the origin at N//2; volumes are indexed z, y, x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from alphacryo4d.core.arrays import Array


@dataclass(frozen=True)
class Motion:
    """Rigid motion: density at position p goes to ``rotation @ p + shift``.

    Attributes
    ----------
    rotation : (3, 3) float64 array
        Acts on x, y, z.
    shift : (3,) float64 array
        x, y, z in voxels.
    """

    rotation: Array
    shift: Array

    @property
    def angle(self) -> float:
        """Angle of the rotation in degrees."""
        cosine = (np.trace(self.rotation) - 1) / 2
        sine = np.linalg.norm(self.rotation - self.rotation.T) / np.sqrt(8)
        return float(np.degrees(np.arctan2(sine, cosine)))

    @property
    def distance(self) -> float:
        """Length of the shift in voxels."""
        return float(np.linalg.norm(self.shift))

    def after(self, first: Motion) -> Motion:
        """The motion that does ``first`` and then this one."""
        return Motion(self.rotation @ first.rotation, self.rotation @ first.shift + self.shift)

    def scaled(self, factor: float) -> Motion:
        """The same motion counted in voxels that are ``1 / factor`` as large."""
        return Motion(self.rotation, self.shift * factor)


IDENTITY = Motion(np.eye(3), np.zeros(3))


def rotations(count: int) -> Array:
    """Rotations that cover SO(3) evenly (super-Fibonacci spirals; Alexa, CVPR 2022).

    Returns
    -------
    (count, 3, 3) float64 array
        Rotation matrices.
    """
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    r, big_r = np.sqrt(s / count), np.sqrt(1 - s / count)
    alpha, beta = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    x, y, z, w = r * np.sin(alpha), r * np.cos(alpha), big_r * np.sin(beta), big_r * np.cos(beta)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def background(volume: Array) -> float:
    """Mean density of the six faces of the box."""
    faces = [np.take(volume, end, axis) for axis in range(3) for end in (0, -1)]
    return float(np.mean(faces, dtype=np.float64))


def apply_motion(volume: Array, motion: Motion, *, order: int = 5) -> Array:
    """Move a volume; what comes from outside the box is background.

    Parameters
    ----------
    volume : (n, n, n) array
        Density.
    motion : Motion
        In voxels.
    order : int
        Order of the spline.

    Returns
    -------
    (n, n, n) float32 array
        Moved density.
    """
    origin = np.asarray(volume.shape) // 2
    inverse = motion.rotation.T[::-1, ::-1]
    offset = origin - inverse @ (origin + motion.shift[::-1])
    level = background(volume)
    moved = ndimage.affine_transform(
        np.asarray(volume, np.float64) - level, inverse, offset, order=order, mode="grid-constant"
    )
    return np.asarray(moved + level, np.float32)


def mirror(volume: Array) -> Array:
    """The opposite hand: inverted through the origin at N//2.

    Returns
    -------
    (n, n, n) array
        Density at position p is that of -p; the plane without partner wraps round.
    """
    flipped = volume[::-1, ::-1, ::-1]
    even = [1 - size % 2 for size in volume.shape]
    return np.roll(flipped, even, axis=(0, 1, 2))
