"""What the data say about conformation and pose of every particle together.

A particle is, to first order, the projection of ``mean + sum_a z_a component_a + sum_b e_b
change_b``: coordinates z of its conformation, and a small error e of its pose, whose six changes
are the derivatives of the mean (:func:`pose_derivatives`). The log-likelihood is quadratic in both,
so that either is marginalised in closed form, as in probabilistic PCA (Tipping & Bishop 1999).
States are points in the space of the components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.expectation import View, component_products
from alphacryo4d.reclassify.pose_centres import Centres
from alphacryo4d.reclassify.pose_scatter import PoseMoments, pose_derivatives, pose_variance

POSE = 6
"""Changes of a pose: three rotations (radians) and three shifts (A) of the volume."""

_PARTS = 32
_LEAST_SCATTER = 1e-3
"""Variance of the coordinates within a state at least."""


@dataclass(frozen=True)
class JointMoments:
    """Log-likelihood ``base + projected . x - x . information . x / 2`` of x = (z, e).

    Attributes
    ----------
    base : (n,) float64
        Log-likelihood of the mean at the given pose (against noise alone).
    projected : (n, q + 6) float64
    information : (n, q + 6, q + 6) float64
    workers : int
        Threads of the linear algebra.
    """

    base: Array
    projected: Array
    information: Array
    workers: int = 1

    @property
    def count(self) -> int:
        """Number of components q."""
        return int(self.projected.shape[1]) - POSE

    def rows(self, chosen: Array | slice) -> JointMoments:
        """The moments of some particles."""
        return JointMoments(
            self.base[chosen], self.projected[chosen], self.information[chosen], self.workers
        )

    def where(self, chosen: Array, others: JointMoments) -> JointMoments:
        """The moments of these particles where ``chosen`` (n,), of the others elsewhere."""
        return JointMoments(
            np.where(chosen, self.base, others.base),
            np.where(chosen[:, None], self.projected, others.projected),
            np.where(chosen[:, None, None], self.information, others.information),
            self.workers,
        )

    def put(self, rows: Array, others: JointMoments) -> None:
        """Replace the moments of some particles, in place."""
        self.base[rows] = others.base
        self.projected[rows] = others.projected
        self.information[rows] = others.information

    def _with_prior(self, pose_sigma: tuple[float, float], so_far: Array) -> tuple[Array, Array]:
        """Precision (q + 6, q + 6) of the prior, and the slopes (n, q + 6) with its own."""
        variance = pose_variance(pose_sigma)
        right = self.projected.copy()
        right[:, self.count :] -= so_far / variance
        return np.diag(np.concatenate([np.ones(self.count), 1 / variance])), right

    def posterior(self, pose_sigma: tuple[float, float], so_far: Array) -> tuple[Array, Array]:
        """Moments of z and e, with standard normal z and pose errors of a known width.

        Parameters
        ----------
        pose_sigma : tuple of float
            Standard deviation of rotations (degrees) and shifts (A) on each axis.
        so_far : (n, 6) array
            Change of the poses so far, in the volume's frame; the prior is about no change at all.

        Returns
        -------
        mean : (n, q + 6) array
        covariance : (n, q + 6, q + 6) array
        """
        prior, right = self._with_prior(pose_sigma, so_far)
        covariance = np.empty_like(self.information)

        def work(begin: int, end: int) -> None:
            covariance[begin:end] = np.linalg.inv(self.information[begin:end] + prior)

        in_ranges(work, len(right), _PARTS, self.workers)
        return np.einsum("nij,nj->ni", covariance, right), covariance

    def posterior_mean(self, pose_sigma: tuple[float, float], so_far: Array) -> Array:
        """The mean (n, q + 6) of :meth:`posterior` alone."""
        prior, right = self._with_prior(pose_sigma, so_far)
        mean = np.empty_like(right)

        def work(begin: int, end: int) -> None:
            matrix, vector = self.information[begin:end] + prior, right[begin:end, :, None]
            mean[begin:end] = np.linalg.solve(matrix, vector)[..., 0]

        in_ranges(work, len(right), _PARTS, self.workers)
        return mean

    def posterior_of_states(
        self,
        pose_sigma: tuple[float, float],
        so_far: Array,
        points: Array,
        scatter: Array,
        soft: Array,
    ) -> tuple[Array, Array]:
        """Moments of z and e where coordinates scatter about states, not about the mean.

        Given its state k a particle has ``z ~ N(point_k, scatter)``: the precision is one for all
        states, and the mean is linear in the point.

        Parameters
        ----------
        errors, so_far
            As for :meth:`posterior`.
        points, scatter : (K, q), (q, q) arrays
            States, and the covariance of the coordinates within each.
        soft : (n, K) array
            Posteriors of the states.

        Returns
        -------
        mean : (n, q + 6) array
        covariance : (n, q + 6, q + 6) array
        """
        q = self.count
        inner = np.linalg.inv(scatter + _LEAST_SCATTER * np.eye(q))
        _, right = self._with_prior(pose_sigma, so_far)
        prior = np.diag(np.concatenate([np.zeros(q), 1 / pose_variance(pose_sigma)]))
        prior[:q, :q] = inner
        centre = soft @ points
        right[:, :q] += centre @ inner
        mean, covariance = np.empty_like(right), np.empty_like(self.information)

        def work(begin: int, end: int) -> None:
            part = slice(begin, end)
            apart = np.einsum("nk,ka,kb->nab", soft[part], points, points, optimize=True)
            apart -= centre[part, :, None] * centre[part, None, :]
            inverse = np.linalg.inv(self.information[part] + prior)
            moved = inverse[:, :, :q] @ inner
            mean[part] = np.einsum("nij,nj->ni", inverse, right[part])
            covariance[part] = inverse + moved @ apart @ moved.transpose(0, 2, 1)

        in_ranges(work, len(right), _PARTS, self.workers)
        return mean, covariance

    def marginalise_pose(
        self, pose_sigma: tuple[float, float], so_far: Array
    ) -> tuple[Array, Array, Array]:
        """Log-likelihood of z alone, pose errors marginalised: base, projected, information.

        Returns
        -------
        (n,), (n, q), (n, q, q) arrays
            With the prior normalised: they compare pose errors, too.
        """
        q, variance = self.count, pose_variance(pose_sigma)
        slope = self.projected[:, q:] - so_far / variance
        cross = self.information[:, :q, q:]
        right = np.concatenate([self.information[:, q:, :q], slope[:, :, None]], axis=2)
        solved, volume = np.empty_like(right), np.empty(len(slope))

        def work(begin: int, end: int) -> None:
            matrix = self.information[begin:end, q:, q:] + np.diag(1 / variance)
            solved[begin:end] = np.linalg.solve(matrix, right[begin:end])
            volume[begin:end] = np.linalg.slogdet(matrix)[1] + np.log(variance).sum()

        in_ranges(work, len(right), _PARTS, self.workers)
        base = self.base + 0.5 * np.einsum("ni,ni->n", slope, solved[:, :, q])
        base -= 0.5 * (volume + (so_far**2 / variance).sum(axis=1))
        projected = self.projected[:, :q] - np.einsum("nqi,ni->nq", cross, solved[:, :, q])
        information = self.information[:, :q, :q] - cross @ solved[:, :, :q]
        return base, projected, 0.5 * (information + information.transpose(0, 2, 1))

    def of_states(self, points: Array, proportions: Array) -> PoseMoments:
        """Moments of states and of their weighted mean, the consensus.

        Parameters
        ----------
        points : (K, q) array
            States.
        proportions : (K,) array
            Their proportions; they add up to 1.
        """
        q = self.count
        every = np.vstack([points, proportions @ points])
        inner = self.information[:, :q, :q]
        plain = self.base[:, None] + self.projected[:, :q] @ every.T
        plain -= 0.5 * np.einsum("ki,nij,kj->nk", every, inner, every, optimize=True)
        slope = self.projected[:, q:, None] - self.information[:, q:, :q] @ every.T
        gram = (0.5 * (points @ inner @ points.T)).astype(np.float32)
        own = np.einsum("nkk->nk", gram)
        return PoseMoments(
            plain=plain,
            slope=slope,
            curvature=self.information[:, q:, q:],
            apart=own[:, :, None] + own[:, None] - 2 * gram,
        )


def joint_moments(
    view: View,
    cubes: Array,
    noise: Array,
    expected: tuple[Array, Array] | None = None,
    centres: Centres | None = None,
) -> tuple[JointMoments, Array]:
    """Inner products of particles with mean, components, and the derivatives by the pose.

    Parameters
    ----------
    view : View
    cubes : (q + 1, m, m, m) float32
        Mean and components on the cube of the view's grid.
    noise : (G, shells) array
        Noise power.
    expected : tuple of arrays, optional
        Means (n, q + 7) and second moments (n, q + 7, q + 7) of (1, z, e), for the noise that
        remains; by default those of the mean alone.
    centres : Centres, optional
        Volumes whose derivatives are used, those of the mean by default. A pose that fits another
        volume best is far from stationary for the mean.

    Returns
    -------
    JointMoments
        In the order of the view's rows.
    noise : (G, shells) float64
        Power of data minus model per sample.
    """
    grid, n, columns = view.grid, len(view.rows), len(cubes) + POSE
    if expected is None:
        means = np.zeros((n, columns), np.float32)
        means[:, 0] = 1
        expected = means, means[:, :, None] * means[:, None, :]
    voxel = view.images.box * view.images.pixel_size / grid.cube
    nothing = np.zeros((POSE, *cubes.shape[1:]), np.float32)
    references = grid.references(np.concatenate([cubes, nothing]))
    group = np.full(n, -1) if centres is None else centres.group
    cross, gram = np.empty((n, columns)), np.empty((n, columns, columns))
    power, samples = np.zeros((2, view.groups, grid.radius + 1))
    for number in np.unique(group):
        centre = cubes[0] if number < 0 or centres is None else centres.cubes[number]
        _put_columns(references, grid.references(pose_derivatives(centre, voxel)), len(cubes))
        rows = np.flatnonzero(group == number)
        part = View(view.images, view.rows[rows], grid)
        cross[rows], gram[rows], left = component_products(
            part, references, 1.0 / noise, expected[0][rows], expected[1][rows]
        )
        share = np.maximum(part.samples_per_shell(), 1e-9)
        power, samples = power + share * left, samples + share
    # one sample of each Friedel pair is held: the noise of its two parts has half the power
    moments = JointMoments(
        base=2.0 * cross[:, 0] - gram[:, 0, 0],
        projected=2.0 * (cross[:, 1:] - gram[:, 1:, 0]),
        information=2.0 * gram[:, 1:, 1:],
        workers=grid.workers,
    )
    return moments, power / samples


def _put_columns(references: Array, changes: Array, first: int) -> None:
    """Put the columns of the six changes into references (voxels, 2 columns), from ``first`` on."""
    wide = references.reshape(len(references), 2, -1)
    wide[:, :, first : first + POSE] = changes.reshape(len(changes), 2, -1)[:, :, :POSE]
