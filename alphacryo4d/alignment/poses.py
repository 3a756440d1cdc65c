"""Poses, the map that images are aligned to, and even grids of rotations and shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.grid import Grid


@dataclass(frozen=True)
class Target:
    """A map to align to, and how noisy the images are.

    Attributes
    ----------
    spectrum : (N, N, N // 2 + 1, 2) float32
        Padded transform of the map, of :func:`target_of`.
    radius : int
        Last Fourier shell in use (pixels).
    inverse : (G, shells) float32
        One over the noise power.
    """

    spectrum: Array
    radius: int
    inverse: Array


@dataclass
class Poses:
    """Poses of some images, and how well they fit.

    Attributes
    ----------
    row : (m,) int64
        Image of every pose.
    rotations : (m, 3, 3) float64
    shifts : (m, 2) float64
        That centre the image (pixels).
    score : (m,) float64
        Log-likelihood ratio against noise alone.
    """

    NAMES: ClassVar = ("row", "rotations", "shifts", "score")

    row: Array
    rotations: Array
    shifts: Array
    score: Array

    def take(self, chosen: Array) -> Poses:
        """Some of the poses."""
        return Poses(
            self.row[chosen], self.rotations[chosen], self.shifts[chosen], self.score[chosen]
        )

    def replaced(self, chosen: Array, others: Poses) -> Poses:
        """The poses, some of them (m,) int replaced by others."""
        made = self.take(np.arange(len(self.row)))
        for name in self.NAMES:
            getattr(made, name)[chosen] = getattr(others, name)
        return made

    @classmethod
    def joined(cls, parts: Sequence[Poses], counts: Sequence[int]) -> Poses:
        """Candidates of the same images, one part's behind the other's.

        Parameters
        ----------
        parts : sequence of Poses
        counts : sequence of int
            Candidates of an image in every part, one behind the other.
        """

        def together(name: str) -> Array:
            split = [
                (values := getattr(part, name)).reshape(-1, count, *values.shape[1:])
                for part, count in zip(parts, counts, strict=True)
            ]
            whole = np.concatenate(split, axis=1)
            return whole.reshape(-1, *whole.shape[2:])

        return cls(*(together(name) for name in cls.NAMES))


def target_of(cube: Array, grid: Grid, inverse: Array) -> Target:
    """The target of a map (m, m, m) on the cube of a grid."""
    size = grid.padded
    spectrum = np.zeros((grid.voxels, 2), np.float32)
    grid.lay(cube, spectrum[:, 0], spectrum[:, 1])
    shaped = spectrum.reshape(size, size, size // 2 + 1, 2)
    return Target(shaped, grid.radius, np.ascontiguousarray(inverse, np.float32))


def even_rotations(count: int) -> Array:
    """Rotations (n, 3, 3) spread evenly: super-Fibonacci spirals (Alexa 2022, CVPR, 8291)."""
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    r, rest = np.sqrt(s / count), np.sqrt(1 - s / count)
    alpha, beta = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    four = np.stack(
        [r * np.sin(alpha), r * np.cos(alpha), rest * np.sin(beta), rest * np.cos(beta)]
    )
    matrices: Array = Rotation.from_quat(four.T).as_matrix()
    return matrices


def rotations_apart(step: float) -> Array:
    """Even rotations that are about ``step`` degrees apart: the volume 8 pi^2 over step^3."""
    return even_rotations(int(np.ceil(8 * np.pi**2 / np.deg2rad(step) ** 3)))


def shifts_within(reach: float, step: float) -> Array:
    """Square grid of shifts (t, 2) within a reach, no shift among them."""
    steps = np.arange(-int(reach / step), int(reach / step) + 1) * step
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    kept: Array = grid[np.hypot(*grid.T) <= reach + 1e-9]
    return kept


def grid_steps(shell: int, box: int) -> tuple[float, float]:
    """Angle (degrees) and shift (pixels) by which neighbours on a search grid differ.

    At a Fourier shell of radius r a particle of 0.6 times the box is told apart after a turn of
    1 / (0.6 r); a shift after a quarter of a period.
    """
    return float(np.rad2deg(1 / (0.6 * shell))), box / (4.0 * shell)
