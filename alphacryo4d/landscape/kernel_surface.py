"""Smooth surfaces: the energy of the population density around every point, or a mean of energies.

Volumes are many where the classification cut finely. The density (the default surface) adds up
the particles of all volumes around a point, and does not see the cuts; the mean of the energies of
the classes rises with them, but does not fall where volumes crowd in the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.energy import neighbourhood_scale, population_density
from alphacryo4d.landscape.surface import TriangulatedSurface, triangulated_surface


@dataclass(frozen=True)
class KernelSurface:
    """-ln of a density of Gaussians, one a volume, over the hull of the volumes.

    Attributes
    ----------
    embedding : (V, 2) array
        Volumes.
    counts : (V,) array
        Particles per volume.
    width : (V,) array
        Standard deviation of each Gaussian, in units of the embedding.
    offset : float
        Added to -ln of the density (share per unit area), so that the scale is that of eq. 6.
    hull : TriangulatedSurface
        Where the surface ends.
    """

    embedding: Array
    counts: Array
    width: Array
    offset: float
    hull: TriangulatedSurface

    def values(self, points: Array) -> Array:
        """Energy (N,) in kT at points (N, 2); NaN outside the hull."""
        density = population_density(points, self.embedding, self.counts, self.width)
        inside = np.isfinite(self.hull.values(points))
        result: Array = np.where(inside, self.offset - np.log(density + 1e-300), np.nan)
        return result

    def gradients(self, points: Array) -> Array:
        """Exact gradient (N, 2) at points (N, 2); NaN outside the hull."""
        points = np.asarray(points, np.float64)
        share = self.counts / self.counts.sum() / (2 * np.pi * self.width**2)
        gradient = np.empty((len(points), 2))
        for begin in range(0, len(points), 1024):
            apart = points[begin : begin + 1024, None, :] - self.embedding[None]
            weight = np.exp(-0.5 * (apart**2).sum(2) / self.width**2) * share
            slope = (weight / self.width**2)[:, :, None] * apart
            gradient[begin : begin + 1024] = slope.sum(1) / (weight.sum(1) + 1e-300)[:, None]
        inside = np.isfinite(self.hull.values(points))
        return np.where(inside[:, None], gradient, np.nan)

    def bring_back(self, points: Array) -> tuple[Array, int]:
        """Points (N, 2) with those outside the hull moved to its nearest edge, and how many."""
        return self.hull.bring_back(points)


def kernel_surface(
    embedding: Array, counts: Array, *, neighbours: int | None = None
) -> KernelSurface:
    """Surface from the density of particles over the embedding.

    Parameters
    ----------
    embedding : (V, 2) array
        Volumes.
    counts : (V,) array
        Particles per volume.
    neighbours : int, optional
        A Gaussian is as wide as the distance to this neighbour (8, or fewer where volumes are
        few).
    """
    embedding = np.asarray(embedding, np.float64)
    counts = np.asarray(counts, np.float64)
    width = neighbourhood_scale(embedding, neighbours)
    density = population_density(embedding, embedding, counts, width)
    offset = float(np.median(np.log(density) - np.log(counts / counts.sum())))
    hull = triangulated_surface(embedding, counts, kind="linear")
    return KernelSurface(embedding, counts, width, offset, hull)


@dataclass(frozen=True)
class MeanSurface:
    """Mean of the energies of the volumes around every point, over the hull of the volumes.

    Weights are Gaussians of the distance, one a volume (Nadaraya and Watson).

    Attributes
    ----------
    embedding : (V, 2) array
        Volumes.
    energies : (V,) array
        Energy of each volume in kT.
    width : (V,) array
        Standard deviation of each Gaussian, in units of the embedding.
    hull : TriangulatedSurface
        Where the surface ends.
    """

    embedding: Array
    energies: Array
    width: Array
    hull: TriangulatedSurface

    def _evaluated(self, points: Array) -> tuple[Array, Array]:
        """Mean energy (N,) and its gradient (N, 2)."""
        points = np.asarray(points, np.float64)
        values, gradient = np.empty(len(points)), np.empty((len(points), 2))
        for begin in range(0, len(points), 1024):
            apart = points[begin : begin + 1024, None, :] - self.embedding[None]
            weight = softmax(-0.5 * (apart**2).sum(2) / self.width**2, axis=1)
            mean = weight @ self.energies
            pull = weight * (self.energies[None] - mean[:, None]) / self.width**2
            values[begin : begin + 1024] = mean
            gradient[begin : begin + 1024] = -(pull[:, :, None] * apart).sum(1)
        inside = np.isfinite(self.hull.values(points))
        return np.where(inside, values, np.nan), np.where(inside[:, None], gradient, np.nan)

    def values(self, points: Array) -> Array:
        """Energy (N,) in kT at points (N, 2); NaN outside the hull."""
        return self._evaluated(points)[0]

    def gradients(self, points: Array) -> Array:
        """Exact gradient (N, 2) at points (N, 2); NaN outside the hull."""
        return self._evaluated(points)[1]

    def bring_back(self, points: Array) -> tuple[Array, int]:
        """Points (N, 2) with those outside the hull moved to its nearest edge, and how many."""
        return self.hull.bring_back(points)


def mean_surface(
    embedding: Array, energies: Array, *, neighbours: int | None = None
) -> MeanSurface:
    """Surface of the mean energy of the volumes around every point.

    Parameters
    ----------
    embedding : (V, 2) array
        Volumes.
    energies : (V,) array
        Energy of each volume in kT.
    neighbours : int, optional
        A Gaussian is as wide as the distance to this neighbour (8, or fewer where volumes are
        few).
    """
    embedding = np.asarray(embedding, np.float64)
    energies = np.asarray(energies, np.float64)
    width = neighbourhood_scale(embedding, neighbours)
    hull = triangulated_surface(embedding, energies, kind="linear")
    return MeanSurface(embedding, energies, width, hull)
