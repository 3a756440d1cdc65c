"""Minima of the density, their basins, and how many particles lie in each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.basins import all_minima_along, basins
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.mixture import GaussianMixture
from alphacryo4d.particle_landscape.surface import DensitySurface

DRAWS = {1: 4000, 2: 6000, 3: 3000, 4: 1500}
"""Points of the density by its dimensions: the basins are those of the surface through them."""

NEARLY = 1e-3
"""Part by which populations may differ and count as equal: rounding does not order states."""


@dataclass(frozen=True)
class DensityStates:
    """Basins of the energy, the most populated first.

    Attributes
    ----------
    minima : (K, d) float64
        Lowest points.
    energies, energy_errors : (K,) float64
        Energy of the minima above the lowest of all (kT), and standard errors
        (:meth:`Density.error`).
    populations, population_errors : (K,) float64
        Integrals of the density over the basins, likewise; they add up to 1.
    """

    minima: Array
    energies: Array
    energy_errors: Array
    populations: Array
    population_errors: Array
    points: Array = field(default_factory=lambda: np.empty((0, 0)))
    """(N, d) points of the density, and what each stands for: a share, and its basin from 0."""
    shares: Array = field(default_factory=lambda: np.empty(0))
    labels: Array = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        """Number of basins K."""
        return len(self.minima)


def find_states(density: Density, *, depth: float, seed: int = 0) -> DensityStates:
    """Basins that are at least ``depth`` kT deep, with their populations.

    Parameters
    ----------
    density : Density
    depth : float
        Height of the pass out of a basin above its minimum (kT).
    seed : int
        Of the points that are drawn from the density.
    """
    surface = DensitySurface(density.mixture)
    points, weights = _points(density, seed)
    energies = surface.values(points)
    if points.shape[1] == 1:
        rows = all_minima_along(energies, depth=depth)
        labels = _between_tops(energies, rows)
    else:
        labels, rows = basins(points, energies, states=None, depth=depth)
    share = np.bincount(labels, weights, minlength=len(rows))
    order = _by_share(share, points[rows, 0])
    labels = np.argsort(order)[labels]
    minima = surface.minima_near(points[rows[order]])
    lowest = surface.values(minima)
    deepest = int(lowest.argmin())

    def above_deepest(mixture: GaussianMixture) -> Array:
        heights = DensitySurface(mixture).values(minima)
        return np.asarray(heights - heights[deepest])

    def populations(mixture: GaussianMixture) -> Array:
        """Every point counts by the ratio of the densities."""
        ratio = np.exp(np.minimum(energies - DensitySurface(mixture).values(points), 50.0))
        shares = np.bincount(labels, weights * ratio, minlength=len(rows))
        return np.asarray(shares / shares.sum())

    return DensityStates(
        minima, lowest - lowest[deepest], density.error(above_deepest), share[order],
        density.error(populations), points, weights, labels,
    )  # fmt: skip


def _by_share(share: Array, coordinate: Array) -> Array:
    """Order of falling shares; those that differ by less than rounding can, by the coordinate."""
    order = np.argsort(-share, kind="stable")
    falls = np.diff(share[order]) < -NEARLY * share.max()
    rank = np.append(0, np.cumsum(falls))
    kept: Array = order[np.lexsort((coordinate[order], rank))]
    return kept


def _points(density: Density, seed: int) -> tuple[Array, Array]:
    """Points (n, d) of the density and the share (n,) of the particles that each stands for.

    Drawn from it; along a line a grid over all that matters.
    """
    mixture, d = density.mixture, density.mixture.means.shape[1]
    points = mixture.drawn(DRAWS[d], np.random.default_rng(seed))
    if d > 1:
        return points, np.full(len(points), 1 / len(points))
    low, high = float(points.min()), float(points.max())
    margin = 0.1 * (high - low)
    line = np.linspace(low - margin, high + margin, DRAWS[1])[:, None]
    weights = np.exp(-DensitySurface(mixture).values(line))
    return line, weights / weights.sum()


def _between_tops(energies: Array, rows: Array) -> Array:
    """Basin (n,) of every point of a line: they meet at the highest points between minima."""
    tops = [a + int(energies[a : b + 1].argmax()) for a, b in zip(rows[:-1], rows[1:], strict=True)]
    labels: Array = np.searchsorted(np.array(tops), np.arange(len(energies)), side="left")
    return labels
