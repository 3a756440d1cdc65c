"""Local refinement of poses around the consensus, without commitment to a state.

The objective is the likelihood of a particle summed over all states, so that a pose is never bent
towards the state that a particle happens to be in. Use volumes that have not seen the particle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution, viewing_order
from alphacryo4d.ml3d.kernels_linear import thread_count
from alphacryo4d.ml3d.model import Grid, resize_cubes
from alphacryo4d.ml3d.sums import View, expect

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PoseChange:
    """Change of the poses of some particles.

    Attributes
    ----------
    rotations : (n, 3) float64
        Rotation vectors in the frame of the image (degrees): R becomes exp(rotation) R.
    shifts : (n, 2) float64
        Added to the shift that centres the image (Angstrom).
    gain : (n,) float64
        Rise of the log-likelihood.
    """

    rotations: Array
    shifts: Array
    gain: Array


def rotation_matrices(vectors: Array) -> Array:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3) in degrees (Rodrigues)."""
    radians = np.deg2rad(vectors)
    angle = np.linalg.norm(radians, axis=1)
    axis = radians / np.maximum(angle, 1e-12)[:, None]
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = axis
    cross[:, [1, 2, 0], [2, 0, 1]] = -axis
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    matrices: Array = np.eye(3) + sine * cross + (1 - cosine) * cross @ cross
    return matrices


def take_rows(images: PreparedImages, rows: Array) -> PreparedImages:
    """The same samples of some particles only, in the order of ``rows``."""
    third = np.cross(images.matrices[rows, 0], images.matrices[rows, 1])
    return replace(
        images,
        data=np.ascontiguousarray(images.data[rows]),
        ctf=np.ascontiguousarray(images.ctf[rows]),
        matrices=np.ascontiguousarray(images.matrices[rows]),
        group=np.ascontiguousarray(images.group[rows]),
        order=viewing_order(third.astype(np.float64)),
    )


def moved_images(images: PreparedImages, rotations: Array, shifts: Array) -> PreparedImages:
    """Samples with changed poses.

    Parameters
    ----------
    images : PreparedImages
    rotations : (P, 3) array
        Rotation vectors in the frame of the image (degrees).
    shifts : (P, 2) array
        Further shift of the image (Angstrom).
    """
    return replace(
        images, matrices=_turned(images, rotations), data=_shifted(images, images.data, shifts)
    )


def _turned(images: PreparedImages, rotations: Array) -> Array:
    rows = images.matrices.astype(np.float64)
    whole = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    turned = (rotation_matrices(rotations) @ whole)[:, :2]
    return np.ascontiguousarray(turned, dtype=np.float32)


def _shifted(images: PreparedImages, data: Array, shifts: Array) -> Array:
    cycles = np.asarray(shifts, np.float32) / np.float32(images.box * images.pixel_size)
    phase = np.outer(cycles[:, 0], images.kx) + np.outer(cycles[:, 1], images.ky)
    turn = np.exp(np.complex64(-2j * np.pi) * phase.astype(np.float32))
    moved = data.view(np.complex64)[..., 0] * turn
    result: Array = np.ascontiguousarray(moved).view(np.float32).reshape(data.shape)
    return result


class _Objective:
    """Log-likelihood of every particle summed over the states, as a function of its pose."""

    def __init__(self, images: PreparedImages, volumes: Array, grid: Grid, noise: Array) -> None:
        self.images = images
        self.grid = grid
        cubes = resize_cubes(volumes, self.grid.cube) / np.float32(images.box)
        self.references = self.grid.references(cubes)
        self.weights = np.full(len(volumes), 1 / len(volumes))
        self.inverse = 1 / noise[:, : grid.radius + 1]
        self.shifts = np.zeros((len(images), 2))
        self.data = images.data

    def __call__(self, poses: Array) -> Array:
        """Values (n,) at poses (n, 5): rotation vector in degrees, shift in Angstrom."""
        if not np.array_equal(self.shifts, poses[:, 3:]):
            self.data = _shifted(self.images, self.images.data, poses[:, 3:])
            self.shifts = poses[:, 3:].copy()
        moved = replace(self.images, data=self.data, matrices=_turned(self.images, poses[:, :3]))
        view = View(moved, moved.order, self.grid)
        values = np.empty(len(moved))
        values[moved.order] = expect(view, self.references, self.inverse, self.weights).evidence
        return values


def refine_poses(
    images: PreparedImages,
    rows: Array,
    volumes: Array,
    *,
    resolution: float,
    noise: Array,
    angle_error: float,
    shift_error: float,
    rounds: int = 3,
    threads: int | None = None,
) -> PoseChange:
    """Most likely small change of the poses of some particles.

    Newton steps on each of the five parameters, from finite differences of the log-likelihood,
    under a normal prior around the consensus; a step that does not help is halved, then dropped.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles that the volumes have not seen.
    volumes : (K, box, box, box) float32
        Volumes of the states.
    resolution : float
        Finest resolution used (A).
    noise : (G, shells) array
        Noise power by noise group and shell.
    angle_error, shift_error : float
        Expected error of the consensus on each axis (degrees, Angstrom): the prior's width.
    rounds : int
        Newton rounds.
    threads : int, optional
    """
    own = take_rows(images, np.asarray(rows))
    radius = min(shell_of_resolution(resolution, images.box, images.pixel_size), images.radius)
    width = np.array([angle_error] * 3 + [shift_error] * 2)
    objective = _Objective(own, volumes, Grid(radius, thread_count(threads)), noise)

    def value(poses: Array) -> Array:
        prior: Array = 0.5 * np.square(poses / width).sum(axis=1)
        return objective(poses) - prior

    poses = np.zeros((len(own), 5))
    first = current = value(poses)
    for turn in range(rounds):
        step = _newton_step(value, poses, current, width * 0.5 / (turn + 1), width)
        for _ in range(2):
            tried = value(poses + step)
            better = tried > current
            poses = np.where(better[:, None], poses + step, poses)
            current = np.maximum(tried, current)
            step = np.where(better[:, None], 0, 0.4 * step)
    return PoseChange(poses[:, :3], poses[:, 3:], current - first)


def _newton_step(value: Any, poses: Array, current: Array, probe: Array, width: Array) -> Array:
    """Step (n, 5) from second differences, at most one and a half expected errors long."""
    step = np.zeros_like(poses)
    for axis, distance in enumerate(probe):
        offset = np.zeros(5)
        offset[axis] = distance
        up, down = value(poses + offset), value(poses - offset)
        slope = (up - down) / (2 * distance)
        curvature = (up + down - 2 * current) / distance**2
        newton = -slope / np.minimum(curvature, -1e-9)
        concave = curvature < -0.1 / width[axis] ** 2
        step[:, axis] = np.where(concave, newton, np.sign(slope) * distance)
    limited: Array = np.clip(step, -1.5 * width, 1.5 * width)
    return limited
