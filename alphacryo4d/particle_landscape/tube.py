"""Bins along a path through a density, and the likelihood of particles in each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.barriers import arc_lengths
from alphacryo4d.maths.linear_solvers import root_of_covariance
from alphacryo4d.particle_landscape.mixture import GaussianMixture, Likelihoods, expected
from alphacryo4d.particle_landscape.surface import DensitySurface

MOST_BINS, NARROWEST_BIN = 80, 0.25
"""Bins along the path, and the length of the shortest one in errors of a particle."""
BEYOND, TUBE = 2.0, 4.0
"""How far the path is continued at its ends, and how far from it particles count, in errors."""
VALLEY = 0.5
"""Energy (kT) below that of the path from which particles beside it belong to another state."""
SPREAD = 2.0
"""How far points are scattered around the path, in errors."""
_TRIALS, _DEEPEST = 500, 200.0
_INEXACT, _LEAST = 0.05, 1e-4


def shares_of(logs: Array) -> Array:
    """Shares (B + 1,) of bins and the rest, from their logarithms up to a constant."""
    shares = np.exp(np.maximum(logs - logs.max(), -_DEEPEST))
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True)
class Tube:
    """Bins along a path: what the mixture has in each of them is described by a Gaussian."""

    gaussians: GaussianMixture
    share: float
    """Of the mixture, in all of them."""
    step: float
    """Length of a bin in errors."""
    first: float
    """Length along the path, in errors, at which the first bin begins."""
    metric: Array
    """Coordinates times this have errors of 1."""

    @property
    def own(self) -> Array:
        """Shares (B,) of the mixture in the bins."""
        return self.share * self.gaussians.proportions

    @property
    def start(self) -> Array:
        """Logarithms (B + 1,) of even shares of the bins, which no penalty minds, and the rest."""
        count, share = len(self.own), min(self.share, 1 - _LEAST)
        logs: Array = np.log(np.append(np.full(count, share / count), 1 - share))
        return logs

    @classmethod
    def along(
        cls, data: Likelihoods, mixture: GaussianMixture, images: Array, rng: np.random.Generator
    ) -> Tube | None:
        """Points around a path; None where it is too short, or a bin holds nothing."""
        information = data.information.mean(axis=0, dtype=np.float64)
        information += 1e-6 * np.trace(information) / len(information) * np.eye(len(information))
        metric = root_of_covariance(information)
        nodes, first, length = _continued(images @ metric)
        count = min(MOST_BINS, int(length / NARROWEST_BIN))
        if count < 8:
            return None
        d, trials = images.shape[1], 2 ** int(np.ceil(np.log2(count * _TRIALS)))
        sequence = Sobol(d + 1, rng=rng).random(trials)
        at = sequence[:, 0] * (len(nodes) - 1)
        low = np.minimum(at.astype(int), len(nodes) - 2)
        points = nodes[low] + (at - low)[:, None] * (nodes[low + 1] - nodes[low])
        inside, place = np.ones(trials, bool), at
        density = np.full(trials, 1 / length)
        if d > 1:
            points = points + SPREAD * norm.ppf(np.clip(sequence[:, 1:], 1e-9, 1 - 1e-9))
            far, nearest = cKDTree(nodes).query(points)
            inside = (far <= TUBE) & (nearest > 0) & (nearest < len(nodes) - 1)
            place = nearest.astype(float)
            density = _scattered(nodes, length, points)
        bins = np.minimum((place[inside] / (len(nodes) - 1) * count).astype(int), count - 1)
        back = np.linalg.inv(metric)
        real = points[inside] @ back
        surface = DensitySurface(mixture)
        energies = surface.values(real)
        weights = np.exp(-energies) * abs(np.linalg.det(back)) / density[inside] / trials
        if d > 1:
            # beside a path the energy rises; where it falls another state begins
            weights[energies < surface.values(nodes @ back)[nearest[inside]] - VALLEY] = 0
        own = np.bincount(bins, weights, minlength=count)
        if own.min() <= 0:
            return None
        return cls(_moments(real, weights, bins, own), own.sum(), length / count, first, metric)

    def ratios(self, data: Likelihoods, mixture: GaussianMixture) -> Array:
        """Likelihood (n, B + 1) of particles in each bin and the rest, over that of the mixture."""
        count = len(self.own)
        ratios = np.empty((len(data), count + 1))
        soft = np.empty((len(data), count))
        inside = expected(data, self.gaussians, soft)[1] - expected(data, mixture)[1]
        ratios[:, :-1] = soft * np.exp(inside)[:, None] / self.gaussians.proportions
        # what sums over the points miss is no evidence of particles elsewhere
        away = np.maximum(1.0 - ratios[:, :-1] @ self.own - _INEXACT, 0.0)
        ratios[:, -1] = away / max(float(away.mean()), _LEAST)
        return ratios

    def roughness(self) -> Array:
        """Quadratic form (B + 1, B + 1) of the third derivative; the rest has none."""
        count = len(self.own)
        third = np.diff(np.eye(count), 3, axis=0) / self.step**3
        roughness = np.zeros((count + 1, count + 1))
        roughness[:-1, :-1] = self.step * third.T @ third
        return roughness

    def energies(self, logs: Array, images: Array) -> Array:
        """Energies (n,) at images: -ln of the share per length, all across the path together."""
        centres = self.first + (np.arange(len(logs) - 1) + 0.5) * self.step
        own, lengths = arc_lengths(images @ self.metric), arc_lengths(images)
        along = np.interp(own, centres, np.log(self.step) - np.log(shares_of(logs))[:-1])
        energies: Array = along - np.log(np.gradient(own, lengths))
        return energies


def _scattered(nodes: Array, length: float, points: Array) -> Array:
    """Density of points that scatter around a line by :data:`SPREAD`."""
    some = nodes[:: max(1, int(0.25 * SPREAD * len(nodes) / length))]
    share, unit = np.full(len(some), 1 / len(some)), np.eye(nodes.shape[1])
    around = GaussianMixture(share, some, np.tile(SPREAD**2 * unit, (len(some), 1, 1)))
    return np.exp(-DensitySurface(around).values(points))


def _moments(points: Array, weights: Array, bins: Array, own: Array) -> GaussianMixture:
    """A Gaussian for each bin, with the mean and the covariance of the weighted points in it."""
    count, d = len(own), points.shape[1]

    def mean(values: Array) -> Array:
        return np.bincount(bins, weights * values, minlength=count) / own

    means = np.stack([mean(column) for column in points.T], axis=1)
    away = points - means[bins]
    covariances = np.empty((count, d, d))
    for a in range(d):
        for b in range(d):
            covariances[:, a, b] = mean(away[:, a] * away[:, b])
    trace = np.trace(covariances, axis1=1, axis2=2)
    covariances += 1e-6 * trace[:, None, None] * np.eye(d)
    return GaussianMixture(own / own.sum(), means, covariances)


def _continued(images: Array) -> tuple[Array, float, float]:
    """Points at equal distances along a path that goes on at its ends; where it begins, length."""
    ends = []
    for tip, before in ((images[0], images[1]), (images[-1], images[-2])):
        away = tip - before
        ends.append(tip + BEYOND * away / max(float(np.linalg.norm(away)), 1e-12))
    whole = np.concatenate([ends[:1], images, ends[1:]])
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(whole, axis=0), axis=1))])
    places = np.linspace(0, lengths[-1], 400)
    nodes = np.stack([np.interp(places, lengths, column) for column in whole.T], axis=1)
    return nodes, -BEYOND, float(lengths[-1])
