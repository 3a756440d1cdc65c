"""The consensus volume of particles, its power and the noise."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.expectation import View, expect, mean_power, project_back
from alphacryo4d.ml3d.grid import solve_volumes


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
    return mean_power(power, view)


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
        noise = expect(view, grid.class_references(solution.cubes), 1.0 / noise, np.ones(1)).noise
        noise[:, 0] = noise[:, 1]
    return field, spectrum, noise
