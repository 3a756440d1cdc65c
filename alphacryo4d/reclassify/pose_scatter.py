"""Likelihoods of states when poses are not exact: small pose errors marginalised.

A wrong pose changes an image, to first order, by three rotations and a shift of the volume. These
derivatives of the consensus are six more volumes; with their inner products a normal prior of the
errors is marginalised in closed form, as in probabilistic PCA (Tipping & Bishop 1999). States
then have to explain more than wrong poses can, and the most likely correction comes along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.special import logsumexp, softmax

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.expectation import View, component_products
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.voting.losses import by_image

_BLOCK = 4096


def pose_derivatives(cube: Array, voxel: float) -> Array:
    """Change of a volume when it is turned or moved a little.

    Parameters
    ----------
    cube : (n, n, n) array
        Origin at n // 2, band-limited.
    voxel : float
        In Angstrom.

    Returns
    -------
    (6, n, n, n) float32 array
        Turned about x, y, z (per radian), moved along x, y, z (per Angstrom):
        ``-(r x grad V)`` and ``-grad V``.
    """
    size = len(cube)
    cycles = np.fft.fftfreq(size, voxel)
    cycles[size // 2] = 0
    spectrum = scipy.fft.fftn(scipy.fft.ifftshift(np.asarray(cube, np.float64)))
    slopes = []
    for axis in (2, 1, 0):
        shape = [1, 1, 1]
        shape[axis] = size
        along = scipy.fft.ifftn(spectrum * (2j * np.pi * cycles.reshape(shape)))
        slopes.append(scipy.fft.fftshift(along.real))
    along_x, along_y, along_z = slopes
    position = (np.arange(size) - size // 2) * voxel
    z, y, x = np.meshgrid(position, position, position, indexing="ij")
    turned = [
        y * along_z - z * along_y,
        z * along_x - x * along_z,
        x * along_y - y * along_x,
    ]
    changes: Array = -np.stack([*turned, *slopes]).astype(np.float32)
    return changes


@dataclass(frozen=True)
class PoseMoments:
    """What the data say about states and small pose errors, particle by particle.

    Attributes
    ----------
    plain : (n, K + 1) float64
        Log-likelihood of each state at the given poses; the last column is the consensus.
    slope : (n, 6, K + 1) float64
        Its derivative by the six changes of :func:`pose_derivatives`, in the volume's frame.
    curvature : (n, 6, 6) float64
        Negative second derivative.
    apart : (n, K, K) float32
        Squared distance of the projections of two states over the noise power.
    """

    plain: Array
    slope: Array
    curvature: Array
    apart: Array

    def marginal(self, pose_sigma: tuple[float, float], so_far: Array) -> tuple[Array, Array]:
        """Log-likelihoods with pose errors marginalised, and the most likely changes.

        Parameters
        ----------
        pose_sigma : tuple of float
            Standard deviation of rotations (degrees) and shifts (A) on each axis.
        so_far : (n, 6) array
            Change of the poses so far, radians and Angstrom in the volume's frame; the prior is
            about no change at all.

        Returns
        -------
        values : (n, K + 1) array
            With the prior normalised: they compare pose errors, too.
        changes : (n, 6, K + 1) array
            Further change for each state.
        """
        variance = pose_variance(pose_sigma)
        slope = self.slope - (so_far / variance)[:, :, None]
        matrix = self.curvature + np.diag(1 / variance)
        changes = np.linalg.solve(matrix, slope)
        values = self.plain + 0.5 * np.einsum("nik,nik->nk", slope, changes)
        values -= 0.5 * (np.linalg.slogdet(matrix)[1][:, None] + np.log(variance).sum())
        values -= 0.5 * (so_far**2 / variance).sum(axis=1)[:, None]
        return values, changes

    def merging_losses(
        self,
        pose_sigma: tuple[float, float],
        so_far: Array,
        weights: Array,
        images: Array | None = None,
    ) -> tuple[Array, Array]:
        """What the mixture of the states loses when two become one, their weighted mean.

        A state that is a copy of another but for noise gains by it.

        Parameters
        ----------
        errors, so_far
            As for :meth:`marginal`.
        weights : (K,) array
            Shares of the states; they add up to 1.
        images : (n,) int array, optional
            Image of each particle, where some are copies.

        Returns
        -------
        sums, squares : (K, K) float64 arrays
            Sum over particles of the loss (nats), and of its square; losses of the copies of an
            image are added up before they are squared.
        """
        values, changes = self.marginal(pose_sigma, so_far)
        values, count = values[:, :-1], len(weights)
        slope = self.slope[..., :-1] - (so_far / pose_variance(pose_sigma))[:, :, None]
        pose = np.einsum("nik,nij->nkj", slope, changes[..., :-1])
        own = np.einsum("nkk->nk", pose)
        apart = self.apart - 0.5 * (own[:, :, None] + own[:, None] - 2 * pose)
        evidence = logsumexp(values, axis=1, b=weights)
        soft = softmax(values + np.log(weights), axis=1)
        sums, squares = np.zeros((count, count)), np.zeros((count, count))
        for k in range(count):
            both = weights[k] + weights
            part = weights[k] / both
            joint = (
                part * values[:, k, None] + (1 - part) * values + part * (1 - part) * apart[:, k]
            )
            ratio = both * np.exp(np.minimum(joint - evidence[:, None], 500.0))
            rest = np.maximum(1 - soft[:, k, None] - soft, 0.0)
            lost = -np.log(np.maximum(rest + ratio, 1e-12))
            sums[k] = lost.sum(axis=0)
            squares[k] = np.square(by_image(lost, images)).sum(axis=0)
        return sums, squares

    def estimated_errors(
        self, weights: Array, so_far: Array, steps: int = 15
    ) -> tuple[float, float]:
        """Errors of the poses (degrees, A) that make the data most likely, by EM.

        Shifts along the line of sight, of which images say nothing, do not count.
        """
        pose_sigma = (1.0, 0.5)
        for _ in range(steps):
            variance = pose_variance(pose_sigma)
            values, changes = self.marginal(pose_sigma, so_far)
            share = softmax(values[:, :-1] + np.log(weights), axis=1)
            mean = np.einsum("nk,nik->ni", share, changes[..., :-1])
            spread = np.einsum("nk,nik,njk->nij", share, changes[..., :-1], changes[..., :-1])
            covariance = np.linalg.inv(self.curvature + np.diag(1 / variance)) + spread
            covariance -= mean[:, :, None] * mean[:, None, :]
            pose_sigma = errors_of(so_far + mean, covariance, pose_sigma)
        return pose_sigma


def errors_of(change: Array, covariance: Array, before: tuple[float, float]) -> tuple[float, float]:
    """Errors of the poses (degrees, A on each axis) that particles show; one step of EM.

    Parameters
    ----------
    change : (n, 6) array
        Expected errors of the particles, radians and Angstrom in the volume's frame.
    covariance : (n, 6, 6) array
    before : tuple of float
        Errors that both were found with.
    """
    square = (np.einsum("nii->ni", covariance) + change**2).mean(axis=0)
    # one direction of three keeps the prior's variance: the line of sight
    moved = max(float(square[3:].sum()) - before[1] ** 2, 0.0) / 2
    return (
        float(np.clip(np.rad2deg(np.sqrt(square[:3].mean())), 0.02, 10.0)),
        float(np.clip(np.sqrt(moved), 0.01, 10.0)),
    )


def pose_variance(pose_sigma: tuple[float, float]) -> Array:
    """Prior variance (6,) of rotations (radians) and shifts (A) of given deviations."""
    return np.repeat([np.deg2rad(pose_sigma[0]) ** 2, pose_sigma[1] ** 2], 3)


def _states_and_changes(images: PreparedImages, volumes: Array, weights: Array, edge: int) -> Array:
    """States, their mean and its six derivatives by the pose on the grid, (K + 7, n, n, n)."""
    share = np.asarray(weights, np.float64) / np.sum(weights)
    density = (images.box / volumes.shape[1]) ** 3 / images.box
    cubes = resize_cubes(volumes, edge) * np.float32(density)
    mean = np.tensordot(share, cubes, 1)
    changes = pose_derivatives(mean, images.box * images.pixel_size / edge)
    return np.concatenate([cubes, mean[None].astype(np.float32), changes])


def pose_moments(
    images: PreparedImages,
    rows: Array,
    volumes: Array,
    weights: Array,
    *,
    resolution: float,
    noise: Array,
    threads: int | None = None,
) -> PoseMoments:
    """Inner products of particles with states and with the derivatives of their mean.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles.
    volumes : (K, m, m, m) float32
        States, on any box of the same field of view.
    weights : (K,) array
        Share of each state in the mean.
    resolution : float
        Finest resolution used (A).
    noise : (G, shells) array
        Noise power.

    Returns
    -------
    PoseMoments
        In the order of ``rows``.
    """
    radius = min(shell_of_resolution(resolution, images.box, images.pixel_size), images.radius)
    grid = Grid(radius, thread_count(threads))
    columns = _states_and_changes(images, volumes, weights, grid.cube)
    references = grid.references(columns)
    inverse = 1 / noise[:, : radius + 1]
    ordered = images.sorted_rows(np.asarray(rows, np.int64))
    place = np.empty(len(images), np.int64)
    place[ordered] = np.arange(len(ordered))
    count, states = len(ordered), len(volumes) + 1
    plain, slope = np.empty((count, states)), np.empty((count, 6, states))
    curvature = np.empty((count, 6, 6))
    apart = np.empty((count, states - 1, states - 1), np.float32)
    for start in range(0, count, _BLOCK):
        part = slice(start, min(start + _BLOCK, count))
        view = View(images, ordered[part], grid)
        size = len(view.rows)
        nothing = np.zeros((size, len(columns)), np.float32)
        cross, gram, _ = component_products(
            view, references, inverse, nothing, np.zeros((size, 1, 1), np.float32)
        )
        # one sample of each Friedel pair is held: the noise of its two parts has half the power
        own = np.einsum("nkk->nk", gram[:, :states, :states])
        plain[part] = 2 * cross[:, :states] - own
        slope[part] = 2 * (cross[:, states:, None] - gram[:, states:, :states])
        curvature[part] = 2 * gram[:, states:, states:]
        pairs, alone = gram[:, : states - 1, : states - 1], own[:, :-1]
        apart[part] = alone[:, :, None] + alone[:, None] - 2 * pairs
    order = place[rows]
    return PoseMoments(plain[order], slope[order], curvature[order], apart[order])
