"""States as points among components, with the scatter about them: what a fit gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.reclassify.joint_moments import JointMoments
from alphacryo4d.reclassify.pose_centres import Centres
from alphacryo4d.reclassify.splitting import Latent, at_mean, without_scatter


@dataclass
class StateModel:
    """States of one fold.

    Attributes
    ----------
    grid : Grid
    cubes : (q + 1, m, m, m) float32
        Mean and components on the cube of the grid.
    points : (K, q) float64
        States.
    scatter : (q, q) float64
        Covariance of the coordinates within a state.
    proportions : (K,) float64
        Shares of the states; they add up to 1.
    noise : (G, shells) float64
        Noise power.
    pose_sigma : tuple of float
        Deviations of the prior of the poses on each axis (degrees, A).
    sigma : tuple of float, optional
        Errors of the given poses as they are estimated, where these are not those of the prior.
    groups : (K,) int array, optional
        Which states share the volume about which the changes of a pose are taken; by default all
        of them the mean.
    """

    grid: Grid
    cubes: Array
    points: Array
    scatter: Array
    proportions: Array
    noise: Array
    pose_sigma: tuple[float, float]
    sigma: tuple[float, float] | None = None
    groups: Array | None = None

    def centres(self, labels: Array) -> Centres | None:
        """Volumes about which the poses of particles of these states (n,) change."""
        if self.groups is None:
            return None
        flat = self.cubes.reshape(len(self.cubes), -1)
        count = int(self.groups.max()) + 1
        points = np.empty((count, self.points.shape[1]))
        for group in range(count):
            inside = self.groups == group
            weight = np.maximum(self.proportions[inside], 1e-9)
            points[group] = weight @ self.points[inside] / weight.sum()
        cubes = flat[0] + points.astype(np.float32) @ flat[1:]
        return Centres(self.groups[labels], cubes.reshape(-1, *self.cubes.shape[1:]))

    def volumes(self) -> Array:
        """Volumes of the states on the cube of the grid, (K, m, m, m) float32."""
        flat = self.cubes.reshape(len(self.cubes), -1)
        volumes = flat[0] + self.points.astype(np.float32) @ flat[1:]
        return np.asarray(volumes.reshape(-1, *self.cubes.shape[1:]), np.float32)

    def latent(self, moments: JointMoments, so_far: Array) -> Latent:
        """What particles say of points, their scatter and errors of the poses marginalised."""
        _, projected, information = moments.marginalise_pose(self.pose_sigma, so_far)
        return without_scatter(projected, information, self.scatter)

    def log_likelihood(self, moments: JointMoments, so_far: Array) -> tuple[Array, Latent]:
        """Log-likelihood (n,) of particles against noise alone, scatter and poses marginalised.

        That of the points alone would be compared by how far particles lie from them: a model with
        less noise, since its components take up more, would seem worse. Also what :meth:`latent`
        gives.
        """
        base, projected, information = moments.marginalise_pose(self.pose_sigma, so_far)
        latent = without_scatter(projected, information, self.scatter)
        mixed = logsumexp(latent.of(self.points), axis=1, b=np.maximum(self.proportions, 1e-9))
        return base + at_mean(projected, information, self.scatter) + mixed, latent


def weighted(soft: Array, proportions: Array) -> Array:
    """Posteriors (n, K) float32 under proportions (K,) of the states, from those of equal ones."""
    product = soft * np.maximum(proportions, 1e-9).astype(np.float32)
    total: Array = product / np.maximum(product.sum(axis=1, keepdims=True), np.float32(1e-30))
    return total
