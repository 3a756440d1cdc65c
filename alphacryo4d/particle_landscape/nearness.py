"""How much of every particle's posterior lies near a point of the landscape.

The posterior of a particle is what its image says of its coordinates, under a prior so wide that it
hardly draws a particle to the middle. The share of it within a Gaussian neighbourhood of a point is
known in closed form. Neighbourhoods are round where a typical particle's error is round; narrower
than the errors only the middle of the posterior counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.particle_landscape.frame import likelihood_of

PRIOR = 3.0
"""Standard deviation of the prior, in those of the components."""
_BLOCK = 16_384
_SHARPENED = (0.25, 0.35, 0.5, 0.7)
"""Parts of the posterior's own covariance, below a neighbourhood of no width."""
_WIDTHS = 0.25 * 2.0 ** (np.arange(21) / 2)
_SAMPLE = 50_000
_TAIL = 0.02
"""Share of the weights, those of the farthest particles, that is left out."""


@dataclass(frozen=True)
class Width:
    """Width of a neighbourhood.

    Attributes
    ----------
    own : float
        Factor of the covariance of a particle's own error, at most 1.
    width : float
        Standard deviation of the neighbourhood, in typical errors of a particle.
    """

    own: float
    width: float


CANDIDATES = (
    *(Width(own, 0.0) for own in (*_SHARPENED, 1.0)),
    *(Width(1.0, float(width)) for width in _WIDTHS),
)


@dataclass(frozen=True)
class Nearness:
    """Posteriors of particles, in axes in which a typical error is round and of length 1.

    Attributes
    ----------
    means : (n, k) float32
    axes : (n, k, k) float32
        Orthonormal axes of each posterior, as columns.
    variances : (n, k) float32
        Along these axes.
    whitening : (k, k) float64
        Turns coordinates into these units.
    """

    means: Array
    axes: Array
    variances: Array
    whitening: Array

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.means)

    def rows(self, chosen: Array) -> Nearness:
        """The same of some particles."""
        return Nearness(
            self.means[chosen], self.axes[chosen], self.variances[chosen], self.whitening
        )

    def logs(self, point: Array, widths: tuple[Width, ...]) -> Array:
        """Log of the share of each posterior near a point, up to a number for every width.

        Parameters
        ----------
        point : (k,) array
        widths : tuple of Width, length K

        Returns
        -------
        (n, K) float32 array
        """
        logs = np.empty((len(self), len(widths)), np.float32)
        centre = self.whitening @ np.asarray(point, np.float64)
        for begin in range(0, len(self), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            away = self.means[part] - centre.astype(np.float32)
            square = np.einsum("nij,ni->nj", self.axes[part], away) ** 2
            for column, one in enumerate(widths):
                total = np.float32(one.own) * self.variances[part] + np.float32(one.width**2)
                logs[part, column] = -0.5 * (np.log(total) + square / total).sum(axis=1)
        return logs

    def mass(self, point: Array) -> float:
        """Particles about a typical error from a point, by the masses of their posteriors.

        One whose posterior is typical and lies around the point counts as 1, whatever the number of
        coordinates.
        """
        logs = self.logs(point, (Width(1.0, 1.0),)).astype(np.float64)
        return float(np.exp(logs + 0.5 * self.means.shape[1] * np.log(2.0)).sum())


def nearness(mean: Array, covariance: Array) -> Nearness:
    """Posteriors that the nearness is taken from.

    Parameters
    ----------
    mean, covariance : (n, k), (n, k, k) arrays
        Of coordinates under a standard normal prior.
    """
    count, k = mean.shape
    means = np.empty((count, k))
    spread = np.empty((count, k, k), np.float32)
    for begin in range(0, count, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        projected, information = likelihood_of(mean[part], covariance[part])
        own = np.linalg.inv(information + np.eye(k) / PRIOR**2)
        means[part] = np.einsum("nij,nj->ni", own, projected)
        spread[part] = own
    whitening = np.linalg.inv(np.linalg.cholesky(spread.mean(axis=0, dtype=np.float64)))
    variances, axes = np.empty((count, k), np.float32), np.empty((count, k, k), np.float32)
    for begin in range(0, count, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        turned = whitening @ spread[part].astype(np.float64) @ whitening.T
        variances[part], axes[part] = np.linalg.eigh(turned)
    scaled = (means @ whitening.T).astype(np.float32)
    return Nearness(scaled, axes, np.maximum(variances, np.float32(1e-6)), whitening)


def effective(logs: Array) -> Array:
    """Particles that weights are worth, ``(sum w)^2 / sum w^2``, for each column of logs (n, K)."""
    weights = np.exp(logs - logs.max(axis=0), dtype=np.float64)
    return np.asarray(weights.sum(axis=0) ** 2 / np.square(weights).sum(axis=0))


def trial_widths(
    near: Nearness, point: Array, count: int, fewest: float, most: float
) -> tuple[Width, ...]:
    """Widths that hold from few to many particles, in equal ratios.

    Parameters
    ----------
    near : Nearness
    point : (k,) array
    count : int
        Most widths; fewer where several would be the same.
    fewest, most : float
        Particles that the narrowest and the widest are worth, as near as can be.
    """
    step = -(-len(near) // _SAMPLE)
    some = near if step == 1 else near.rows(np.arange(0, len(near), step))
    worth = effective(some.logs(point, CANDIDATES)) * step
    wanted = np.geomspace(fewest, max(fewest, most), count)
    nearest = np.abs(np.log(worth)[:, None] - np.log(wanted)).argmin(axis=0)
    return tuple(CANDIDATES[place] for place in np.unique(nearest))


def weights_near(near: Nearness, point: Array, widths: tuple[Width, ...]) -> Array:
    """Weight of every particle near a point, for each of K widths.

    A column is scaled so that its sum is the number of particles that it is worth. The smallest
    weights, which add up to a fiftieth, are 0, so that far particles cost no time.

    Returns
    -------
    (n, K) float32 array
    """
    weights = near.logs(point, widths)
    for column in weights.T:
        column[:] = np.exp(column - column.max())
        order = np.argsort(column)
        running = np.cumsum(column[order], dtype=np.float64)
        column[order[running < _TAIL * running[-1]]] = 0
        column *= column.sum(dtype=np.float64) / np.square(column, dtype=np.float64).sum()
    return weights
