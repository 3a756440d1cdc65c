"""Best pose of every image against one map: a coarse search of all poses, and refinement.

The log-likelihood of a pose, against noise alone, is ``sum (2 Re conj(x) c p - |c p|^2) / noise``
over the Fourier samples x of the image that its shift has centred, with the projection p of the map
in its orientation and the CTF c. Over a grid of all orientations and shifts both terms are products
of matrices. Good poses are then refined with more and more samples, several of each image, by
Gauss-Newton steps that are damped where they do not climb (Levenberg 1944; Marquardt 1963).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.alignment.kernels import SUMS, fit_poses, project
from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages

_BLOCK = 4096
"""Products of an image with a pose that are in memory at once, in thousands."""
_UPPER = np.triu_indices(5)


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

    row: Array
    rotations: Array
    shifts: Array
    score: Array

    def take(self, chosen: Array) -> Poses:
        """Some of the poses."""
        return Poses(
            self.row[chosen], self.rotations[chosen], self.shifts[chosen], self.score[chosen]
        )


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
    four = np.stack([r * np.sin(alpha), r * np.cos(alpha), rest * np.sin(beta), rest * np.cos(beta)])
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


def search_all(
    images: PreparedImages,
    rows: Array,
    target: Target,
    rotations: Array,
    shifts: Array,
    start: Array,
    *,
    keep: int,
    unscaled: bool = False,
    workers: int = 1,
    told: Callable[[int], None] = lambda done: None,
) -> Poses:
    """The best poses of every image among all rotations and shifts.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
    target : Target
    rotations : (m, 3, 3) array
    shifts : (t, 2) array
        Around ``start`` (pixels).
    start : (n, 2) array
        Shifts (pixels) that the images have.
    keep : int
        Poses of each image, of different rotations, each with its best shift.
    unscaled : bool
        The grey scale of the map is not known: the best of every pose is taken.
    workers : int
    told : callable
        Told the number of images done.

    Returns
    -------
    Poses
        Of ``keep`` rows an image, the best first.
    """
    last = images.samples_within(target.radius)
    kx, ky, shell = images.kx[:last], images.ky[:last], images.shell[:last]
    slices = np.empty((len(rotations), last, 2), np.float32)
    matrices = np.ascontiguousarray(2 * rotations[:, :2], np.float32)
    in_ranges(
        project, len(matrices), 8, workers, matrices, kx, ky, target.spectrum, slices
    )
    power = np.ascontiguousarray(np.square(slices).sum(axis=2).T)
    flat = np.ascontiguousarray(slices.reshape(len(slices), -1).T)
    keep = min(keep, len(rotations))
    result = Poses(
        np.repeat(rows, keep),
        np.empty((len(rows) * keep, 3, 3)),
        np.empty((len(rows) * keep, 2)),
        np.empty(len(rows) * keep),
    )
    wave = -2j * np.pi / images.box
    turns = np.exp(wave * (shifts @ np.stack([kx, ky]).astype(np.float64))).astype(np.complex64)
    block = max(1, _BLOCK * 1000 // (len(shifts) * len(rotations)))
    for begin in range(0, len(rows), block):
        some = rows[begin : begin + block]
        n = len(some)
        weight = target.inverse[images.group[some]][:, shell] * images.ctf[some, :last]
        moved = np.exp(wave * (start[begin : begin + n] @ np.stack([kx, ky])))
        centred = images.data[some, :last].view(np.complex64)[..., 0] * moved
        centred = (centred * weight).astype(np.complex64)
        every = centred[:, None] * turns
        cross = every.reshape(n * len(shifts), last).view(np.float32) @ flat
        cross = cross.reshape(n, len(shifts), -1)
        where = cross.argmax(axis=1)
        best = np.take_along_axis(cross, where[:, None], axis=1)[:, 0]
        norm = (weight * images.ctf[some, :last]) @ power
        if unscaled:
            score = np.where(best > 0, best, 0) ** 2 / np.maximum(norm, 1e-30)
        else:
            score = 2 * best - norm
        order = np.argpartition(-score, keep - 1, axis=1)[:, :keep]
        kept = np.take_along_axis(score, order, axis=1)
        order = np.take_along_axis(order, np.argsort(-kept, axis=1), axis=1)
        place = slice(begin * keep, (begin + n) * keep)
        result.rotations[place] = rotations[order.ravel()]
        moves = shifts[np.take_along_axis(where, order, axis=1)]
        result.shifts[place] = (start[begin : begin + n, None] + moves).reshape(-1, 2)
        result.score[place] = np.take_along_axis(score, order, axis=1).ravel()
        told(begin + n)
    return result


def around(poses: Poses, angle: float, slide: float) -> Poses:
    """Every pose, and those that are turned by an angle (degrees) or moved (pixels) from it.

    Turns about x, y and z to and fro, alone and in pairs, and moves along x and y.
    """
    steps = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    steps = steps[np.abs(steps).sum(axis=1) <= 2]
    turns = Rotation.from_rotvec(np.deg2rad(angle) * steps).as_matrix()
    moves = np.zeros((len(turns), 2))
    more = slide * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    turns = np.concatenate([turns, np.broadcast_to(np.eye(3), (4, 3, 3))])
    moves = np.concatenate([moves, more])
    return Poses(
        np.repeat(poses.row, len(turns)),
        (turns[None] @ poses.rotations[:, None]).reshape(-1, 3, 3),
        (poses.shifts[:, None] + moves).reshape(-1, 2),
        np.full(len(turns) * len(poses.row), -np.inf),
    )


@dataclass
class _Fit:
    """Sums of :func:`fit_poses` by name."""

    cross: Array
    norm: Array
    gradient: Array
    curvature: Array


def fit(
    images: PreparedImages, target: Target, poses: Poses, radius: int, workers: int = 1
) -> _Fit:
    """Inner products, norms and derivatives of poses up to a Fourier shell."""
    last = images.samples_within(min(radius, target.radius))
    sums = np.empty((len(poses.row), SUMS))
    in_ranges(
        fit_poses, len(poses.row), max(1, len(poses.row) // 256), workers,
        poses.row, np.ascontiguousarray(2 * poses.rotations[:, :2], np.float32),
        poses.shifts.astype(np.float32), images.data, images.ctf, images.kx, images.ky,
        images.shell, images.group, target.inverse, target.spectrum, images.box, last, sums,
    )  # fmt: skip
    curvature = np.empty((len(sums), 5, 5))
    curvature[:, _UPPER[0], _UPPER[1]] = curvature[:, _UPPER[1], _UPPER[0]] = sums[:, 7:]
    return _Fit(sums[:, 0], sums[:, 1], sums[:, 2:7], curvature)


def refine(
    images: PreparedImages,
    target: Target,
    poses: Poses,
    radius: int,
    steps: int,
    *,
    most: float,
    workers: int = 1,
) -> tuple[Poses, Array]:
    """Damped Gauss-Newton steps of poses; the best that each one met.

    Parameters
    ----------
    radius : int
        Last Fourier shell in use.
    steps : int
    most : float
        Longest turn of a step (degrees).

    Returns
    -------
    Poses, (m, 5, 5) array
        And the curvature there: the inverse is the covariance of turn (radians) and shift (pixels)
        that the noise leaves.
    """
    found = fit(images, target, poses, radius, workers)
    best = Poses(poses.row, poses.rotations, poses.shifts, 2 * found.cross - found.norm)
    damping = np.full(len(poses.row), 0.1)
    corner = np.arange(5)
    for _ in range(steps):
        scaled = found.curvature.copy()
        scaled[:, corner, corner] *= 1 + damping[:, None]
        scaled[:, corner, corner] += 1e-9 * np.abs(scaled[:, corner, corner]).max(1)[:, None] + 1e-30
        step = np.linalg.solve(scaled, found.gradient[..., None])[..., 0]
        length = np.linalg.norm(step[:, :3], axis=1)
        step *= np.minimum(1, np.deg2rad(most) / np.maximum(length, 1e-12))[:, None]
        turned = Rotation.from_rotvec(step[:, :3]).as_matrix() @ best.rotations
        trial = Poses(best.row, turned, best.shifts + step[:, 3:], best.score)
        new = fit(images, target, trial, radius, workers)
        score = 2 * new.cross - new.norm
        up = score > best.score
        best = Poses(
            best.row,
            np.where(up[:, None, None], turned, best.rotations),
            np.where(up[:, None], trial.shifts, best.shifts),
            np.where(up, score, best.score),
        )
        found.gradient = np.where(up[:, None], new.gradient, found.gradient)
        found.curvature = np.where(up[:, None, None], new.curvature, found.curvature)
        damping = np.where(up, damping / 4, damping * 8)
    return best, found.curvature


def best_of(poses: Poses, keep: int, each: int) -> Poses:
    """The best ``keep`` of every image's ``each`` poses, which follow each other."""
    score = poses.score.reshape(-1, each)
    keep = min(keep, each)
    order = np.argsort(-score, axis=1)[:, :keep]
    return poses.take((order + each * np.arange(len(score))[:, None]).ravel())


def climb(
    images: PreparedImages,
    target: Target,
    poses: Poses,
    each: int,
    coarse: int,
    *,
    workers: int = 1,
) -> tuple[Poses, Array]:
    """The best pose of every image, from ``each`` candidates, with more and more samples.

    Half of the candidates go on from a resolution to the next, 1.5 times as fine, from the shell
    ``coarse`` to the last of the target.
    """
    radius, keep = coarse, each
    while True:
        radius = min(radius, target.radius)
        turn = np.rad2deg(1.0 / (0.6 * radius))
        final = radius == target.radius
        poses, curvature = refine(
            images, target, poses, radius, 5 if final else 3, most=turn / 2, workers=workers
        )
        poses_each = keep
        keep = 1 if final else max(2, keep // 2)
        score = poses.score.reshape(-1, poses_each)
        order = np.argsort(-score, axis=1)[:, :keep]
        chosen = (order + poses_each * np.arange(len(score))[:, None]).ravel()
        poses, curvature = poses.take(chosen), curvature[chosen]
        keep = min(keep, poses_each)
        if final:
            return poses, curvature
        radius = max(radius + 1, int(1.5 * radius))


def view_of(images: PreparedImages, rows: Array, grid: Grid) -> View:
    """Some images as the estimates of ``ml3d`` take them."""
    return View(images, images.sorted_rows(rows), grid)
