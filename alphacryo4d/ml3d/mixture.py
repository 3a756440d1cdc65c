"""Mixture in the space of the principal components: the classes before any volume is made.

A class is a point of the latent space, that is a volume of the subspace. Particles of a class
scatter about its point with one covariance that all classes share: components also carry what
differs from particle to particle within a state, such as the errors of the poses (to first order
three rotations and three shifts are components of their own), and without this scatter they
would be taken for classes. The likelihood of a particle given a point is a small quadratic form,
so that many starts and iterations cost little.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.compiled.latent import posterior_covariances

_BLOCK = 2048
"""Particles of one product of matrices: few enough that the posteriors stay in the cache."""
_LOWEST = np.float32(-80.0)
"""Lowest log of a posterior: products of smaller numbers are slow, and change nothing."""


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
    proportions : (K,) array or None
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
        # one feature more, which is 1, carries the log of the proportions
        self.features = np.ones((len(projected), self.used + 1), np.float32)
        self.proportions: Array | None = None
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

    def _by_block(self, function: Callable[[int, int, int], None]) -> int:
        """Call ``function(block, begin, end)`` for fixed blocks in threads; gives their number.

        A product of matrices runs in the thread that asks for it.
        """
        n = len(self.projected)
        blocks = max(1, -(-n // _BLOCK))

        def work(first: int, last: int) -> None:
            for block in range(first, last):
                function(block, block * n // blocks, (block + 1) * n // blocks)

        with _threadpools().limit(limits=1, user_api="blas"):
            in_ranges(work, blocks, blocks, self.workers)
        return blocks

    def _inverses(self, begin: int, end: int) -> tuple[Array, Array]:
        """Covariances (n, q, q) of coordinates about their point, given the particles; logs."""
        size, q = end - begin, self.count
        covariances, logs = np.empty((size, q, q)), np.empty(size)
        posterior_covariances(begin, end, self.information, self.precision, covariances, logs)
        return covariances, logs

    def set_scatter(self, scatter: Array) -> None:
        """Let particles scatter about their points with a covariance (q, q).

        The log-likelihood of a point m becomes ``b . m - m . G . m / 2`` with ``b = P S p`` and
        ``G = P - P S P``, where P is the inverse of the covariance, p what was projected and
        S = inverse(information + P). The features are b and the upper triangle of -G, halved on
        the diagonal.
        """
        self.precision = np.linalg.inv(scatter)
        p, q = self.precision, self.count
        turned = -self.half * np.kron(p, p).reshape(q, q, q, q)[..., self.row, self.column]
        turned = (turned + turned.swapaxes(0, 1))[self.row, self.column] * self.half[:, None]
        fixed = -self.half * p[self.row, self.column]
        values: dict[int, float] = {}

        def work(block: int, begin: int, end: int) -> None:
            covariances, logs = self._inverses(begin, end)
            projected = self.projected[begin:end].astype(np.float64)
            moved = np.matmul(covariances, projected[..., None])[..., 0]
            out = self.features[begin:end]
            out[:, :q] = moved @ p
            triangles = covariances[:, self.row, self.column]
            np.subtract(fixed, triangles @ turned, out=out[:, q : self.used], casting="same_kind")
            values[block] = 0.5 * float(np.sum(moved * projected) - logs.sum())

        blocks = self._by_block(work)
        size = max(1, len(self.projected))
        total = sum(values[block] for block in range(blocks))
        self.constant = total / size - 0.5 * float(np.linalg.slogdet(scatter)[1])

    def weights(self, count: int) -> Array:
        """Prior probabilities of some points."""
        return np.full(count, 1 / count) if self.proportions is None else self.proportions

    def _sums(
        self,
        points: Array,
        weights: Array,
        temperature: float = 1.0,
        *,
        rest: Array | None = None,
        soft: Array | None = None,
        logs: Array | None = None,
    ) -> tuple[Array, float]:
        """Sums (K, used + 1) of the features, weighted by the posteriors; the mean likelihood.

        ``rest`` (n,) is the log-likelihood of points that are not among these. ``soft`` (n, K) is
        filled with the posteriors, ``logs`` (n,) with the log-likelihoods of the particles.
        """
        square = points[:, self.row] * points[:, self.column]
        lines = np.concatenate([points, square, np.log(weights)[:, None]], axis=1)
        lines = (lines / temperature).astype(np.float32)
        parts: dict[int, Array] = {}
        values: dict[int, float] = {}

        def work(block: int, begin: int, end: int) -> None:
            features = self.features[begin:end]
            score = lines @ features.T
            top = score.max(axis=0)
            if rest is not None:
                np.maximum(top, rest[begin:end], out=top)
            score -= top
            np.exp(np.maximum(score, _LOWEST, out=score), out=score)
            norm = score.sum(axis=0)
            if rest is not None:
                norm += np.exp(np.maximum(rest[begin:end] - top, _LOWEST))
            score /= norm
            likelihoods = top + np.log(norm)
            values[block] = float(likelihoods.sum(dtype=np.float64))
            parts[block] = score @ features
            if soft is not None:
                soft[begin:end] = score.T
            if logs is not None:
                logs[begin:end] = likelihoods

        blocks = self._by_block(work)
        total = np.stack([parts[k] for k in range(blocks)]).sum(axis=0, dtype=np.float64)
        mean = sum(values[block] for block in range(blocks)) / max(1, len(self.features))
        return total, mean

    def _moved(self, sums: Array) -> Array:
        """Points (K, q) of the highest posterior, given the sums of the features."""
        matrices = np.zeros((len(sums), self.count, self.count))
        packed = -sums[:, self.count : self.used] / self.half
        matrices[:, self.row, self.column] = packed
        matrices[:, self.column, self.row] = packed
        matrices += np.eye(self.count)  # sums of positive matrices and the prior: never singular
        return np.asarray(np.linalg.solve(matrices, sums[:, : self.count, None])[..., 0])

    def step(self, points: Array, temperature: float = 1.0) -> tuple[Array, float]:
        """One EM iteration: new points (K, q) and the mean log-likelihood of the old ones.

        Where there are ``proportions`` of the points, they are set anew as well.
        """
        sums, value = self._sums(points, self.weights(len(points)), temperature)
        if self.proportions is not None:
            members = sums[:, self.used] + 1.0
            self.proportions = members / members.sum()
        return self._moved(sums), value + self.constant

    def step_of_some(self, points: Array, weights: Array, rest: Array) -> tuple[Array, float]:
        """The same of some points, while the others and all weights stay.

        ``rest`` (n,) are the :meth:`log_likelihoods` of the others.
        """
        sums, value = self._sums(points, weights, rest=rest)
        return self._moved(sums), value + self.constant

    def log_likelihoods(self, points: Array, weights: Array) -> Array:
        """Of every particle, up to a constant of its own, (n,) float32."""
        logs = np.empty(len(self.features), np.float32)
        self._sums(points, weights, logs=logs)
        return logs

    def posteriors(self, points: Array) -> Array:
        """Posteriors of the points, (n, K) float32."""
        soft = np.empty((len(self.features), len(points)), np.float32)
        self._sums(points, self.weights(len(points)), soft=soft)
        return soft

    def scatter_about(self, points: Array) -> Array:
        """Maximum-likelihood scatter of the particles about their points, (q, q).

        The point of a particle is drawn from its posteriors, which leaves the expectation as it
        is and spares the moments over all points. The draws are the same every time.
        """
        ladder = np.cumsum(self.posteriors(points), axis=1)
        draw = np.random.default_rng(0).random((len(ladder), 1)) * ladder[:, -1:]
        chosen = points[np.minimum((ladder < draw).sum(axis=1), len(points) - 1)]
        parts: dict[int, Array] = {}

        def work(block: int, begin: int, end: int) -> None:
            covariances, _ = self._inverses(begin, end)
            near = chosen[begin:end] @ self.precision + self.projected[begin:end]
            away = np.matmul(covariances, near[..., None])[..., 0] - chosen[begin:end]
            parts[block] = covariances.sum(axis=0) + away.T @ away

        blocks = self._by_block(work)
        mean = np.stack([parts[k] for k in range(blocks)]).sum(axis=0) / max(1, len(chosen))
        return np.asarray(0.5 * (mean + mean.T))

    def known_of_scatter(self) -> Array:
        """Mean of ``D P D``, D what a particle takes off the scatter and P its inverse, (q, q)."""
        now = np.linalg.inv(self.precision)
        parts: dict[int, Array] = {}

        def work(block: int, begin: int, end: int) -> None:
            off = now - self._inverses(begin, end)[0]
            parts[block] = np.tensordot(off @ self.precision, off, ([0, 2], [0, 1]))

        blocks = self._by_block(work)
        mean = np.stack([parts[k] for k in range(blocks)]).sum(axis=0) / max(1, len(self.projected))
        return np.asarray(0.5 * (mean + mean.T))


@functools.cache
def _threadpools() -> Any:
    """The libraries of linear algebra that are loaded: to look for them takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
