"""The reference classifier that marginalises poses: true volumes, poses from the images.

Every particle starts at the given pose and takes Gauss-Newton steps against every conformer, under
a normal prior about the given pose or a flat one. Laplace's method then compares the evidence:
``log p(image | state) = l + log p(pose) - log det(curvature) / 2`` at the best pose. A given
pose is where the search starts; one that is wrong costs nothing but the uncertainty that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from alphacryo4d.assessment.conformers import Conformer
from alphacryo4d.assessment.consensus import bounded
from alphacryo4d.assessment.limit import fourier_grid
from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.expectation import View, component_products
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.reclassify.joint_moments import JointMoments, joint_moments
from alphacryo4d.reclassify.pose_scatter import pose_variance
from alphacryo4d.reclassify.poses import MovingPoses

STEPS = 4
"""Gauss-Newton steps against every conformer; a step that makes worse is taken back and halved."""


FAR = 25.0
"""A conformer that is less likely by so many nats after one step takes no more."""


@dataclass
class Marginal:
    """What the reference finds of n particles and K conformers.

    Attributes
    ----------
    evidence : (n, K) float64
        Log-likelihood with the pose marginalised, against noise alone.
    rotations, shifts : (n, K, 3), (n, K, 2) float32
        Changes of the best pose: rotation vectors in the frame of the image (degrees), and A.
    fit : (n, K) float64
        Log-likelihood at that pose.
    """

    evidence: Array
    rotations: Array
    shifts: Array
    fit: Array


def conformer_cubes(
    conformers: Sequence[Conformer], grid: Grid, *, box: int, pixel_size: float, atom_sigma: float
) -> Array:
    """Conformers (K, m, m, m) float32 on the cube of a grid, in the units of the samples."""
    size, radius = grid.cube, grid.cube // 2 - 1
    cubes = np.empty((len(conformers), size, size, size), np.float32)
    for number, conformer in enumerate(conformers):
        whole = np.zeros((size,) * 3, np.complex128)
        whole[1:, 1:, 1:] = fourier_grid(
            conformer, box=box, pixel_size=pixel_size, radius=radius, atom_sigma=atom_sigma
        )
        real = scipy.fft.ifftn(scipy.fft.ifftshift(whole)).real
        cubes[number] = scipy.fft.fftshift(real) / box
    return cubes


def marginalise_poses(
    images: PreparedImages,
    cubes: Array,
    grid: Grid,
    *,
    noise: float,
    errors: tuple[float, float],
    steps: int = STEPS,
) -> Marginal:
    """Evidence of every conformer for every particle, over the poses.

    Parameters
    ----------
    images : PreparedImages
        At the given poses.
    cubes : (K, m, m, m) float32
        Conformers on the cube of the grid, at the scale of the images.
    grid : Grid
    noise : float
        Power of the white noise in a sample.
    errors : tuple of float
        Deviations of the prior about the given pose (degrees, A).
    steps : int
        Gauss-Newton steps.
    """
    n, count = len(images), len(cubes)
    marginal = Marginal(
        np.empty((n, count)),
        np.empty((n, count, 3), np.float32),
        np.empty((n, count, 2), np.float32),
        np.empty((n, count)),
    )
    power = np.full((int(images.group.max()) + 1, grid.radius + 1), noise)

    def align(rows: Array, k: int, poses: MovingPoses, steps: int) -> None:
        order = images.sorted_rows(rows)
        moments = _best_poses(poses, order, cubes[k], grid, power, errors, steps)
        marginal.evidence[order, k] = _laplace(moments, errors, poses.so_far(order))
        marginal.fit[order, k] = moments.base
        marginal.rotations[order, k], marginal.shifts[order, k] = (
            poses.rotations[order],
            poses.shifts[order],
        )

    for k in range(count):
        align(np.arange(n), k, MovingPoses(images, grid.workers), 1)
    near = marginal.evidence > marginal.evidence.max(axis=1, keepdims=True) - FAR
    for k in range(count):
        rows, poses = np.flatnonzero(near[:, k]), MovingPoses(images, grid.workers)
        if len(rows) and steps > 1:
            poses.put(rows, marginal.rotations[rows, k], marginal.shifts[rows, k])
            align(rows, k, poses, steps - 1)
    return marginal


def _best_poses(
    poses: MovingPoses,
    order: Array,
    cube: Array,
    grid: Grid,
    noise: Array,
    errors: tuple[float, float],
    steps: int,
) -> JointMoments:
    """Move the poses to where one volume fits best, and the moments there."""
    variance = pose_variance(errors)

    def judge() -> tuple[JointMoments, Array]:
        moments, _ = joint_moments(View(poses.images, order, grid), cube[None], noise)
        so_far = poses.so_far(order)
        return moments, moments.base - 0.5 * (so_far**2 / variance).sum(axis=1)

    moments, values = judge()
    length = np.ones((len(order), 1))
    for _ in range(steps):
        before = poses.rotations[order], poses.shifts[order]
        step = bounded(moments.posterior_mean(errors, poses.so_far(order)))
        poses.move(order, length * step)
        tried, new = judge()
        worse = new < values
        poses.put(order[worse], before[0][worse], before[1][worse])
        moments, values = tried.where(~worse, moments), np.maximum(values, new)
        length[worse] *= 0.5
    return moments


def _laplace(moments: JointMoments, errors: tuple[float, float], so_far: Array) -> Array:
    """Log evidence (n,) about the pose of now, but for what all conformers have in common."""
    variance = pose_variance(errors)
    slope = moments.projected - so_far / variance
    matrix = moments.information + np.diag(1 / variance)
    change = np.linalg.solve(matrix, slope[:, :, None])[..., 0]
    value = moments.base + 0.5 * (slope * change).sum(axis=1)
    value -= 0.5 * (so_far**2 / variance).sum(axis=1)
    logarithm: Array = value - 0.5 * np.linalg.slogdet(matrix)[1]
    return logarithm


def scale_and_noise(
    images: PreparedImages,
    cubes: Array,
    grid: Grid,
    *,
    errors: tuple[float, float],
    rounds: int = 2,
) -> tuple[float, float]:
    """Common scale of the conformers and power of the white noise, at the poses that fit best.

    Parameters
    ----------
    images, cubes, grid, errors
        As :func:`marginalise_poses` takes them; a thousand particles are enough.
    rounds : int
        Rounds of alignment and estimate.
    """
    first, last = int(np.searchsorted(images.shell, 1)), images.samples_within(grid.radius)
    power = float(np.square(images.data[:, first:last], dtype=np.float64).sum())
    samples = len(images) * (last - first)
    noise = power / samples
    cross, gram = _products(images, np.arange(len(images)), cubes.mean(axis=0), grid)
    scale = cross / gram
    for _ in range(rounds):
        fitted = marginalise_poses(
            images, cubes * np.float32(scale), grid, noise=noise, errors=errors
        )
        best = fitted.evidence.argmax(axis=1)
        cross, gram = 0.0, 0.0
        for k, cube in enumerate(cubes):
            rows = np.flatnonzero(best == k)
            if len(rows):
                poses = MovingPoses(images, grid.workers)
                poses.turn(rows, fitted.rotations[rows, k], fitted.shifts[rows, k])
                cross, gram = np.add((cross, gram), _products(poses.images, rows, cube, grid))
        scale = cross / gram
        noise = (power - scale * cross) / samples
    return scale, noise


def _products(images: PreparedImages, rows: Array, cube: Array, grid: Grid) -> tuple[float, float]:
    """Sums over particles of the product with the projections of a cube, and of their squares."""
    view = View(images, images.sorted_rows(rows), grid)
    inverse = np.ones((int(images.group.max()) + 1, grid.radius + 1))
    nothing = np.zeros((len(rows), 1), np.float32)
    cross, gram, _ = component_products(
        view, grid.references(cube[None]), inverse, nothing, nothing[:, :, None]
    )
    return float(cross.sum(dtype=np.float64)), float(gram.sum(dtype=np.float64))
