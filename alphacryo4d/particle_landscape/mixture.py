"""Mixture of Gaussians behind data with known errors: extreme deconvolution by EM.

What the data say of the coordinates z of particle i is a normal likelihood with an information
matrix of its own. The distribution of z itself is a mixture of Gaussians; its likelihood is that of
the particles with their errors integrated out (Bovy, Hogg & Roweis 2011), so that what is found is
the distribution of conformations, not of blurred estimates. A particle without information changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import root_of_covariance
from alphacryo4d.maths.threads import in_ranges

_PARTS = 16
_FURTHEST = 16.0
"""Longest step of the extrapolation, in steps of EM."""
_MOST_APART = 23.0
"""Logarithm of the ratio (1e10) of widths of a Gaussian, and of proportions, that is computed."""
_RARE = 0.05
"""Proportion of a Gaussian that is tried as wide as all."""
RESOLUTION = 0.5
"""Standard deviation of the narrowest Gaussian, in typical errors of a particle."""


@dataclass(frozen=True)
class Likelihoods:
    """What the data say of the coordinates of particles: ``p . z - z . I . z / 2``.

    Attributes
    ----------
    projected : (n, d) float array
        p.
    information : (n, d, d) float array
        I, the inverse of the covariance of the error.
    workers : int
        Threads.
    images : (n,) int array, optional
        Image of each particle, where some are copies of one: these are not independent.
    """

    projected: Array
    information: Array
    workers: int = 1
    images: Array | None = None

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.projected)

    @property
    def dimensions(self) -> int:
        """Number of coordinates d."""
        return int(self.projected.shape[1])

    @property
    def independent(self) -> int:
        """Number of particles, of copies of an image one."""
        return len(self) if self.images is None else len(np.unique(self.images))

    def rows(self, chosen: Array) -> Likelihoods:
        """The same of some particles."""
        images = None if self.images is None else self.images[chosen]
        return Likelihoods(self.projected[chosen], self.information[chosen], self.workers, images)


@dataclass(frozen=True)
class GaussianMixture:
    """Mixture of K Gaussians in d dimensions.

    Attributes
    ----------
    proportions : (K,) float64
        They add up to 1.
    means : (K, d) float64
    covariances : (K, d, d) float64
    """

    proportions: Array
    means: Array
    covariances: Array

    def __len__(self) -> int:
        """Number of Gaussians."""
        return len(self.proportions)

    def mean_and_covariance(self) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d) of the whole distribution."""
        centre = self.proportions @ self.means
        away = self.means - centre
        spread = np.einsum("k,kij->ij", self.proportions, self.covariances)
        return centre, spread + (away * self.proportions[:, None]).T @ away

    def drawn(self, count: int, rng: np.random.Generator) -> Array:
        """Points (count, d) drawn from the distribution."""
        which = rng.choice(len(self), count, p=self.proportions)
        roots = np.linalg.cholesky(self.covariances)
        noise = rng.standard_normal((count, self.means.shape[1]))
        points: Array = self.means[which] + np.einsum("nij,nj->ni", roots[which], noise)
        return points


@dataclass(frozen=True)
class Fitted:
    """Outcome of a fit: the mixture, and the mean log-likelihood of a particle."""

    mixture: GaussianMixture
    value: float


def expected(
    data: Likelihoods, mixture: GaussianMixture, soft: Array | None = None
) -> tuple[Array, Array]:
    """Sums of posterior moments (K, 1 + d + d * d), and log-likelihoods (n,) of the particles.

    Likelihoods are those of the data over those of z = 0, whatever that is: differences count.
    ``soft`` (n, K) is filled with the posteriors of the Gaussians, where it is given.
    """
    from alphacryo4d.particle_landscape import kernels

    count, d = mixture.means.shape
    sums = kernels.plane_moments if d <= 2 else kernels.mixture_moments
    precisions = np.linalg.inv(mixture.covariances)
    slopes = np.einsum("kij,kj->ki", precisions, mixture.means)
    constants = np.log(np.maximum(mixture.proportions, 1e-300))
    constants -= 0.5 * np.linalg.slogdet(mixture.covariances)[1]
    constants -= 0.5 * np.einsum("ki,ki->k", slopes, mixture.means)
    soft = np.empty((0, count)) if soft is None else soft
    logs = np.empty(len(data))
    edges = [part * len(data) // _PARTS for part in range(_PARTS + 1)]
    moments = np.zeros((_PARTS, count, 1 + d + d * d))

    def work(first: int, last: int) -> None:
        for part in range(first, last):
            sums(
                edges[part], edges[part + 1], data.information, data.projected, precisions, slopes,
                constants, soft, moments[part], logs,
            )  # fmt: skip

    in_ranges(work, _PARTS, _PARTS, data.workers)
    return moments.sum(axis=0), logs


def maximised(moments: Array, root: Array) -> GaussianMixture:
    """Mixture that the moments ask for, with no Gaussian narrower than allowed.

    Parameters
    ----------
    moments : (K, 1 + d + d * d) array
        As of :func:`expected`.
    root : (d, d) array
        Cholesky factor of the narrowest covariance F allowed. The most likely covariance S with
        S - F positive has the eigenvalues of the sample covariance, in coordinates in which F is
        the unit matrix, raised to 1.
    """
    d = len(root)
    members = np.maximum(moments[:, 0], 1e-9)
    means = moments[:, 1 : 1 + d] / members[:, None]
    second = moments[:, 1 + d :].reshape(-1, d, d) / members[:, None, None]
    inverse = np.linalg.inv(root)
    inner = inverse @ (second - means[:, :, None] * means[:, None]) @ inverse.T
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.transpose(0, 2, 1)))
    half = root @ vectors * np.sqrt(np.maximum(values, 1.0))[:, None]
    return GaussianMixture(members / members.sum(), means, half @ half.transpose(0, 2, 1))


def narrowest(data: Likelihoods) -> Array:
    """Cholesky factor (d, d) of the narrowest covariance that data can tell from a narrower one.

    It is :data:`RESOLUTION` squared times the inverse of the mean information. Features that are
    much finer than the errors leave no trace in any likelihood; without a limit maximum likelihood
    is a set of points.
    """
    information = data.information.mean(axis=0, dtype=np.float64)
    d = len(information)
    information += 1e-6 * (np.trace(information) / d + 1e-12) * np.eye(d)
    return RESOLUTION * root_of_covariance(np.linalg.inv(information))


def improved(
    data: Likelihoods,
    mixture: GaussianMixture,
    *,
    steps: int,
    tolerance: float = 0.0,
) -> Fitted:
    """EM from a mixture, until a step gains less than ``tolerance`` nats in all, or ``steps``.

    EM is slow where errors are as large as what is sought. Every third step goes further along the
    way of the two before it (SQUAREM, Varadhan & Roland 2008), and is taken back where the
    likelihood falls.
    """
    floor = narrowest(data)
    best, value, moments = mixture, *_value(data, mixture)
    for _ in range(max(1, steps // 3)):
        before = value
        first = maximised(moments, floor)
        second = maximised(expected(data, first)[0], floor)
        far = _further(best, first, second)
        best, value, moments = far, *_value(data, far)
        if not value >= before:  # nor where it is no number
            best, value, moments = second, *_value(data, second)
        if value - before < tolerance:
            break
    return Fitted(best, value / max(1, len(data)))


def _value(data: Likelihoods, mixture: GaussianMixture) -> tuple[float, Array]:
    moments, logs = expected(data, mixture)
    return float(logs.sum()), moments


def _further(
    start: GaussianMixture, first: GaussianMixture, second: GaussianMixture
) -> GaussianMixture:
    """Where the way from ``start`` over ``first`` to ``second`` leads, extrapolated."""
    zero, one, two = (_coordinates(mixture) for mixture in (start, first, second))
    step, turn = one - zero, two - 2 * one + zero
    length = -float(np.linalg.norm(step) / (np.linalg.norm(turn) + 1e-300))
    length = min(-1.0, max(length, -_FURTHEST))
    place = zero - 2 * length * step + length**2 * turn
    return _mixture_at(place, len(start), start.means.shape[1])


def _coordinates(mixture: GaussianMixture) -> Array:
    """A mixture as one vector of any numbers: log proportions, means, logs of covariances."""
    values, vectors = np.linalg.eigh(mixture.covariances)
    logs = np.einsum("kia,ka,kja->kij", vectors, np.log(values), vectors)
    return np.concatenate([np.log(mixture.proportions), mixture.means.ravel(), logs.ravel()])


def _mixture_at(place: Array, count: int, d: int) -> GaussianMixture:
    """The mixture of such a vector, as far as it can be inverted: a way may lead too far."""
    shares = np.exp(np.maximum(place[:count] - place[:count].max(), -_MOST_APART))
    logs = place[count + count * d :].reshape(count, d, d)
    values, vectors = np.linalg.eigh(0.5 * (logs + logs.transpose(0, 2, 1)))
    values = np.clip(values, -_MOST_APART, _MOST_APART)
    values = np.maximum(values, values[:, -1:] - _MOST_APART)  # of a matrix, the largest is last
    covariances = np.einsum("kia,ka,kja->kij", vectors, np.exp(values), vectors)
    means = place[count : count + count * d].reshape(count, d)
    return GaussianMixture(shares / shares.sum(), means, covariances)


def one_gaussian(data: Likelihoods, *, steps: int = 50) -> Fitted:
    """The single Gaussian behind the data."""
    d = data.dimensions
    start = GaussianMixture(np.ones(1), np.zeros((1, d)), np.eye(d)[None])
    return improved(data, start, steps=steps, tolerance=1e-3)


def split(mixture: GaussianMixture, which: int, apart: float = 0.7) -> GaussianMixture:
    """The mixture with one Gaussian cut in two along its longest axis."""
    values, vectors = np.linalg.eigh(mixture.covariances[which])
    along = vectors[:, -1] * np.sqrt(values[-1])
    narrow = mixture.covariances[which] - apart**2 * np.outer(along, along)
    means = mixture.means[which] + apart * np.stack([along, -along])
    keep = np.arange(len(mixture)) != which
    half = np.full(2, mixture.proportions[which] / 2)
    return GaussianMixture(
        np.concatenate([mixture.proportions[keep], half]),
        np.concatenate([mixture.means[keep], means]),
        np.concatenate([mixture.covariances[keep], np.stack([narrow, narrow])]),
    )


def with_a_wide_one(mixture: GaussianMixture) -> GaussianMixture:
    """The mixture with a Gaussian as wide as all, of few particles: what lies between others."""
    centre, whole = mixture.mean_and_covariance()
    return GaussianMixture(
        np.append(mixture.proportions * (1 - _RARE), _RARE),
        np.concatenate([mixture.means, centre[None]]),
        np.concatenate([mixture.covariances, whole[None]]),
    )


def one_more(
    data: Likelihoods, some: Likelihoods, mixture: GaussianMixture, *, trial: int, steps: int
) -> Fitted:
    """The best mixture with one Gaussian more: every Gaussian is split, a wide one is added.

    Starts are tried on ``some`` of the particles; the best goes on with all of them.
    """
    starts = [split(mixture, k) for k in range(len(mixture))] + [with_a_wide_one(mixture)]
    tried = [improved(some, start, steps=trial) for start in starts]
    best = max(tried, key=lambda fitted: fitted.value)
    return improved(data, best.mixture, steps=steps, tolerance=0.02)
