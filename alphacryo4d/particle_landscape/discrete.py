"""Are there states, or is there a continuum? Held-out particles judge points against a density.

A few conformations without any spread are a mixture of K points. Its likelihood is maximised by
adding the point where the particles gain most (the directional derivative of the likelihood, as for
non-parametric maximum likelihood, Lindsay 1983), then by EM of places and proportions. Particles
that had no part in the fit say how likely the best K points are, and the continuous density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.mixture import Likelihoods, expected
from alphacryo4d.particle_landscape.points import (
    improved_points,
    likelihood_features,
    point_terms,
)
from alphacryo4d.voting.losses import mean_and_error

MOST_POINTS, PATIENCE = 24, 2
PARTICLES, CANDIDATES, STEPS = 30_000, 1_000, 25
BEYOND_CHANCE = 2.0
"""Standard errors by which one description must be the more likely one."""
RESOLVED, BLURRED = 3.0, 2.0
"""Errors of a particle that discrete states are apart at least; and below which none can be told.
"""
CONTINUUM, DISCRETE, UNSURE = "continuum", "discrete", "not decided"
_BLOCK = 4096


@dataclass(frozen=True)
class Discreteness:
    """Outcome of the test.

    Attributes
    ----------
    verdict : str
        ``continuum``, ``discrete`` or ``not decided``.
    points : int
        Fewest points that are within a standard error of the number at which held-out particles
        are most likely.
    table : (K, 2) float64
        Number of points, and mean held-out log-likelihood of a particle less that under the
        continuous density (nats).
    difference, error : float
        That of these points, and its standard error: the larger of counting and of the
        spread between groups.
    apart : float
        How far the points are apart: distance to the nearest other one, median over the
        particles, in typical errors of a particle.
    """

    verdict: str
    points: int
    table: Array
    difference: float
    error: float
    apart: float

    @property
    def sentence(self) -> str:
        """The answer in words."""
        by = f"{abs(self.difference):.4f} +- {self.error:.4f} nats per held-out particle"
        points = f"{self.points} point{'s' * (self.points != 1)}"
        if self.verdict == DISCRETE:
            return f"discrete states: {points} are more likely than a continuous density, by {by}"
        if self.verdict == CONTINUUM and self.difference < -BEYOND_CHANCE * self.error:
            return (
                f"a continuum: a continuous density is more likely than {points} or any other "
                f"number of discrete states, by {by}"
            )
        if self.verdict == CONTINUUM:
            return (
                f"a continuum as far as can be told: {points} that describe it are no more than "
                f"{self.apart:.1f} errors of a particle apart"
            )
        return (
            f"states or continuum: not decided, {points}, {self.apart:.1f} errors of a particle "
            f"apart, against a continuous density: {by}; {self.missing}"
        )

    @property
    def missing(self) -> str:
        """What an answer that is not decided lacks."""
        if abs(self.difference) <= BEYOND_CHANCE * self.error:
            return f"neither is more likely by more than {BEYOND_CHANCE:g} standard errors"
        return f"points that can be told apart lie more than {RESOLVED:g} errors apart"

    @property
    def columns(self) -> dict[str, Array]:
        """The table by names of columns."""
        return {
            "points": self.table[:, 0].astype(int),
            "heldout_gain_over_continuum_nats": self.table[:, 1],
        }


def points_or_continuum(
    data: Likelihoods,
    groups: Array,
    density: Density,
    *,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Discreteness:
    """Compare mixtures of points with a continuous density on particles that neither has seen.

    Parameters
    ----------
    data : Likelihoods
    groups : (n,) int array
        Group of every particle; those that the density was fitted without, in this order.
    density : Density
    seed : int
        Of the particles and the candidates.
    check : callable
        Called before every fit; stops the work by raising.
    """
    rng = np.random.default_rng(seed)
    labels = np.unique(groups)
    rows = np.sort(rng.choice(len(data), min(PARTICLES, len(data)), replace=False))
    some, of = data.rows(rows), groups[rows]
    features = likelihood_features(some.projected, some.information)
    continuous = np.empty(len(rows))
    for label, mixture in zip(labels, density.replicates, strict=True):
        continuous[of == label] = expected(some.rows(of == label), mixture)[1]
    candidates = density.mixture.drawn(CANDIDATES, rng)
    places: list[Array] = [np.empty((0, some.dimensions))] * len(labels)
    shares: list[Array] = [np.empty(0)] * len(labels)
    gains: list[Array] = []
    kept: list[tuple[Array, Array]] = []
    while len(gains) < MOST_POINTS and _goes_on(gains):
        check()
        gain = np.empty(len(rows))
        for side, label in enumerate(labels):
            left = of == label
            places[side], shares[side] = _one_more(
                features[~left], places[side], shares[side], candidates
            )
            gain[left] = _logs(features[left], places[side], shares[side])
        gains.append(gain - continuous)
        kept.append((places[0], shares[0]))
    best = _fewest(gains, some.images)
    apart = _apart(*kept[best], some.information.mean(axis=0, dtype=np.float64))
    counting = mean_and_error(gains[best], some.images)[1]
    return _judged(gains, best, counting, [of == label for label in labels], apart)


def _fewest(gains: list[Array], images: Array | None) -> int:
    """Place of the fewest points within a standard error of the best (Breiman et al. 1984)."""
    most = gains[int(np.argmax([gain.mean() for gain in gains]))]
    for place, gain in enumerate(gains):
        less, error = mean_and_error(most - gain, images)
        if less <= error:
            return place
    raise AssertionError("the best is within its own error")


def _goes_on(gains: list[Array]) -> bool:
    """Whether one of the last points made held-out particles more likely."""
    means = [float(gain.mean()) for gain in gains]
    return len(means) <= PATIENCE or int(np.argmax(means)) >= len(means) - PATIENCE


def _apart(points: Array, shares: Array, information: Array) -> float:
    """Distance to the nearest other point in errors, median over the particles."""
    if len(points) < 2:
        return float("inf")
    away = points[:, None] - points
    square = np.einsum("abi,ij,abj->ab", away, information, away)
    np.fill_diagonal(square, np.inf)
    nearest = np.sqrt(np.maximum(square.min(axis=1), 0))
    order = np.argsort(nearest)
    middle = int(np.searchsorted(np.cumsum(shares[order]), 0.5 * shares.sum()))
    return float(nearest[order[min(middle, len(order) - 1)]])


def _judged(
    gains: list[Array], best: int, counting: float, groups: list[Array], apart: float
) -> Discreteness:
    means = np.array([gain.mean() for gain in gains])
    each = np.array([gains[best][group].mean() for group in groups])
    between = float(each.std(ddof=1)) / np.sqrt(len(each)) if len(each) > 1 else 0.0
    error, difference = max(counting, between, 1e-12), float(means[best])
    verdict = UNSURE
    if difference < -BEYOND_CHANCE * error or apart < BLURRED:
        verdict = CONTINUUM
    elif difference > BEYOND_CHANCE * error and apart > RESOLVED:
        verdict = DISCRETE
    table = np.column_stack([np.arange(1, len(means) + 1), means])
    return Discreteness(verdict, best + 1, table, difference, error, apart)


def _logs(features: Array, points: Array, shares: Array) -> Array:
    """Log-likelihood (n,) of particles under a mixture of points."""
    every = features @ point_terms(points) + np.log(np.maximum(shares, 1e-300))
    top = every.max(axis=1)
    logs: Array = top + np.log(np.exp(every - top[:, None]).sum(axis=1))
    return logs


def _one_more(
    features: Array, points: Array, shares: Array, candidates: Array
) -> tuple[Array, Array]:
    """The mixture with the point that particles gain most from, after EM of all."""
    before = np.zeros(len(features)) if not len(points) else _logs(features, points, shares)
    gain = np.zeros(len(candidates))
    terms = point_terms(candidates)
    for begin in range(0, len(features), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        # a first point has nothing to gain over: the likelihood itself
        ratio = features[part] @ terms - before[part, None]
        gain += np.exp(np.minimum(ratio, 50.0)).sum(axis=0) if len(points) else ratio.sum(axis=0)
    new = candidates[int(gain.argmax())]
    share = 1 / (len(points) + 1)
    points = np.concatenate([points, new[None]])
    return improved_points(features, points, np.append(shares * (1 - share), share), steps=STEPS)
