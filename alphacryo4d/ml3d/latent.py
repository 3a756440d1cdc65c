"""Coordinates of particles in the space of the components: moments, start, whitening."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import root_of_covariance
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.compiled.latent import posterior_covariances
from alphacryo4d.ml3d.compiled.vectors import whole_vectors
from alphacryo4d.ml3d.expectation import View, component_products
from alphacryo4d.ml3d.grid import Grid


def random_fields(grid: Grid, count: int, power: Array, rng: np.random.Generator) -> Array:
    """Random fields with a power spectrum, (count, m, m, m)."""
    noise = rng.standard_normal((count, grid.cube, grid.cube, grid.cube)).astype(np.float32)
    spectra = grid.transform(noise)
    shell = grid.shell_map
    factor = np.where(shell >= 0, np.sqrt(power)[shell], 0) / grid.cube**1.5
    return grid.inverse((spectra * factor).astype(np.complex64))


def packed(second: Array) -> Array:
    """Upper triangles of symmetric matrices (n, q, q) side by side."""
    row, column = np.triu_indices(second.shape[1])
    return np.ascontiguousarray(second[:, row, column], dtype=np.float32)


def latent_moments(
    view: View, cubes: Array, noise: Array, means: Array, second: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Posterior moments of the coordinates of every particle (expectation).

    Parameters
    ----------
    view : View
    cubes : (q + 1, m, m, m) float32
        Mean and components.
    noise : (G, shells) array
    means, second : (n, q + 1), (n, q + 1, q + 1) float32
        Moments of (1, z) of the last iteration, for the noise that remains.

    Returns
    -------
    means, second : arrays as given
        Moments of (1, z).
    information, projected : (n, q, q), (n, q) float32
        The log-likelihood of z: ``projected . z - z . information . z / 2``.
    noise : (G, shells) float64
    """
    grid = view.grid
    references = grid.scratch("references", (grid.voxels, 2 * whole_vectors(len(cubes))))
    references[:] = 0
    grid.references(cubes, references)
    cross, gram, left = component_products(view, references, 1.0 / noise, means, second)
    information = 2.0 * gram[:, 1:, 1:]
    projected = 2.0 * (cross[:, 1:] - gram[:, 1:, 0])
    means, second = posterior_moments(information, projected, grid.workers)
    return means, second, information, projected, left


def posterior_moments(information: Array, projected: Array, workers: int) -> tuple[Array, Array]:
    """Moments of (1, z) for coordinates z with a standard normal prior.

    Parameters
    ----------
    information, projected : (n, q, q), (n, q) float32
        The log-likelihood is ``projected . z - z . information . z / 2``.
    workers : int
        Threads.

    Returns
    -------
    means, second : (n, q + 1), (n, q + 1, q + 1) float32
    """
    n, q = projected.shape
    means, second = np.ones((n, q + 1), np.float32), np.ones((n, q + 1, q + 1), np.float32)

    def work(begin: int, end: int) -> None:
        covariances, logs = np.empty((end - begin, q, q)), np.empty(end - begin)
        posterior_covariances(begin, end, information, np.eye(q), covariances, logs)
        near = projected[begin:end].astype(np.float64)[..., None]
        mean = np.matmul(covariances, near)[..., 0]
        means[begin:end, 1:] = second[begin:end, 0, 1:] = second[begin:end, 1:, 0] = mean
        second[begin:end, 1:, 1:] = covariances + mean[:, :, None] * mean[:, None, :]

    in_ranges(work, n, max(1, n // 512), workers)
    return means, second


def whitened(fields: Array, means: Array, second: Array) -> tuple[Array, Array]:
    """Mean and components turned so that the coordinates have mean 0 and covariance 1.

    The components come out orthogonal, the strongest first; this speeds up EM, as it moves along
    the directions in which the likelihood is flat.

    Returns
    -------
    fields : (q + 1, m, m, m) float32
    turn : (q + 1, q + 1) float32
        Matrix from the old coordinates (1, z) to the new ones.
    """
    centre = means[:, 1:].mean(axis=0, dtype=np.float64)
    spread = second[:, 1:, 1:].mean(axis=0, dtype=np.float64) - np.outer(centre, centre)
    root = root_of_covariance(spread)
    flat = fields[1:].reshape(len(centre), -1)
    mean = fields[0] + np.tensordot(centre, fields[1:], 1)
    _, vectors = np.linalg.eigh(root.T @ (flat @ flat.T) @ root)
    mixing = root @ vectors[:, ::-1]
    turn = np.eye(len(centre) + 1)
    turn[1:, 1:] = np.linalg.inv(mixing)
    turn[1:, 0] = -turn[1:, 1:] @ centre
    components = (mixing.T @ flat).reshape(fields[1:].shape)
    turned = np.concatenate([mean[None], components]).astype(np.float32)
    return turned, turn.astype(np.float32)
