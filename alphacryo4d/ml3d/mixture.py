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

from alphacryo4d.ml3d.kernels_latent import marginal_features, mixture_sums, scatter_sums
from alphacryo4d.ml3d.kernels_linear import in_ranges
from alphacryo4d.ml3d.kernels_vector import whole_vectors

Array = np.ndarray[Any, Any]
_PARTS = 8
FEW, SOME, MANY = 8_000, 12_000, 20_000
LONGER, PATIENCE = 3, 7.0
"""How long a trial of a split and a merger may take, see :func:`_relaxed`."""


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

    def some(self, count: int, rng: np.random.Generator) -> LatentParticles:
        """At most ``count`` of the particles, drawn at random."""
        if count >= len(self.projected):
            return self
        rows = np.sort(rng.choice(len(self.projected), count, replace=False))
        return LatentParticles(self.information[rows], self.projected[rows], self.workers)

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


def gradient_of_pairs(point: Array, particles: LatentParticles) -> Array:
    """Derivative (pairs, q) of the products of a point's coordinates, pair by pair."""
    q, every = particles.count, np.arange(len(particles.row))
    gradient = np.zeros((len(every), q))
    np.add.at(gradient, (every, particles.row), point[particles.column])
    np.add.at(gradient, (every, particles.column), point[particles.row])
    return gradient


def _split_directions(
    particles: LatentParticles, points: Array, soft: Array
) -> tuple[Array, Array]:
    """How much the particles of a class differ beyond the model, and in which direction.

    For a particle of class m the score ``b - G m`` has covariance G; what is beyond it, relative
    to the summed G of the class, has a largest eigenvalue and its direction.

    Returns
    -------
    excess : (K,) float64
    steps : (K, q) float64
        Direction, as long as the particles differ along it (one standard deviation).
    """
    q, features = particles.count, particles.features
    excess, steps = np.zeros(len(points)), np.zeros((len(points), q))
    for k, point in enumerate(points):
        rows = np.flatnonzero(soft[:, k] > 0.05)
        if len(rows) <= q:
            continue
        share = soft[rows, k].astype(np.float64)
        mine = features[rows, : particles.used].astype(np.float64)
        gradient = gradient_of_pairs(point, particles)
        score = mine[:, :q] + np.einsum("np,pa->na", mine[:, q:], gradient)
        known = np.zeros((q, q))
        known[particles.row, particles.column] = -(share @ mine[:, q:]) / particles.half
        known = np.triu(known) + np.triu(known, 1).T
        beyond = (score * share[:, None]).T @ score - known
        root = np.linalg.cholesky(known + 1e-6 * np.trace(known) / q * np.eye(q))
        inner = np.linalg.solve(root, np.linalg.solve(root, beyond).T)
        values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
        excess[k] = values[-1]
        direction = np.linalg.solve(root.T, vectors[:, -1])
        information = direction @ known @ direction / share.sum()
        variance = max(values[-1], 0.05) / max(information, 1e-12)
        steps[k] = direction / np.linalg.norm(direction)
        steps[k] *= np.sqrt(variance * np.square(np.linalg.norm(direction)))
    return excess, steps


def split_and_merge(
    particles: LatentParticles, points: Array, *, trials: int = 20, steps: int = 8
) -> Array:
    """Points of a better likelihood: two that overlap become one, one that holds two is split.

    EM ends in the next local maximum, where as a rule one state has two classes and two others
    share one. Pairs that overlap most and classes whose particles differ most are tried in
    turn; a trial stays when the likelihood gets better by EM iterations, and ends early when it
    clearly does not. All ends after ``trials`` failures in a row, or three times as many trials.
    """
    failed, tried, candidates = 0, 0, None
    points, value = _relaxed(particles, points, steps, -np.inf)
    while failed < trials and tried < 3 * trials:
        if candidates is None:
            soft = particles.posteriors(points)
            size = np.linalg.norm(soft, axis=0) + 1e-12
            overlap = np.triu((soft / size).T @ (soft / size), 1)
            excess, moves = _split_directions(particles, points, soft)
            pairs = np.argsort(-overlap, axis=None)[:6]
            splits = np.argsort(-excess)[:6]
            ranks = [(i + j, i, j) for i in range(len(pairs)) for j in range(len(splits))]
            candidates = [
                (*np.unravel_index(pairs[i], overlap.shape), splits[j]) for _, i, j in sorted(ranks)
            ]
            candidates = [c for c in candidates if c[2] not in c[:2]]
        if not candidates:
            break
        tried += 1
        first, second, split = candidates.pop(0)
        trial = points.copy()
        trial[first] = 0.5 * (points[first] + points[second])
        trial[second] = points[split] + moves[split]
        trial[split] = points[split] - moves[split]
        trial, better = _relaxed(particles, trial, steps, value)
        if better > value + 1e-5:
            points, value, candidates, failed = trial, better, None, 0
        else:
            failed += 1
    return points


def _relaxed(
    particles: LatentParticles, points: Array, steps: int, best: float
) -> tuple[Array, float]:
    """Points after ``steps`` EM iterations and their likelihood.

    It takes up to ``LONGER`` times as many to exceed ``best``, but stops where the last gain would
    have to be repeated more than ``PATIENCE`` times for that.
    """
    before = -np.inf
    for step in range(LONGER * steps + 1):
        moved, value = particles.step(points)
        hopeless = step > 2 and best - value > PATIENCE * (value - before)
        if hopeless or (step >= steps and value > best):
            break
        points, before = moved, value
    return points, value


def _first_mixture(
    particles: LatentParticles,
    coordinates: Array,
    count: int,
    rng: np.random.Generator,
    rounds: int,
) -> Mixture:
    """Points and their scatter of the best likelihood of several starts.

    What a scatter once takes for the spread within the classes stays in it. Starts end far apart
    where points are few: there are more of them then.
    """
    found = []
    for _ in range(int(np.clip(60 // count, 2, 8))):
        particles.set_scatter(np.eye(particles.count))
        points = spread_points(coordinates, count, rng)
        found.append(refine_mixture(particles, particles, points, rounds, 3))
    return max(found, key=lambda mixture: mixture.value)


def fit_mixture(
    particles: LatentParticles,
    coordinates: Array,
    count: int,
    rng: np.random.Generator,
    *,
    starts: int = 4,
    trials: int = 20,
    last: int = 5,
    steps: int = 20,
    rounds: int = 10,
    temperature: float = 6.0,
) -> Mixture:
    """Mixture of the best likelihood of several annealed starts.

    The scatter starts wide (all variance) and is found together with the points of the best of
    some first starts; then points start anew under this scatter, with some of the particles, and
    the best is refined with all.

    Parameters
    ----------
    particles : LatentParticles
    coordinates : (n, q) array
        Posterior means of the particles, from which starts are drawn.
    count : int
        Points.
    rng : Generator
    starts, steps : int
        Starts of ``steps`` iterations each under a fixed scatter.
    rounds : int
        Rounds of refinement before and after the starts.
    temperature : float
        At which a start begins; it cools to 1.
    """
    cooling = np.geomspace(temperature, 1.0, max(1, steps - steps // 4))
    schedule = np.concatenate([cooling, np.ones(steps - len(cooling))])
    fewer = particles.some(FEW, rng)
    best = _first_mixture(fewer, coordinates, count, rng, rounds)
    fewer.set_scatter(best.scatter)
    best.value = -np.inf
    few = particles.some(max(FEW, 300 * count), rng)
    few.set_scatter(best.scatter)
    for _ in range(starts):
        points = spread_points(coordinates, count, rng)
        value = -np.inf
        for hot in schedule:
            points, value = few.step(points, float(hot))
        if value > best.value:
            best = Mixture(points, best.scatter, value)
    many = particles.some(max(MANY, 1000 * count), rng)
    many.set_scatter(best.scatter)
    best = refine_mixture(many, fewer, best.points, 2, 3)
    some = many.some(max(SOME, 600 * count), rng)
    if some is not many:
        some.set_scatter(best.scatter)
    points = split_and_merge(some, best.points, trials=trials)
    best = refine_mixture(many, fewer, points, rounds, 3)
    particles.set_scatter(best.scatter)
    for _ in range(last):
        best.points, best.value = particles.step(best.points)
    return best
