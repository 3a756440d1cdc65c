"""States as points among the components of a fold, fitted together with the poses.

The fit starts from the states of the first votes. Their volumes span the components; poses of the
particles move by what conformation and pose together make most likely
(:mod:`alphacryo4d.reclassify.joint_moments`), so that a pose is never bent towards the state that a
particle happens to be in. A mixture of points in the space of the components gives the states. All
this is done twice: at 12 A first, and then, from the states and the poses found there, at the
finest resolution, where expectation maximisation moves the components and the noise as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import no_progress
from alphacryo4d.ml3d.classes import Run
from alphacryo4d.ml3d.expectation import View, expect, project_back
from alphacryo4d.ml3d.grid import Grid, solve_volumes
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.ml3d.latent import packed, random_fields, whitened
from alphacryo4d.ml3d.masks import first_mask, solvent_mask
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.mixture_search import Move
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.joint_moments import POSE, JointMoments, joint_moments
from alphacryo4d.reclassify.pose_centres import Centres, groups_of_volumes
from alphacryo4d.reclassify.pose_prior import (
    BROAD,
    FIRST_ERRORS,
    estimated_errors,
    fitted_to_images,
)
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.splitting import Latent
from alphacryo4d.reclassify.state_mixture import LatentStates, states_of_moments
from alphacryo4d.reclassify.state_model import StateModel

MORE_COMPONENTS = 2
"""Components beyond those that the states span."""
MORE_ITERATIONS = 3
"""Iterations at least where there are such components."""
LEAST_SOLVENT = 0.02
"""Part of the sphere that a molecule fills at least; noise alone would leave no mask."""
FIRST_ITERATIONS, LAST_ITERATIONS = 3, 3
"""Iterations of both passes where poses were fitted to the images themselves."""


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
    check : callable
        Called before every iteration; stops the work by raising.
    """
    order = poses.images.sorted_rows(rows)
    place = np.empty(len(poses.images), np.int64)
    place[rows] = np.arange(len(rows))
    soft = start[place[order]].astype(np.float32)
    noise: Array | None = None
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
        noise = first.noise
    check()
    fit = _Fit(poses, order, soft, options, solvent, noise)
    for _ in range(fit.iterations):
        check()
        fit.iterate()
    found = fit.outcome()
    place[order] = np.arange(len(order))
    back = place[rows]
    latent = None if found.latent is None else found.latent.rows(back)
    return StateFit(found.model, found.posteriors[back], latent, moves + found.moves)


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
        self.errors = options.errors or FIRST_ERRORS
        self.solvent = solvent
        self.expected: tuple[Array, Array] | None = None
        self.own: Centres
        self.uncertainty = np.zeros((0, 0, 0))
        shell = shell_of_resolution(options.resolution, poses.images.box, poses.images.pixel_size)
        self.grid = Grid(min(shell, poses.images.radius), poses.workers)
        self._from_states(noise)
        self.from_images = bool(options.from_images) and options.errors is None and options.move
        if self.from_images:
            self.errors = BROAD

    @property
    def first_iterations(self) -> int:
        """Iterations of the first pass: poses that are best fits to the mean need some."""
        return FIRST_ITERATIONS if self.from_images else 0

    @property
    def centres(self) -> Centres | None:
        """Volumes about which the changes of the poses are taken."""
        if not self.from_images:
            return None
        if self.expected is not None:
            cubes = self.fields * self.mask
            self.own = self.own.of_members(cubes, self.expected[0])
        return self.own

    @property
    def view(self) -> View:
        """The particles of the fold with their poses of now."""
        return View(self.poses.images, self.order, self.grid)

    @property
    def iterations(self) -> int:
        """Iterations of expectation maximisation; components that start at random need more."""
        if self.from_images:
            return max(LAST_ITERATIONS, self.options.iterations)
        spanned = self.start.shape[1] > len(self.fields) - 1
        return self.options.iterations if spanned else max(MORE_ITERATIONS, self.options.iterations)

    def _from_states(self, known: Array | None) -> None:
        """Mean and components that the volumes of the states span.

        ``known`` is the noise of a fit at a lower resolution; that of the shells beyond it is the
        power of the data.
        """
        options, view, images = self.options, self.view, self.poses.images
        mask = first_mask(self.grid, images, options.mask_diameter, self.solvent)
        noise = data_power(view)
        if known is not None:
            noise[:, : known.shape[1]] = known
        noise[:, 0] = noise[:, 1]
        soft = self.start / np.maximum(self.start.sum(axis=1, keepdims=True), 1e-12)
        run = Run(
            images, self.order, ClassifyOptions(classes=str(soft.shape[1])),
            np.random.default_rng(0), self.poses.workers, no_progress, lambda: None, self.solvent,
        )  # fmt: skip
        model = run.from_posteriors(self.grid, mask, noise, soft, steps=4, again=3)
        if known is None:
            references = self.grid.class_references(model.fields * mask)
            even = np.full(soft.shape[1], 1 / soft.shape[1])
            noise = expect(view, references, 1 / noise, even).noise
            noise[:, 0] = noise[:, 1]
        self._span(model.fields * model.mask, soft, mask, noise)
        self.own = Centres.of_states(model.fields * model.mask, soft)

    def _span(self, cubes: Array, soft: Array, mask: Array, noise: Array) -> None:
        """Components as the principal deviations of the states' volumes from their mean.

        A few random ones are added where there is room, for what differs within the states.
        """
        weights = soft.sum(axis=0, dtype=np.float64)
        weights /= weights.sum()
        mean = np.tensordot(weights, cubes, 1)
        apart = ((cubes - mean) * np.sqrt(weights)[:, None, None, None]).reshape(len(cubes), -1)
        count = max(1, min(self.options.components, len(cubes) - 1))
        _, vectors = np.linalg.eigh(apart @ apart.T)
        main = (vectors[:, ::-1][:, :count].T @ apart).reshape(count, *mean.shape)
        extra = min(MORE_COMPONENTS, self.options.components - count)
        if extra > 0:
            power = self.grid.shell_means(np.abs(self.grid.transform(mean[None])) ** 2)[0]
            rng = np.random.default_rng(self.options.seed)
            main = np.concatenate([main, random_fields(self.grid, extra, 0.1 * power, rng)])
            count += extra
        self.fields = np.concatenate([mean[None], main]).astype(np.float32)
        self.noise, self.sphere, self.mask = noise, mask, mask
        self._narrow_mask()
        self._set_prior(np.zeros((count + 1, self.grid.radius + 1)))

    def _narrow_mask(self) -> None:
        """Fit the mask to what mean and components fill, unless that is next to nothing."""
        if self.solvent is None:
            images = self.poses.images
            voxel = images.box * images.pixel_size / self.grid.cube
            mask = solvent_mask(self.fields * self.mask, self.sphere, voxel)
            if mask.sum() < LEAST_SOLVENT * self.sphere.sum():
                return
            self.mask = mask
            self.fields = self.fields * (self.mask > 0.01)

    @cached_property
    def transfer(self) -> Array:
        """Sum of the squared CTF of every particle over each shell, (n, shells) float32."""
        images, last = self.poses.images, self.view.last
        starts = np.searchsorted(images.shell[:last], np.arange(self.grid.radius + 1))
        found = np.empty((len(self.order), self.grid.radius + 1), np.float32)
        for begin in range(0, len(self.order), 4096):
            part = slice(begin, begin + 4096)
            square = np.square(images.ctf[self.order[part], :last])
            found[part] = np.add.reduceat(square, starts, axis=1)
        return found

    def _set_prior(self, spread: Array) -> None:
        """Power of mean and components by shell, (q + 1, shells), with posterior variances."""
        grid = self.grid
        power = grid.shell_means(np.abs(grid.transform(self.fields * self.mask)) ** 2)
        power = power / float(np.mean(self.mask**2)) + spread
        self.power = np.maximum(power, 1e-6 * power[:1] + 1e-20)

    def expect(self) -> JointMoments:
        """Moments of the particles; the noise that remains, once the model is that of before."""
        found, left = joint_moments(
            self.view, self.fields * self.mask, self.noise, self.expected, self.centres
        )
        if self.expected is not None:
            found = self._with_uncertainty(found, self.expected[0][:, : found.count + 1])
            self.noise = left
        return found

    def _with_uncertainty(self, found: JointMoments, means: Array) -> JointMoments:
        """The moments when the volumes are known with errors, of which some are the particle's own.

        The noise of a particle is in the volumes with the weight of its coordinates (1, z), and
        the inner product with the particle finds it there: ``sum_h transfer_h / noise_h
        uncertainty_h (1, z)`` over the shells h, with the posterior covariance of the volumes.
        Without this, coordinates run away from zero iteration by iteration. The squares of the
        columns are expected to be larger by the same matrix (variational Bayesian PCA, Bishop
        1999).
        """
        q, images = found.count, self.poses.images
        weight = self.transfer / self.noise[images.group[self.order]]
        matrix = np.einsum("nh,hab->nab", weight, self.uncertainty, optimize=True)
        own = np.einsum("nab,nb->na", matrix, means)
        information = found.information.copy()
        information[:, :q, :q] += 2 * matrix[:, 1:, 1:]
        projected = found.projected.copy()
        projected[:, :q] -= 2 * (own[:, 1:] + matrix[:, 1:, 0])
        base = found.base - 2 * own[:, 0] - matrix[:, 0, 0]
        return JointMoments(base, projected, information, found.workers)

    def _with_errors(self) -> tuple[JointMoments, Array]:
        """Moments of the particles, and the changes of their poses so far; sets the errors."""
        found, so_far = self.expect(), self.poses.so_far(self.order)
        if self.options.errors is None and not self.from_images:
            self.errors = estimated_errors(found, so_far, self.errors)
        return found, so_far

    def _states(
        self, found: JointMoments, so_far: Array, *, search: bool
    ) -> tuple[LatentStates, list[Move]]:
        """States as a mixture that starts from the labels of now."""
        return states_of_moments(
            found, self.errors, so_far, self.start, split_merge=search, seed=self.options.seed
        )

    def first_states(self) -> tuple[Array, list[Move]]:
        """Posteriors (n, K) of the states without moving the components; then the poses move."""
        found, so_far = self._with_errors()
        states, moves = self._states(found, so_far, search=self.options.split_merge)
        if self.options.move:
            mean = found.posterior_mean(self.errors, so_far)
            self.poses.move(self.order, mean[:, found.count :])
        return states.posteriors, moves

    def iterate(self) -> None:
        """One expectation and maximisation; the poses move in between."""
        found, so_far = self._with_errors()
        if self.from_images:
            states, _ = self._states(found, so_far, search=False)
            self.start = states.posteriors
            about = states.points, states.scatter, self.start
            mean, covariance = found.posterior_of_states(self.errors, so_far, *about)
        else:
            mean, covariance = found.posterior(self.errors, so_far)
        if self.options.move:
            self.poses.move(self.order, mean[:, found.count :])
            mean[:, found.count :] = 0
        self._maximise(mean, covariance)
        self._narrow_mask()

    def _maximise(self, mean: Array, covariance: Array) -> None:
        """Mean and components from the coordinates, at the poses of now."""
        grid, q = self.grid, mean.shape[1] - POSE
        means = np.concatenate([np.ones((len(mean), 1)), mean], axis=1).astype(np.float32)
        second = means[:, :, None] * means[:, None, :]
        second[:, 1:, 1:] += covariance.astype(np.float32)
        free = slice(0, q + 1)
        right, weights = project_back(
            self.view, 1 / self.noise, means[:, free], packed(second[:, free, free])
        )
        precision = np.zeros((grid.radius + 1, q + 1, q + 1), np.float32)
        every = np.arange(q + 1)
        precision[:, every, every] = 1 / self.power.T
        solution = solve_volumes(
            grid, right, weights, precision, mask=self.mask, start=self.fields, steps=4
        )
        self.fields, turn = whitened(solution.fields, means[:, free], second[:, free, free])
        self._set_prior(np.diagonal(solution.variance, axis1=1, axis2=2).T)
        back = np.linalg.inv(turn.astype(np.float64)).T
        covariance = back @ solution.variance @ back.T
        self.uncertainty = float(np.mean(self.mask**2)) * covariance
        whole = np.eye(q + 1 + POSE, dtype=np.float32)
        whole[free, free] = turn
        self.expected = (
            means @ whole.T,
            np.einsum("ab,nbc,dc->nad", whole, second, whole, optimize=True),
        )

    def outcome(self) -> StateFit:
        """States as a mixture that starts from the labels given; in the order of the view."""
        found, so_far = self.expect(), self.poses.so_far(self.order)
        states, moves = self._states(found, so_far, search=self.options.split_merge)
        model = StateModel(
            self.grid, self.fields * self.mask, states.points, states.scatter, states.proportions,
            self.noise, self.errors,
        )  # fmt: skip
        if self.from_images:
            model.sigma = estimated_errors(found, so_far, self.errors, steps=1)
            model.groups = groups_of_volumes(model.volumes())
        latent = states.latent() if self.options.latent else None
        return StateFit(model, states.posteriors, latent, moves)
