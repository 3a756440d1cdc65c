"""Refinement of poses: damped Gauss-Newton steps with more and more samples, several of an image.

Steps are damped where they do not climb (Levenberg 1944; Marquardt 1963). In an image that is
mostly noise the curvature is not that of Gauss and Newton, whose steps then leave three quarters of
the way: it is learnt along the steps (Broyden, Fletcher, Goldfarb & Shanno 1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.alignment.kernels import SUMS, fit_poses
from alphacryo4d.alignment.poses import Poses, Target
from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.images import PreparedImages

_UPPER = np.triu_indices(5)
_LEAST = 0.2
"""Curvature along a step at least, of that before (Powell 1978)."""
_LEAST_RISE = 0.02
"""Rise of the log-likelihood (nats) that a step must promise: it is then a seventh of the error."""
NEAR = 2.1
"""How much coarser than the map a search near given poses begins; then 1.5 times as fine each."""
_STEPS, _LAST_STEPS = 5, 4
"""Most steps at a resolution, and at the last one."""


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

    @property
    def score(self) -> Array:
        """Log-likelihood ratio against noise alone."""
        return np.asarray(2 * self.cross - self.norm)


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
    """Damped steps of poses; the best that each one met.

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
    fitted = fit(images, target, poses, radius, workers)
    best = Poses(poses.row, poses.rotations.copy(), poses.shifts.copy(), fitted.score)
    gradient, curvature = fitted.gradient, fitted.curvature
    learnt = curvature.copy()
    damping, going = np.full(len(poses.row), 0.1), np.arange(len(poses.row))
    for _ in range(steps):
        step = _damped_steps(gradient[going], learnt[going], damping[going], most)
        # what a step would add where the curvature stays; those that add nothing are at the top
        worth = np.einsum("ni,ni->n", gradient[going], step) > _LEAST_RISE
        going, step = going[worth], step[worth]
        if not len(going):
            break
        here = best.take(going)
        turned = Rotation.from_rotvec(step[:, :3]).as_matrix() @ here.rotations
        trial = Poses(here.row, turned, here.shifts + step[:, 3:], here.score)
        new = fit(images, target, trial, radius, workers)
        up = new.score > here.score
        risen, before = going[up], gradient[going]
        best.rotations[risen], best.shifts[risen] = turned[up], trial.shifts[up]
        best.score[risen] = new.score[up]
        gradient[risen], curvature[risen] = new.gradient[up], new.curvature[up]
        learnt[going] = _learnt(learnt[going], step, before - new.gradient)
        damping[going] *= np.where(up, 0.25, 8.0)
    return best, curvature


def _learnt(matrix: Array, step: Array, fallen: Array) -> Array:
    """Curvatures (n, 5, 5) after steps (n, 5) by which gradients (n, 5) have fallen (BFGS)."""
    pushed = np.einsum("nij,nj->ni", matrix, step)
    old, new = np.einsum("ni,ni->n", step, pushed), np.einsum("ni,ni->n", step, fallen)
    share = np.where(new >= _LEAST * old, 1.0, (1 - _LEAST) * old / np.maximum(old - new, 1e-30))
    fallen = share[:, None] * fallen + (1 - share)[:, None] * pushed
    new = np.maximum(np.einsum("ni,ni->n", step, fallen), 1e-30)[:, None, None]
    matrix = matrix - pushed[:, :, None] * pushed[:, None] / np.maximum(old, 1e-30)[:, None, None]
    return np.asarray(matrix + fallen[:, :, None] * fallen[:, None] / new)


def _damped_steps(gradient: Array, curvature: Array, damping: Array, most: float) -> Array:
    """Newton steps (n, 5) by some curvatures, damped; turns of at most ``most`` degrees."""
    corner, scaled = np.arange(5), curvature.copy()
    scaled[:, corner, corner] *= 1 + damping[:, None]
    scaled[:, corner, corner] += 1e-9 * np.abs(scaled[:, corner, corner]).max(1)[:, None] + 1e-30
    step = np.linalg.solve(scaled, gradient[..., None])[..., 0]
    length = np.linalg.norm(step[:, :3], axis=1)
    step *= np.minimum(1, np.deg2rad(most) / np.maximum(length, 1e-12))[:, None]
    return np.asarray(step)


def best_rows(poses: Poses, keep: int, each: int) -> Array:
    """Places of the best ``keep`` of every image's ``each`` poses, which follow each other."""
    score = poses.score.reshape(-1, each)
    order = np.argsort(-score, axis=1)[:, :keep]
    rows: Array = (order + each * np.arange(len(score))[:, None]).ravel()
    return rows


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

    The best 40% of the candidates go on from a resolution to the next, 1.5 times as fine, from the
    shell ``coarse`` to the last of the target.
    """
    best, curvature, _ = climb_models(
        images, [target], poses, np.zeros(len(poses.row), np.int64), each, coarse, workers=workers
    )
    return best, curvature


def climb_models(
    images: PreparedImages,
    targets: Sequence[Target],
    poses: Poses,
    model: Array,
    each: int,
    coarse: int,
    *,
    workers: int = 1,
) -> tuple[Poses, Array, Array]:
    """As :func:`climb`, where every candidate belongs to one of several maps.

    Parameters
    ----------
    targets : sequence of Target
        Of one noise and one last shell.
    model : (m,) int array
        Map of every candidate, from 0.

    Returns
    -------
    Poses, (n, 5, 5) array, (n,) int array
        The best pose of every image, the curvature there, its map.
    """
    last = targets[0].radius
    radius = min(coarse, last)
    while True:
        turn = np.rad2deg(1.0 / (0.6 * radius))
        final = radius == last
        curvature = np.empty((len(model), 5, 5))
        for number, target in enumerate(targets):
            mine = np.flatnonzero(model == number)
            if not len(mine):
                continue
            refined, curvature[mine] = refine(
                images, target, poses.take(mine), radius, _LAST_STEPS if final else _STEPS,
                most=turn / 2, workers=workers,
            )  # fmt: skip
            poses = poses.replaced(mine, refined)
        keep = 1 if final else max(1, round(0.4 * each))
        chosen = best_rows(poses, keep, each)
        poses, curvature, model, each = poses.take(chosen), curvature[chosen], model[chosen], keep
        if final:
            return poses, curvature, model
        radius = min(max(radius + 1, int(1.5 * radius)), last)
