"""What a given pose is: a measurement apart from the image, or the image's own best fit.

A pose that was measured apart from the image says, with a normal error, where the true one is. A
pose that was fitted to the image says nothing that the image does not say, and is only where the
search starts. The score of the pose tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import no_progress
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d.classes import Run
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.masks import sphere_mask
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.reclassify.joint_moments import POSE, JointMoments, joint_moments
from alphacryo4d.reclassify.pose_scatter import errors_of, pose_variance

FIRST_ERRORS = (1.0, 0.5)
"""Errors of the poses (degrees, A) that the estimate starts from."""
BROAD = (5.0, 3.0)
"""Deviations (degrees, A) of the prior of a pose that was fitted to the image itself."""
LARGEST_SCORE = 0.7
"""Score below which poses count as fitted to the images: errors apart from them give 1 and more."""
FINEST_SHELL = 64
"""Finest shell at which it is looked what poses were fitted to."""
_COARSEST, _LEVELS = 0.35, 16
"""The coarsest such shell, as a part of the finest, and how many there are."""
_RISE, _NEARLY = 1.2, 0.9
"""Factor between the least score and that of the finest shell from which the latter says more; part
of the finest shell from which poses were fitted to nearly all of them."""
_NO_ERROR, _DEEP, _MUCH = 1.25, 1.25, 1.8
"""Least score of fitted poses where conformations and junk raise it; the factor by which those of
the coarsest and finest shells exceed it; that of the finest, from which errors are as large as
images leave."""
_GROWS = 1.25
"""Factor between the scores of the coarsest and the finest shell from which poses are wrong."""
_FREE = POSE - 1
_FEW_ERRORS = 3_000


def score_of_poses(moments: JointMoments) -> float:
    """Mean square of the score of the given poses over the information on them.

    With ``g`` the derivative of the log-likelihood of the mean by the pose, and ``I`` the
    information, ``g' I^-1 g / 5`` has the mean ``1 + tr(I S) / 5`` for errors of covariance S that
    are independent of the image (five changes of a pose show), and vanishes at the best fit.

    Parameters
    ----------
    moments : JointMoments
        At the given poses.
    """
    slope = moments.projected[:, moments.count :]
    information = moments.information[:, moments.count :, moments.count :]
    # the shift along the line of sight does not show; a prior that says next to nothing holds it
    matrix = information + np.diag(1 / pose_variance((60.0, 60.0)))
    solved = np.linalg.solve(matrix, slope[:, :, None])[..., 0]
    return float((slope * solved).sum(axis=1).mean() / _FREE)


def consensus_map(view: View, *, check: Callable[[], None] = lambda: None) -> tuple[Array, Array]:
    """One map of all particles (1, m, m, m) on the cube of the grid, and the noise power."""
    images, grid = view.images, view.grid
    noise = data_power(view)
    noise[:, 0] = noise[:, 1]
    run = Run(
        images, view.rows, ClassifyOptions(classes="1"), np.random.default_rng(0), grid.workers,
        no_progress, check,
    )  # fmt: skip
    soft = np.ones((len(view.rows), 1), np.float32)
    mask = sphere_mask(grid, images, None)
    model = run.from_posteriors(grid, mask, noise, soft, steps=4, again=3)
    cubes = np.asarray(model.fields * model.mask, np.float32)
    _, left = joint_moments(view, cubes, noise)
    return cubes, left


def fitted_to_images(
    images: PreparedImages, rows: Array, resolution: float, *, workers: int = 1
) -> bool:
    """Whether poses are best fits of their own images to one map of all of them.

    Parameters
    ----------
    images : PreparedImages
        At the given poses.
    rows : (n,) int array
        Particles, in the order of viewing directions.
    resolution : float
        Finest resolution (A): a best fit is one there, and not at any other.
    workers : int
        Threads.
    """
    shell = shell_of_resolution(resolution, images.box, images.pixel_size)
    view = View(images, rows, Grid(min(shell, images.radius), workers))
    moments, _ = joint_moments(view, *consensus_map(view))
    return score_of_poses(moments) < LARGEST_SCORE


@dataclass(frozen=True)
class PoseScores:
    """Score of the given poses (:func:`score_of_poses`) from coarse to fine.

    At the shell where a refinement ended its poses are best fits, and the score is least; to
    coarser and to finer shells it rises. Poses that were fitted to all that the images hold have
    their least score at the end. Errors apart from the images never have a small one; conformations
    raise it at coarse shells, errors at fine ones. Conformations and junk raise the least score,
    too: above :data:`LARGEST_SCORE` it tells fitted poses where it lies deep between the others,
    and where what finer shells hold is worth a refinement.

    Attributes
    ----------
    shells : (s,) int array
        Finest shells that were used, ascending.
    scores : (s,) float array
    pose_sigma : tuple of float, optional
        Errors (degrees, A on each axis) that make the images to the finest shell most likely,
        conformations left out.
    """

    shells: Array
    scores: Array
    pose_sigma: tuple[float, float] | None = None

    @property
    def fitted_shell(self) -> int | None:
        """Shell up to which poses were fitted, where the images hold much finer ones.

        None where poses were not fitted to the images, or to nearly all that these hold.
        """
        least = int(np.argmin(self.scores))
        fitted = self.scores[least] < LARGEST_SCORE or (
            self.scores[least] < min(_NO_ERROR, self.scores[0] / _DEEP)
            and self.scores[-1] > max(_MUCH, _DEEP * self.scores[least])
        )
        rises = self.scores[-1] > _RISE * self.scores[least]
        coarser = self.shells[least] < _NEARLY * self.shells[-1]
        return int(self.shells[least]) if fitted and rises and coarser else None

    @property
    def error(self) -> float:
        """Deviation of errors apart from the images, over the one that images would leave.

        0 where conformations may have done it: their score does not grow to finer shells.
        """
        if self.scores[-1] < _GROWS * self.scores[0]:
            return 0.0
        return float(np.sqrt(max(self.scores[-1] - 1, 0.0)))


def scores_by_shell(
    images: PreparedImages,
    rows: Array,
    *,
    workers: int = 1,
    check: Callable[[], None] = lambda: None,
) -> PoseScores:
    """Score of the given poses against one map of all particles, to coarse and to fine shells.

    Parameters
    ----------
    images : PreparedImages
        At the given poses.
    rows : (n,) int array
        Particles, in the order of viewing directions.
    workers, check
        As elsewhere.
    """
    view = View(images, rows, Grid(min(images.radius, FINEST_SHELL), workers))
    cubes, noise = consensus_map(view, check=check)
    finest = view.grid.radius
    few = rows[:: max(1, len(rows) // _FEW_ERRORS)]
    shells = np.unique(np.linspace(_COARSEST * finest, finest, _LEVELS).round().astype(int))
    scores = []
    for shell in shells.tolist():
        check()
        view = View(images, few, Grid(shell, workers))
        cut = resize_cubes(cubes, view.grid.cube)
        moments, _ = joint_moments(view, cut, noise[:, : shell + 1])
        scores.append(score_of_poses(moments))
    errors = estimated_errors(moments, np.zeros((len(few), POSE)), FIRST_ERRORS)
    return PoseScores(shells, np.array(scores), errors)


def estimated_errors(
    moments: JointMoments, so_far: Array, pose_sigma: tuple[float, float], steps: int = 15
) -> tuple[float, float]:
    """Errors of the poses (degrees, A) that make the data most likely, by EM from a first guess.

    A few thousand particles are enough.
    """
    every = max(1, len(so_far) // _FEW_ERRORS)
    few, q = moments.rows(slice(None, None, every)), moments.count
    changed = so_far[::every]
    for _ in range(steps):
        mean, covariance = few.posterior(pose_sigma, changed)
        pose_sigma = errors_of(changed + mean[:, q:], covariance[:, q:, q:], pose_sigma)
    return pose_sigma
