"""The energy of a density, -ln of it in kT, as a surface for the string method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.particle_landscape.mixture import GaussianMixture

_BLOCK = 4096


@dataclass(frozen=True)
class DensitySurface:
    """Energy of a mixture of Gaussians over d dimensions, with exact gradients.

    Attributes
    ----------
    mixture : GaussianMixture
    """

    mixture: GaussianMixture

    @cached_property
    def _parts(self) -> tuple[Array, Array, Array]:
        """Inverse covariances, and logs of the heights of the Gaussians; roots of the inverses."""
        mixture, d = self.mixture, self.mixture.means.shape[1]
        precisions = np.linalg.inv(mixture.covariances)
        heights = np.log(np.maximum(mixture.proportions, 1e-300))
        heights -= 0.5 * np.linalg.slogdet(mixture.covariances)[1] + 0.5 * d * np.log(2 * np.pi)
        return precisions, heights, np.linalg.cholesky(precisions)

    def _logs(self, points: Array) -> Array:
        """Logs (N, K) of every Gaussian at points."""
        _, heights, roots = self._parts
        count, d = self.mixture.means.shape
        # one product for all Gaussians: columns are Gaussian by Gaussian, axis by axis
        turned = points @ roots.transpose(1, 0, 2).reshape(d, count * d)
        turned -= np.einsum("ki,kij->kj", self.mixture.means, roots).reshape(-1)
        turned = turned.reshape(len(points), count, d)
        return np.asarray(heights - 0.5 * np.einsum("nka,nka->nk", turned, turned))

    def values(self, points: Array) -> Array:
        """Energy (N,) in kT at points (N, d): -ln of the share of particles per unit volume."""
        points = np.asarray(points, np.float64)
        energies = np.empty(len(points))
        for begin in range(0, len(points), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            energies[part] = -_summed(self._logs(points[part]))[0]
        return energies

    def gradients(self, points: Array) -> Array:
        """Gradient (N, d) in kT per unit of the coordinates."""
        points = np.asarray(points, np.float64)
        precisions = self._parts[0]
        slopes = np.einsum("kij,kj->ki", precisions, self.mixture.means)
        gradients = np.empty_like(points)
        for begin in range(0, len(points), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            share = self._shares(points[part])
            matrix = np.tensordot(share, precisions, 1)
            gradients[part] = (matrix @ points[part, :, None])[..., 0] - share @ slopes
        return gradients

    def _shares(self, points: Array) -> Array:
        """Share (N, K) of every Gaussian in the density at points."""
        return _summed(self._logs(points))[1]

    def bring_back(self, points: Array) -> tuple[Array, int]:
        """The points themselves: there is no edge, and the energy rises outwards."""
        return np.array(points, np.float64), 0

    def minima_near(self, points: Array, *, steps: int = 500, tolerance: float = 1e-9) -> Array:
        """Minima (N, d) of the energy that points lead to, downhill all the way.

        Fixed-point iteration of the modes of a mixture (Carreira-Perpinan 2000): the density never
        falls.
        """
        points = np.array(points, np.float64)
        precisions = self._parts[0]
        slopes = np.einsum("kij,kj->ki", precisions, self.mixture.means)
        for _ in range(steps):
            share = self._shares(points)
            matrix = np.tensordot(share, precisions, 1)
            moved = np.linalg.solve(matrix, (share @ slopes)[..., None])[..., 0]
            change = float(np.abs(moved - points).max(initial=0.0))
            points = moved
            if change < tolerance:
                break
        return points


def _summed(logs: Array) -> tuple[Array, Array]:
    """Log (N,) of the sum over Gaussians, and the share (N, K) of every one; from logs (N, K)."""
    top = logs.max(axis=1)
    share = np.exp(logs - top[:, None])
    total = share.sum(axis=1)
    share /= total[:, None]
    return top + np.log(total), share


def marginal(mixture: GaussianMixture, axes: tuple[int, ...]) -> GaussianMixture:
    """The density of some of the coordinates, the others integrated out."""
    kept = list(axes)
    return GaussianMixture(
        mixture.proportions, mixture.means[:, kept], mixture.covariances[:, kept][:, :, kept]
    )


def energy_of_share(mixture: GaussianMixture, share: float, *, draws: int = 20_000) -> float:
    """Energy below which a share of the particles lies: the edge of the region with data.

    Parameters
    ----------
    share : float
        Of all particles, such as 0.99.
    draws : int
        Points drawn from the density; the same ones every time.
    """
    points = mixture.drawn(draws, np.random.default_rng(0))
    return float(np.quantile(DensitySurface(mixture).values(points), share))
