"""Mean and components of the particles of a fold, which the volumes of states span at first.

Expectation and maximisation with poses among the coordinates
(:mod:`alphacryo4d.reclassify.joint_moments`), regularised by the power of what was found before.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import no_progress
from alphacryo4d.ml3d.classes import Run
from alphacryo4d.ml3d.expectation import View, expect, project_back
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.ml3d.latent import packed, random_fields, whitened
from alphacryo4d.ml3d.local_prior import filled, power_of, refitted, solve_components
from alphacryo4d.ml3d.masks import first_mask, solvent_mask
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.joint_moments import POSE, JointMoments, joint_moments
from alphacryo4d.reclassify.pose_centres import Centres
from alphacryo4d.reclassify.poses import MovingPoses

MORE_COMPONENTS = 2
"""Components beyond those that the states span."""
LEAST_SOLVENT = 0.02
"""Part of the sphere that a molecule fills at least; noise alone would leave no mask."""


class SpannedVolumes:
    """Mean, components, noise and mask of one fold.

    Parameters
    ----------
    poses : MovingPoses
        Images of the batch with their poses of now.
    order : (n,) int array
        Particles of the fold, in the order of viewing directions.
    start : (n, K) float32
        Soft labels.
    options : FitOptions
    solvent : (box, box, box) array, optional
        Soft solvent mask; by default what the mean and the components fill.
    known : (G, shells) array, optional
        Noise of a fit at a lower resolution; that of the shells beyond it is the power of the data.

    Attributes
    ----------
    fields : (q + 1, m, m, m) float32
        Mean and components, before the mask.
    mask : (m, m, m) float32
    noise : (G, shells) float64
    expected : tuple of arrays or None
        Moments of the coordinates with which the volumes were made.
    """

    def __init__(
        self,
        poses: MovingPoses,
        order: Array,
        start: Array,
        options: FitOptions,
        solvent: Array | None,
        known: Array | None,
    ) -> None:
        self.poses, self.order, self.options, self.solvent = poses, order, options, solvent
        self.expected: tuple[Array, Array] | None = None
        self.uncertainty = np.zeros((0, 0, 0))
        self.own: Centres
        shell = shell_of_resolution(options.resolution, poses.images.box, poses.images.pixel_size)
        self.grid = Grid(min(shell, poses.images.radius), poses.workers)
        self._from_states(start, known)

    @property
    def cubes(self) -> Array:
        """Mean and components within the mask."""
        return np.asarray(self.fields * self.mask)

    @property
    def view(self) -> View:
        """The particles of the fold with their poses of now."""
        return View(self.poses.images, self.order, self.grid)

    def centres(self) -> Centres:
        """Volumes of the states, about which the changes of poses are taken."""
        if self.expected is not None:
            self.own = self.own.of_members(self.cubes, self.expected[0])
        return self.own

    def _from_states(self, start: Array, known: Array | None) -> None:
        """Mean and components that the volumes of the states span."""
        options, view, images = self.options, self.view, self.poses.images
        mask = first_mask(self.grid, images, options.mask_diameter, self.solvent)
        noise = data_power(view)
        if known is not None:
            noise[:, : known.shape[1]] = known
        noise[:, 0] = noise[:, 1]
        soft = start / np.maximum(start.sum(axis=1, keepdims=True), 1e-12)
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
        shares = soft.mean(axis=0, dtype=np.float64)
        self.unknown = model.uncertainty @ (shares / shares.sum()) / float(np.mean(mask**2))
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
        self.amplitude = np.ones_like(mask)
        self.narrow_mask()
        self._set_prior(np.zeros((count + 1, self.grid.radius + 1)))

    def go_on_from(self, cubes: Array) -> None:
        """Take mean and components (q + 1, m, m, m) of a former fit for those of the labels.

        Where there are more states than then, what these span beyond the former components follows.
        """
        beyond = len(self.fields) - len(cubes)
        self.fields = np.concatenate([cubes, self._beyond(cubes, max(beyond, 0))])
        self.mask = self.sphere
        self.narrow_mask()
        self._set_prior(np.zeros((len(self.fields), self.grid.radius + 1)))

    def _beyond(self, cubes: Array, count: int) -> Array:
        """The main ``count`` parts of the components that are no sum of others (q + 1, m, m, m)."""
        known, _ = np.linalg.qr(cubes[1:].reshape(len(cubes) - 1, -1).T)
        own = self.fields[1:].reshape(len(self.fields) - 1, -1)
        rest = own - (own @ known) @ known.T
        _, vectors = np.linalg.eigh(rest @ rest.T)
        main = vectors[:, ::-1][:, :count].T @ rest
        return np.asarray(main.reshape(count, *cubes.shape[1:]), np.float32)

    def narrow_mask(self) -> None:
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
        transfer = np.empty((len(self.order), self.grid.radius + 1), np.float32)
        for begin in range(0, len(self.order), 4096):
            part = slice(begin, begin + 4096)
            square = np.square(images.ctf[self.order[part], :last])
            transfer[part] = np.add.reduceat(square, starts, axis=1)
        return transfer

    def _set_prior(self, spread: Array) -> None:
        """Power of mean and components by shell, (q + 1, shells), with posterior variances."""
        power = power_of(self.grid, self.cubes, self.mask, self.amplitude) + spread
        self.power = np.maximum(power, 1e-6 * power[:1] + 1e-20)

    def expect(self, *, about_states: bool) -> JointMoments:
        """Moments of the particles; the noise that remains, once the model is that of before.

        Poses change about the volumes of the states where ``about_states``, else about the mean.
        """
        centres = self.centres() if about_states else None
        moments, left = joint_moments(self.view, self.cubes, self.noise, self.expected, centres)
        if self.expected is not None:
            moments = self._with_uncertainty(moments, self.expected[0][:, : moments.count + 1])
            self.noise = left
        return moments

    def _with_uncertainty(self, moments: JointMoments, means: Array) -> JointMoments:
        """The moments when the volumes are known with errors, of which some are the particle's own.

        The noise of a particle is in the volumes with the weight of its coordinates (1, z), and
        the inner product with the particle finds it there: ``sum_h transfer_h / noise_h
        uncertainty_h (1, z)`` over the shells h, with the posterior covariance of the volumes.
        Without this, coordinates run away from zero iteration by iteration. The squares of the
        columns are expected to be larger by the same matrix (variational Bayesian PCA, Bishop
        1999).
        """
        q, images = moments.count, self.poses.images
        weight = self.transfer / self.noise[images.group[self.order]]
        matrix = np.einsum("nh,hab->nab", weight, self.uncertainty, optimize=True)
        own = np.einsum("nab,nb->na", matrix, means)
        information = moments.information.copy()
        information[:, :q, :q] += 2 * matrix[:, 1:, 1:]
        projected = moments.projected.copy()
        projected[:, :q] -= 2 * (own[:, 1:] + matrix[:, 1:, 0])
        base = moments.base - 2 * own[:, 0] - matrix[:, 0, 0]
        return JointMoments(base, projected, information, moments.workers)

    def maximise(self, mean: Array, covariance: Array) -> None:
        """Mean and components from the coordinates, at the poses of now."""
        grid, q = self.grid, mean.shape[1] - POSE
        means = np.concatenate([np.ones((len(mean), 1)), mean], axis=1).astype(np.float32)
        second = means[:, :, None] * means[:, None, :]
        second[:, 1:, 1:] += covariance.astype(np.float32)
        free = slice(0, q + 1)
        right, weights = project_back(
            self.view, 1 / self.noise, means[:, free], packed(second[:, free, free])
        )
        self.amplitude, grown = refitted(
            grid, self.cubes[1:], self.mask, self.amplitude, self.unknown
        )
        self.power[1:] *= grown
        solution = solve_components(
            grid, right, weights, self.power, mask=self.mask, amplitude=self.amplitude,
            start=self.fields, steps=4,
        )  # fmt: skip
        self.fields, turn = whitened(solution.fields, means[:, free], second[:, free, free])
        spread = np.diagonal(solution.variance, axis1=1, axis2=2).T
        self._set_prior(spread)
        self.unknown = spread[1:].sum(axis=0)
        back = np.linalg.inv(turn.astype(np.float64)).T
        filling = np.sqrt(filled(self.mask, self.amplitude, q + 1))
        covariance = back @ (solution.variance * filling[:, None] * filling) @ back.T
        # coordinates have mean 0 now, so that data know mean and components apart from each other.
        # What the prior of a weak component leaves between them would move all coordinates alike,
        # more with every iteration, against a mean that has no such prior
        covariance[:, 0, 1:] = covariance[:, 1:, 0] = 0.0
        self.uncertainty = covariance
        whole = np.eye(q + 1 + POSE, dtype=np.float32)
        whole[free, free] = turn
        self.expected = (
            means @ whole.T,
            np.einsum("ab,nbc,dc->nad", whole, second, whole, optimize=True),
        )
