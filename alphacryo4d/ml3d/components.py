"""Probabilistic principal components of the particles, by EM with the engine's kernels.

Model: a particle is the projection of ``mean + sum_a z_a component_a`` with standard normal
coordinates z, its CTF and coloured noise. The components are volumes; every particle has the mean
and the covariance of its coordinates. Nothing is classified here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.model import Grid, solve_volumes
from alphacryo4d.ml3d.sums import View, component_products, expect, project_back
from alphacryo4d.progress import Progress, no_progress

Array = np.ndarray[Any, Any]


@dataclass
class Components:
    """Principal components of particles.

    Attributes
    ----------
    rows : (n,) int64
        Particles, in the order of the other arrays.
    cubes : (q + 1, m, m, m) float32
        Mean and components on the cube of ``grid``.
    coordinates : (n, q) float32
        Posterior means.
    information, projected : (n, q, q), (n, q) float32
        Log-likelihood of coordinates z: ``projected . z - z . information . z / 2``.
    noise : (G, shells) float64
        Noise power.
    grid : Grid
    mask : (m, m, m) float32
    """

    rows: Array
    cubes: Array
    coordinates: Array
    information: Array
    projected: Array
    noise: Array
    grid: Grid
    mask: Array


def data_power(view: View) -> Array:
    """Mean power of the data by noise group and shell, (G, shells)."""
    images = view.images
    power = np.zeros((view.groups, view.grid.radius + 1))
    shell = images.shell[: view.last]
    for start in range(0, len(view.rows), 4096):
        rows = view.rows[start : start + 4096]
        square = np.square(images.data[rows, : view.last]).sum(axis=2, dtype=np.float32)
        by_shell = np.add.reduceat(square, np.searchsorted(shell, np.arange(shell[-1] + 1)), axis=1)
        np.add.at(power, images.group[rows], by_shell)
    mean: Array = power / np.maximum(view.samples_per_shell(), 1)
    return mean


def solve_mean(
    view: View, noise: Array, mask: Array, rounds: int = 2
) -> tuple[Array, Array, Array]:
    """Consensus volume, its power by shell, and the noise that remains.

    Parameters
    ----------
    view : View
    noise : (G, shells) array
        First guess of the noise power.
    mask : (m, m, m) float32
    rounds : int
        Times that the prior and the noise are re-estimated.

    Returns
    -------
    field : (1, m, m, m) float32
    spectrum : (shells,) float64
    noise : (G, shells) float64
    """
    grid = view.grid
    ones = np.ones((len(view.rows), 1), np.float32)
    field = np.zeros((1, *mask.shape), np.float32)
    spectrum = np.full(grid.radius + 1, 1e12)
    filled = float(np.mean(mask**2))
    for _ in range(rounds):
        right, weights = project_back(view, 1.0 / noise, ones, ones)
        precision = (1.0 / spectrum)[:, None, None].astype(np.float32)
        solution = solve_volumes(grid, right, weights, precision, mask=mask, start=field, steps=6)
        field = solution.fields
        power = grid.shell_means(np.abs(grid.transform(field)) ** 2)[0]
        spectrum = np.maximum(power / filled + solution.variance[:, 0, 0], 1e-12)
        noise = expect(view, grid.references(solution.cubes), 1.0 / noise, np.ones(1)).noise
        noise[:, 0] = noise[:, 1]
    return field, spectrum, noise


def fit_components(
    images: PreparedImages,
    rows: Array,
    count: int,
    iterations: int,
    radius: int,
    rng: np.random.Generator,
    *,
    mask_diameter: float | None = None,
    solvent: bool = True,
    workers: int = 1,
    progress: Progress = no_progress,
) -> Components:
    """Probabilistic principal components of some particles.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles.
    count : int
        Components.
    iterations : int
        EM iterations.
    radius : int
        Last Fourier shell (pixels).
    rng : Generator
        Random start.
    mask_diameter : float, optional
        Spherical solvent mask (A).
    solvent : bool
        Narrow the mask, on the way, to what the mean and the components fill.
    workers : int
        Threads of the Fourier transforms.
    progress : Progress
    """
    grid = Grid(radius, workers)
    view = View(images, images.sorted_rows(rows), grid)
    mask = sphere = sphere_mask(grid, images, mask_diameter)
    voxel = images.box * images.pixel_size / grid.cube
    noise = data_power(view)
    noise[:, 0] = noise[:, 1]
    mean, spectrum, noise = solve_mean(view, noise, mask)
    fields = np.concatenate([mean, _random_fields(grid, count, 0.1 * spectrum, rng)])
    variance = np.tile(0.1 * spectrum, (count, 1))
    means = np.zeros((len(view.rows), count + 1), np.float32)
    means[:, 0] = 1
    second = means[:, :, None] * means[:, None, :]
    for iteration in range(iterations):
        progress(iteration, iterations, "components")
        means, second, _, _, left = latent_moments(view, fields * mask, noise, means, second)
        if iteration:
            noise = left
        right, weights = project_back(view, 1.0 / noise, means, packed(second))
        precision = np.zeros((radius + 1, count + 1, count + 1), np.float32)
        every = np.arange(count + 1)
        precision[:, every, every] = 1.0 / np.vstack([spectrum, variance]).T
        solution = solve_volumes(
            grid, right, weights, precision, mask=mask, start=fields, steps=4, packed=True
        )
        fields, turn = whitened(solution.fields, means, second)
        means = means @ turn.T
        second = np.einsum("ab,nbc,dc->nad", turn, second, turn, optimize=True)
        if solvent and iteration in (iterations // 3, 2 * iterations // 3):
            narrow = solvent_mask(fields * mask, sphere, voxel)
            fields = fields * mask * (narrow > 0.01)
            mask = narrow
        power = grid.shell_means(np.abs(grid.transform(fields[1:] * mask)) ** 2)
        power /= float(np.mean(mask**2))
        spread = np.stack([solution.variance[:, a, a] for a in range(1, count + 1)])
        variance = np.maximum(power + spread, 1e-6 * spectrum)
    means, _, information, projected, noise = latent_moments(
        view, fields * mask, noise, means, second
    )
    progress(iterations, iterations, "components")
    return Components(
        view.rows, fields * mask, means[:, 1:], information, projected, noise, grid, mask
    )


def sphere_mask(grid: Grid, images: PreparedImages, diameter: float | None) -> Array:
    """Soft spherical mask on the cube of a grid; by default the sphere that fits in the box."""
    voxel = images.box * images.pixel_size / grid.cube
    radius = (diameter or images.box * images.pixel_size) / 2 / voxel
    edge = max(1.0, 5.0 / voxel)
    line = (np.arange(grid.cube) - grid.cube // 2) ** 2.0
    distance = np.sqrt(line[:, None, None] + line[:, None] + line)
    ramp = np.clip((radius - distance) / edge + (0.0 if diameter is None else 1.0), 0, 1)
    mask: Array = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    return mask


def solvent_mask(
    cubes: Array, sphere: Array, voxel: float, *, dilation: float = 8.0, edge: float = 8.0
) -> Array:
    """Soft mask around what the mean or the components fill; at most the sphere.

    Parameters
    ----------
    cubes : (q + 1, m, m, m) array
        Mean and components.
    sphere : (m, m, m) array
        Spherical mask within which they were estimated.
    voxel : float
        Voxel size (A).
    dilation, edge : float
        Margin around the density and width of the soft edge (A).
    """
    power = np.square(cubes, dtype=np.float64).sum(axis=0)
    smooth = np.sqrt(np.maximum(gaussian_filter(power, 5.0 / voxel, mode="wrap"), 0))
    inside = smooth[sphere > 0.5]
    floor = np.median(inside)
    spread = 1.4826 * np.median(np.abs(inside - floor))
    top = np.quantile(inside, 0.99)
    threshold = max(floor + 3 * spread, floor + 0.1 * (top - floor))
    distance = distance_transform_edt(smooth < threshold) * voxel
    ramp = np.clip((dilation + edge - distance) / edge, 0, 1)
    mask: Array = (sphere * (0.5 - 0.5 * np.cos(np.pi * ramp))).astype(np.float32)
    return mask


def _random_fields(grid: Grid, count: int, power: Array, rng: np.random.Generator) -> Array:
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
    references = view.grid.references(cubes)
    cross, gram, left = component_products(view, references, 1.0 / noise, means, second)
    information = 2.0 * gram[:, 1:, 1:]
    projected = 2.0 * (cross[:, 1:] - gram[:, 1:, 0])
    count = information.shape[1]
    covariance = np.linalg.inv(information + np.eye(count, dtype=np.float32))
    coordinates = np.einsum("nab,nb->na", covariance, projected)
    means = np.concatenate([np.ones((len(coordinates), 1), np.float32), coordinates], axis=1)
    second = means[:, :, None] * means[:, None, :]
    second[:, 1:, 1:] += covariance
    return means, second, information, projected, left


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
    root = np.linalg.cholesky(spread)
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
