"""States as points among the components of a fold, fitted together with the poses.

The fit starts from the states of the first votes. Their volumes span the components; poses of the
particles move by what conformation and pose together make most likely
(:mod:`alphacryo4d.reclassify.joint_moments`), so that a pose is never bent towards the state that a
particle happens to be in. A mixture of points in the space of the components gives the states. All
this is done twice: at 12 A first, and then, from the states and the poses found there, at the
finest resolution, where expectation maximisation moves the components and the noise as well. A
further round goes on from there (:class:`FormerFit`), with the states that votes made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from alphacryo4d.core.arrays import NO_ROWS, Array
from alphacryo4d.ml3d.mixture_search import Move
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.joint_moments import JointMoments
from alphacryo4d.reclassify.pose_centres import groups_of_volumes
from alphacryo4d.reclassify.pose_prior import (
    BROAD,
    FIRST_ERRORS,
    estimated_errors,
    fitted_to_images,
)
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.spanned_volumes import SpannedVolumes
from alphacryo4d.reclassify.splitting import Latent
from alphacryo4d.reclassify.state_mixture import LatentStates, states_of_moments
from alphacryo4d.reclassify.state_model import StateModel

MORE_ITERATIONS = 3
"""Iterations at least where there are such components."""
FIRST_ITERATIONS, LAST_ITERATIONS = 3, 3
"""Iterations of both passes where poses were fitted to the images themselves."""


@dataclass(frozen=True)
class FormerFit:
    """What a fit goes on from, of the same particles in the round before.

    Attributes
    ----------
    cubes : (q + 1, m, m, m) float32
        Mean and components on the cube of the grid.
    noise : (G, shells) float64
    junk : (j,) int array
        Places in its rows of images that made a state and show no particle; the fit is without
        them.
    """

    cubes: Array
    noise: Array
    junk: Array = field(default_factory=lambda: NO_ROWS)


@dataclass
class StateFit:
    """Outcome of a fit.

    Attributes
    ----------
    model : StateModel
    posteriors : (n, K) float32
        Of the rows given, with the proportions of the states.
    latent : Latent or None
        What the rows given say of points among the components, where it was asked for.
    moves : list of Move
        States that were merged so that others could be split.
    """

    model: StateModel
    posteriors: Array
    latent: Latent | None
    moves: list[Move]


def fit_states(
    poses: MovingPoses,
    rows: Array,
    start: Array,
    options: FitOptions,
    *,
    solvent: Array | None = None,
    before: FormerFit | None = None,
    check: Callable[[], None] = lambda: None,
) -> StateFit:
    """Fit states, noise and poses to the particles of a fold.

    Parameters
    ----------
    poses : MovingPoses
        Images of the batch; the poses of ``rows`` are changed.
    rows : (n,) int array
        Particles of the fold.
    start : (n, K) array
        Soft labels of ``rows``; a row of zeros has no say in the first volumes.
    options : FitOptions
    solvent : (box, box, box) array, optional
        Soft solvent mask; by default what the mean and the components fill.
    before : FormerFit, optional
        Of the round before. Components that the labels span would begin anew, and the likelihood
        lower than it was.
    check : callable
        Called before every iteration; stops the work by raising.
    """
    order = poses.images.sorted_rows(rows)
    place = np.empty(len(poses.images), np.int64)
    place[rows] = np.arange(len(rows))
    soft = start[place[order]].astype(np.float32)
    noise = None if before is None else before.noise
    moves: list[Move] = []
    if options.tests_poses:
        known = fitted_to_images(poses.images, order, options.resolution, workers=poses.workers)
        options = replace(options, from_images=known)
    if options.initial_resolution > options.resolution:
        check()
        first = _Fit(poses, order, soft, options.first, solvent)
        for _ in range(first.first_iterations):
            check()
            first.iterate()
        soft, moves = first.first_states()
        noise = first.volumes.noise
    check()
    fit = _Fit(poses, order, soft, options, solvent, noise)
    if before is not None:
        fit.volumes.go_on_from(before.cubes)
    for _ in range(fit.iterations):
        check()
        fit.iterate()
    outcome = fit.outcome()
    place[order] = np.arange(len(order))
    back = place[rows]
    latent = None if outcome.latent is None else outcome.latent.rows(back)
    return StateFit(outcome.model, outcome.posteriors[back], latent, moves + outcome.moves)


class _Fit:
    """State of the expectation maximisation of one fold."""

    def __init__(
        self,
        poses: MovingPoses,
        order: Array,
        start: Array,
        options: FitOptions,
        solvent: Array | None,
        noise: Array | None = None,
    ) -> None:
        self.poses, self.order, self.options = poses, order, options
        self.start = start
        self.pose_sigma = options.pose_sigma or FIRST_ERRORS
        self.volumes = SpannedVolumes(poses, order, start, options, solvent, noise)
        self.from_images = bool(options.from_images) and options.pose_sigma is None and options.move
        if self.from_images:
            self.pose_sigma = BROAD

    @property
    def first_iterations(self) -> int:
        """Iterations of the first pass: poses that are best fits to the mean need some."""
        return FIRST_ITERATIONS if self.from_images else 0

    @property
    def iterations(self) -> int:
        """Iterations of expectation maximisation; components that start at random need more."""
        if self.from_images:
            return max(LAST_ITERATIONS, self.options.iterations)
        spanned = self.start.shape[1] > len(self.volumes.fields) - 1
        return self.options.iterations if spanned else max(MORE_ITERATIONS, self.options.iterations)

    def _with_errors(self) -> tuple[JointMoments, Array]:
        """Moments of the particles, and the changes of their poses so far; sets the errors."""
        moments = self.volumes.expect(about_states=self.from_images)
        so_far = self.poses.so_far(self.order)
        if self.options.pose_sigma is None and not self.from_images:
            self.pose_sigma = estimated_errors(moments, so_far, self.pose_sigma)
        return moments, so_far

    def _states(
        self, moments: JointMoments, so_far: Array, *, search: bool, anew: bool = False
    ) -> tuple[LatentStates, list[Move]]:
        """States as a mixture that starts from the labels of now."""
        return states_of_moments(
            moments, self.pose_sigma, so_far, self.start,
            split_merge=search, anew=anew, seed=self.options.seed,
        )  # fmt: skip

    def first_states(self) -> tuple[Array, list[Move]]:
        """Posteriors (n, K) of the states without moving the components; then the poses move."""
        moments, so_far = self._with_errors()
        search = self.options.split_merge
        states, moves = self._states(moments, so_far, search=search, anew=search)
        if self.options.move:
            mean = moments.posterior_mean(self.pose_sigma, so_far)
            self.poses.move(self.order, mean[:, moments.count :])
        return states.posteriors, moves

    def iterate(self) -> None:
        """One expectation and maximisation; the poses move in between."""
        moments, so_far = self._with_errors()
        if self.from_images:
            states, _ = self._states(moments, so_far, search=False)
            self.start = states.posteriors
            about = states.points, states.scatter, self.start
            mean, covariance = moments.posterior_of_states(self.pose_sigma, so_far, *about)
        else:
            mean, covariance = moments.posterior(self.pose_sigma, so_far)
        if self.options.move:
            self.poses.move(self.order, mean[:, moments.count :])
            mean[:, moments.count :] = 0
        self.volumes.maximise(mean, covariance)
        self.volumes.narrow_mask()

    def outcome(self) -> StateFit:
        """States as a mixture that starts from the labels given; in the order of the view."""
        moments = self.volumes.expect(about_states=self.from_images)
        so_far = self.poses.so_far(self.order)
        search, volumes = self.options.split_merge, self.volumes
        states, moves = self._states(moments, so_far, search=search, anew=search)
        model = StateModel(
            volumes.grid, volumes.cubes, states.points, states.scatter, states.proportions,
            volumes.noise, self.pose_sigma,
        )  # fmt: skip
        if self.from_images:
            model.sigma = estimated_errors(moments, so_far, self.pose_sigma, steps=1)
            model.groups = groups_of_volumes(model.volumes())
        latent = states.latent() if self.options.latent else None
        return StateFit(model, states.posteriors, latent, moves)
