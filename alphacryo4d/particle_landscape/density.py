"""Distribution of conformations, with as many Gaussians as held-out particles ask for.

Every group of particles is left out in turn. The other groups give a mixture, the group left out
says how likely it is, for every number of Gaussians. Numbers count by the likelihood of all
held-out particles under them, so that one number is taken where there is no doubt, and the mean of
several where particles cannot tell. The densities without a group are the samples of the
delete-one-group jackknife; the density is their mean, which is smoother than any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.words import plural
from alphacryo4d.landscape.energy import jackknife_error
from alphacryo4d.particle_landscape.mixture import (
    Fitted,
    GaussianMixture,
    Likelihoods,
    expected,
    one_gaussian,
    one_more,
)
from alphacryo4d.voting.losses import mean_and_error

PATIENCE = 2
"""Further Gaussians that are tried after held-out particles gained nothing."""
TRIAL_STEPS, STEPS, TRIAL_PARTICLES = 30, 300, 6_000
"""Steps of EM of every start that is tried and of the best of them; particles of the trials."""
_LEAST = 1e-3
"""Weight from which a number of Gaussians counts."""


@dataclass(frozen=True)
class Density:
    """Distribution of coordinates among the components.

    Attributes
    ----------
    mixture : GaussianMixture
        The density: the mean of the replicates.
    replicates : tuple of GaussianMixture
        One without each group of particles.
    table : (K, 4) float64
        Number of Gaussians; mean held-out log-likelihood of a particle above that of one Gaussian
        (nats); standard error of its difference to the best row; weight in the density.
    numbers : tuple of (GaussianMixture, float)
        The density of every number of Gaussians that counts, and its weight; they add up to 1.
    """

    mixture: GaussianMixture
    replicates: tuple[GaussianMixture, ...]
    table: Array
    numbers: tuple[tuple[GaussianMixture, float], ...] = ()

    @property
    def gaussians(self) -> int:
        """Number of Gaussians that held-out particles find most likely."""
        return int(self.table[self.table[:, 3].argmax(), 0])

    @property
    def gain(self) -> float:
        """Held-out log-likelihood per particle above that of one Gaussian, in nats."""
        return float(self.table[:, 1].max())

    def error(self, quantity: Callable[[GaussianMixture], Array]) -> Array:
        """Standard error of a quantity of the density.

        The delete-one-group jackknife, and in quadrature the spread between the numbers of
        Gaussians that held-out particles cannot tell apart.

        Parameters
        ----------
        quantity : callable
            An array of a fixed shape from a mixture.
        """
        sampling = jackknife_error(np.array([quantity(one) for one in self.replicates]))
        if not self.numbers:
            return sampling
        values = np.array([quantity(one) for one, _ in self.numbers])
        weights = np.array([weight for _, weight in self.numbers])
        away = values - np.tensordot(weights, values, 1)
        return np.asarray(np.sqrt(sampling**2 + np.tensordot(weights, away**2, 1)))


def fit_density(
    data: Likelihoods,
    groups: Array,
    *,
    most: int = 16,
    seed: int = 0,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
) -> Density:
    """Fit mixtures without each group, and weight them by what held-out particles say.

    Parameters
    ----------
    data : Likelihoods
        What data say of the coordinates of the particles.
    groups : (n,) int array
        Group of every particle, any labels, at least two of them.
    most : int
        Most Gaussians.
    seed : int
        Of the particles that starts are tried on.
    progress, check : callable
        Told how far the work is; called before every fit, stops the work by raising.
    """
    rng = np.random.default_rng(seed)
    sides = [_Side.of(data, groups == label, rng) for label in np.unique(groups)]
    fits = [one_gaussian(side.rest) for side in sides]
    history, values = [fits], [_heldout(data, fits, sides)]
    since = 0
    while len(history) < most and since < PATIENCE:
        progress(len(history), most, plural(len(history), "Gaussian"))
        check()
        fits = [
            one_more(side.rest, side.some, one.mixture, trial=TRIAL_STEPS, steps=STEPS)
            for side, one in zip(sides, history[-1], strict=True)
        ]
        value = _heldout(data, fits, sides)
        best = max(values, key=lambda likelihoods: float(likelihoods.sum()))
        history.append(fits)
        values.append(value)
        since = 0 if _above(value, best, data) else since + 1
    progress(1, 1)
    table = _table(values, data)
    replicates = tuple(
        mean_of([fits[side].mixture for fits in history], table[:, 3]) for side in range(len(sides))
    )
    even = np.full(len(sides), 1 / len(sides))
    numbers = tuple(
        (mean_of([one.mixture for one in fits], even), float(weight))
        for fits, weight in zip(history, table[:, 3], strict=True)
        if weight > 0
    )
    return Density(mean_of(replicates, even), replicates, table, numbers)


@dataclass(frozen=True)
class _Side:
    """Particles of all groups but one, some of them, and which the group is."""

    rest: Likelihoods
    some: Likelihoods
    left: Array

    @classmethod
    def of(cls, data: Likelihoods, left: Array, rng: np.random.Generator) -> _Side:
        rest = data.rows(~left)
        count = min(TRIAL_PARTICLES, len(rest))
        return cls(rest, rest.rows(np.sort(rng.choice(len(rest), count, replace=False))), left)


def _heldout(data: Likelihoods, fits: list[Fitted], sides: list[_Side]) -> Array:
    """Log-likelihood (n,) of every particle under the mixture that has not seen it."""
    likelihoods = np.empty(len(data))
    for fitted, side in zip(fits, sides, strict=True):
        likelihoods[side.left] = expected(data.rows(side.left), fitted.mixture)[1]
    return likelihoods


def _above(value: Array, other: Array, data: Likelihoods) -> bool:
    """Whether the particles are more likely by more than a standard error of the difference."""
    rise, error = mean_and_error(value - other, data.images)
    return rise > error


def _table(values: list[Array], data: Likelihoods) -> Array:
    """The table of :class:`Density` from held-out log-likelihoods by number of Gaussians."""
    means = np.array([float(value.sum()) for value in values]) / max(1, len(data))
    best = int(means.argmax())
    errors = np.array([mean_and_error(values[best] - value, data.images)[1] for value in values])
    weights = np.exp((means - means[best]) * data.independent)
    weights = np.where(weights < _LEAST, 0, weights)
    numbers = np.arange(1, len(values) + 1)
    return np.column_stack([numbers, means - means[0], errors, weights / weights.sum()])


def mean_of(mixtures: Sequence[GaussianMixture], weights: Array) -> GaussianMixture:
    """The weighted mean of several densities, a mixture of all their Gaussians."""
    pairs = [(one, weight) for one, weight in zip(mixtures, weights, strict=True) if weight > 0]
    return GaussianMixture(
        np.concatenate([weight * one.proportions for one, weight in pairs]),
        np.concatenate([one.means for one, _ in pairs]),
        np.concatenate([one.covariances for one, _ in pairs]),
    )
