"""Mixture in the space of the principal components: the classes before any volume is made.

A class is a point of the latent space, that is a volume of the subspace. Particles of a class
scatter about its point with one covariance that all classes share: components also carry what
differs from particle to particle within a state, such as the errors of the poses (to first order
three rotations and three shifts are components of their own), and without this scatter they
would be taken for classes. The likelihood of a particle given a point is a small quadratic form,
so that many starts and iterations cost little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.compiled.latent import marginal_features, mixture_sums, scatter_sums
from alphacryo4d.ml3d.compiled.vector import whole_vectors

Array = np.ndarray[Any, Any]
_PARTS = 8


@dataclass
class Mixture:
    """Points of the latent space, and the scatter of particles about them.

    Attributes
    ----------
    points : (K, q) float64
    scatter : (q, q) float64
        Covariance of the coordinates within a class.
    value : float
        Mean log-likelihood of the particles.
    """

    points: Array
    scatter: Array
    value: float


class LatentParticles:
    """What the data say about the coordinates of every particle.

    Parameters
    ----------
    information : (n, q, q) array
    projected : (n, q) array
        The log-likelihood of coordinates z is ``projected . z - z . information . z / 2``.
    workers : int
        Threads.

    Attributes
    ----------
    shares : (K,) array or None
        Prior probabilities of the points; all the same where None.
    """

    def __init__(self, information: Array, projected: Array, workers: int = 1) -> None:
        self.information = np.ascontiguousarray(information, dtype=np.float32)
        self.projected = np.ascontiguousarray(projected, dtype=np.float32)
        self.count = projected.shape[1]
        self.workers = workers
        self.row, self.column = np.triu_indices(self.count)
        self.half = np.where(self.row == self.column, 0.5, 1.0)
        self.used = self.count + len(self.row)
        # one feature more, which is 1, carries the log of the shares
        self.features = np.zeros((len(projected), -(-(self.used + 1) // 4) * 4), np.float32)
        self.features[:, self.used] = 1
        self.shares: Array | None = None
        self.constant = 0.0
        self.set_scatter(np.eye(self.count))

    def drawn(self, count: int, rng: np.random.Generator) -> Array:
        """At most ``count`` of the particles, drawn at random; ascending."""
        size = len(self.projected)
        if count >= size:
            return np.arange(size)
        return np.asarray(np.sort(rng.choice(size, count, replace=False)))

    def rows(self, chosen: Array) -> LatentParticles:
        """The same of some particles, with a scatter of their own."""
        return LatentParticles(self.information[chosen], self.projected[chosen], self.workers)

    def some(self, count: int, rng: np.random.Generator) -> LatentParticles:
        """At most ``count`` of the particles, drawn at random."""
        if count >= len(self.projected):
            return self
        return self.rows(self.drawn(count, rng))

    def _ranges(self) -> list[tuple[int, int]]:
        n = len(self.projected)
        return [(p * n // _PARTS, (p + 1) * n // _PARTS) for p in range(_PARTS)]

    def set_scatter(self, scatter: Array) -> None:
        """Let particles scatter about their points with a covariance (q, q)."""
        self.precision = np.linalg.inv(scatter)
        values = np.zeros((_PARTS, 1))
        ranges = self._ranges()

        def work(begin: int, end: int) -> None:
            for p in range(begin, end):
                marginal_features(
                    *ranges[p], self.information, self.projected, self.precision, self.features,
                    values[p],
                )  # fmt: skip

        in_ranges(work, _PARTS, _PARTS, self.workers)
        size = max(1, len(self.projected))
        self.constant = float(values.sum()) / size - 0.5 * float(np.linalg.slogdet(scatter)[1])

    def _sums(self, points: Array, temperature: float, soft: Array) -> tuple[Array, float]:
        square = points[:, self.row] * points[:, self.column]
        lines = np.concatenate([points, square], axis=1).T
        classes, columns = len(points), whole_vectors(len(points))
        wide = np.zeros((self.features.shape[1], columns), np.float32)
        wide[: self.used, :classes] = lines
        shares = np.full(classes, 1 / classes) if self.shares is None else self.shares
        wide[self.used, :classes] = np.log(shares)
        sums = np.zeros((_PARTS, wide.size), np.float32)
        values = np.zeros((_PARTS, 1))
        ranges, inverse = self._ranges(), np.float32(1.0 / temperature)

        def work(begin: int, end: int) -> None:
            for p in range(begin, end):
                mixture_sums(
                    *ranges[p], self.features, wide.ravel(), classes, inverse, soft, sums[p],
                    values[p],
                )  # fmt: skip

        in_ranges(work, _PARTS, _PARTS, self.workers)
        mean = float(values.sum()) / max(1, len(self.features))
        total = sums.sum(axis=0, dtype=np.float64).reshape(wide.shape)[: self.used + 1, :classes]
        return total.T, mean

    def step(self, points: Array, temperature: float = 1.0) -> tuple[Array, float]:
        """One EM iteration: new points (K, q) and the mean log-likelihood of the old ones.

        Where there are ``shares`` of the points, they are set anew as well.
        """
        nothing = np.empty((0, len(points)), np.float32)
        sums, value = self._sums(points, temperature, nothing)
        matrices = np.zeros((len(points), self.count, self.count))
        packed = -sums[:, self.count : self.used] / self.half
        matrices[:, self.row, self.column] = packed
        matrices[:, self.column, self.row] = packed
        matrices += np.eye(self.count)
        if self.shares is not None:
            members = sums[:, self.used] + 1.0
            self.shares = members / members.sum()
        moved = np.linalg.solve(matrices, sums[:, : self.count, None])[..., 0]
        return moved, value + self.constant

    def posteriors(self, points: Array) -> Array:
        """Posteriors of the points, (n, K) float32."""
        soft = np.empty((len(self.features), len(points)), np.float32)
        self._sums(points, 1.0, soft)
        return soft

    def scatter_about(self, points: Array) -> Array:
        """Maximum-likelihood scatter of the particles about their points, (q, q).

        The point of a particle is drawn from its posteriors, which leaves the expectation as it
        is and spares the moments over all points. The draws are the same every time.
        """
        ladder = np.cumsum(self.posteriors(points), axis=1)
        draw = np.random.default_rng(0).random((len(ladder), 1)) * ladder[:, -1:]
        chosen = points[np.minimum((ladder < draw).sum(axis=1), len(points) - 1)]
        sums = np.zeros((_PARTS, self.count, self.count))
        ranges = self._ranges()

        def work(begin: int, end: int) -> None:
            for p in range(begin, end):
                scatter_sums(
                    *ranges[p], self.information, self.projected, self.precision, chosen, sums[p]
                )

        in_ranges(work, _PARTS, _PARTS, self.workers)
        mean: Array = sums.sum(axis=0) / max(1, len(chosen))
        return 0.5 * (mean + mean.T)


def spread_points(coordinates: Array, count: int, rng: np.random.Generator) -> Array:
    """Particles' coordinates far from each other (the k-means++ rule), (count, q)."""
    points = [coordinates[rng.integers(len(coordinates))]]
    square = np.sum((coordinates - points[0]) ** 2, axis=1, dtype=np.float64)
    for _ in range(count - 1):
        total = square.sum()
        chances = square / total if total > 0 else None
        chosen = rng.choice(len(coordinates), p=chances)
        points.append(coordinates[chosen])
        new = np.sum((coordinates - points[-1]) ** 2, axis=1, dtype=np.float64)
        square = np.minimum(square, new)
    return np.array(points, dtype=np.float64)


def _further(before: Array, after: Array, factor: float = 1.8) -> Array:
    """Covariance ``factor`` times as far (in its logarithm) from ``before`` as ``after`` is."""
    root = np.linalg.cholesky(before)
    inner = np.linalg.solve(root, np.linalg.solve(root, after).T)
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
    half = root @ vectors * np.maximum(values, 1e-6) ** (0.5 * factor)
    moved: Array = half @ half.T
    return moved


def refine_mixture(
    particles: LatentParticles, fewer: LatentParticles, points: Array, rounds: int, steps: int
) -> Mixture:
    """Rounds of ``steps`` EM iterations of the points, then one of the scatter by ``fewer``."""
    value = -np.inf
    for _ in range(rounds):
        for _ in range(steps):
            points, value = particles.step(points)
        before = np.linalg.inv(fewer.precision)
        fewer.shares = particles.shares
        fewer.set_scatter(_further(before, fewer.scatter_about(points)))
        if particles is not fewer:
            particles.set_scatter(np.linalg.inv(fewer.precision))
    return Mixture(points, np.linalg.inv(fewer.precision), value)


def grouped_points(points: Array, levels: tuple[int, ...]) -> Array:
    """Points in the order of a hierarchy: children of one parent are neighbours.

    Every level cuts its points into equal parts along the direction in which they differ most.

    Parameters
    ----------
    points : (K, q) array
    levels : tuple of int
        Numbers of parts, level by level; their product is K.
    """
    if len(levels) < 2 or len(points) < 2:
        return points
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axis = axes[0] * np.sign(axes[0][np.abs(axes[0]).argmax()])
    ranked = points[np.argsort(centred @ axis, kind="stable")]
    parts = ranked.reshape(levels[0], -1, points.shape[1])
    return np.concatenate([grouped_points(part, levels[1:]) for part in parts])
