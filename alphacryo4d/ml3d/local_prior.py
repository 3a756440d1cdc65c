"""Prior of components that live in some places: a spectrum times an amplitude in space.

Between conformations most of a molecule stays what it is. A component is therefore taken as
``amplitude(x) w(x)``, where ``w`` is stationary with a power by shell and the amplitude is what the
components themselves have at a place, smoothed: an empirical prior of the variance of every voxel.
Where nothing differs the noise of the images then stays out of the components.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.grid import Grid, Solution, solve_volumes

LEAST_AMPLITUDE = 0.1
"""Amplitude everywhere at least: what does not differ yet may do so in the next iteration."""
_SMOOTH = 0.8
"""Width of the smoothing, in units of the resolution: finer, the fringes of a few shells show."""


def local_amplitude(grid: Grid, components: Array, weight: Array, spread: Array) -> Array:
    """Amplitude of components at every place, as a part of the largest.

    The expected square of a voxel is that of its posterior mean and its posterior variance: without
    the latter, components of which little is known would draw in to nothing.

    Parameters
    ----------
    grid : Grid
    components : (q, n, n, n) array
        Within mask and amplitude.
    weight : (n, n, n) array
        Mask and amplitude.
    spread : (shells,) array
        Posterior variance of the Fourier components before these, summed over the components.

    Returns
    -------
    (n, n, n) float32
        Root of the summed squares, smoothed over 0.8 of the resolution; at least
        :data:`LEAST_AMPLITUDE`, and 1 everywhere where there is nothing.
    """
    power = np.square(components, dtype=np.float64).sum(axis=0)
    power += np.square(weight, dtype=np.float64) * _variance_of_voxel(grid, spread)
    power = gaussian_filter(power, _SMOOTH * grid.cube / grid.radius, mode="wrap")
    top = power.max(initial=0.0)
    if not top > 0:
        return np.ones(power.shape, np.float32)
    return np.asarray(np.sqrt(np.clip(power / top, LEAST_AMPLITUDE**2, 1)), np.float32)


def _variance_of_voxel(grid: Grid, spread: Array) -> float:
    """Variance of a voxel of a field, from that of its Fourier components by shell."""
    half = np.arange(grid.cube // 2 + 1)
    pairs = np.broadcast_to(
        np.where(half % (grid.cube // 2) > 0, 2.0, 1.0), (grid.cube**2, len(half))
    )
    used = grid.shell_map >= 0
    total = spread[grid.shell_map[used]] @ pairs.ravel()[used]
    return float(total) / grid.cube**6


def filled(mask: Array, amplitude: Array, columns: int) -> Array:
    """Mean squared weight in the box of the mean, and of the components, (columns,) float64."""
    share = np.full(columns, np.mean(np.square(mask * amplitude, dtype=np.float64)))
    share[0] = np.mean(np.square(mask, dtype=np.float64))
    return share


def refitted(
    grid: Grid, components: Array, mask: Array, amplitude: Array, spread: Array
) -> tuple[Array, float]:
    """Amplitude by :func:`local_amplitude`, and the factor by which the power of the fields grows.

    With it the components have the power in the box that they had with the amplitude before.
    """
    fitted = local_amplitude(grid, components, mask * amplitude, spread)
    return fitted, float(filled(mask, amplitude, 2)[1] / filled(mask, fitted, 2)[1])


def power_of(grid: Grid, cubes: Array, mask: Array, amplitude: Array) -> Array:
    """Power of mean and components (q + 1, n, n, n) by shell, before mask and amplitude."""
    power = grid.shell_means(np.abs(grid.transform(cubes)) ** 2)
    return np.asarray(power / filled(mask, amplitude, len(cubes))[:, None])


def solve_components(
    grid: Grid,
    right: Array,
    weights: Array,
    power: Array,
    *,
    mask: Array,
    amplitude: Array,
    start: Array,
    steps: int,
) -> Solution:
    """Mean and components as :func:`solve_volumes` finds them, the components with local priors.

    Parameters
    ----------
    grid, right, weights, mask, start, steps
        As there; fields are those before the solvent mask, but with the amplitude.
    power : (q + 1, shells) array
        Power of the fields before mask and amplitude.
    amplitude : (n, n, n) array
        Of the components. The mean has its mask alone.

    Returns
    -------
    Solution
        Its variance is that of the Fourier components before mask and amplitude.
    """
    columns = np.arange(len(start))
    precision = np.zeros((grid.radius + 1, len(start), len(start)), np.float32)
    precision[:, columns, columns] = 1.0 / power.T
    masks = np.repeat(mask[None], len(start), axis=0)
    masks[1:] *= amplitude
    fields = start.copy()
    fields[1:] /= amplitude
    solution = solve_volumes(grid, right, weights, precision, mask=masks, start=fields, steps=steps)
    solution.fields[1:] *= amplitude
    return solution
