"""Search for the mixture of the best likelihood: several starts, then splits and mergers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import stretched_direction
from alphacryo4d.ml3d.mixture import LatentParticles, Mixture
from alphacryo4d.ml3d.mixture_rounds import refine_mixture
from alphacryo4d.ml3d.points import spread_points

FEW, SOME, MANY = 12_000, 20_000, 20_000
LONGER, PATIENCE, AROUND = 3, 15.0, 5
"""How long a trial of a split and a merger may take, see :func:`_relaxed` and :func:`_tried`."""
ANEW = -1
"""Number of the points of a move in which all were found anew."""


class Move(NamedTuple):
    """Two points were merged and a third was split; numbers of points as they are on the way.

    Attributes
    ----------
    merged : int
        Point in the middle of this and the next one.
    freed : int
        Place that the merger freed; half of ``halved`` has it now.
    halved : int
        Point that became two.
    gain : float
        Rise of the mean log-likelihood (nats a particle).
    """

    merged: int
    freed: int
    halved: int
    gain: float


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
        excess[k], direction = stretched_direction(score, share, known)
        information = direction @ known @ direction / share.sum()
        variance = max(excess[k], 0.05) / max(information, 1e-12)
        steps[k] = direction / np.linalg.norm(direction)
        steps[k] *= np.sqrt(variance * np.square(np.linalg.norm(direction)))
    return excess, steps


def split_and_merge(
    particles: LatentParticles,
    points: Array,
    *,
    trials: int = 20,
    steps: int = 8,
    least: float = 1e-5,
) -> tuple[Array, list[Move]]:
    """Points of a better likelihood: two that overlap become one, one that holds two is split.

    EM ends in the next local maximum, where as a rule one state has two classes and two others
    share one. Pairs that overlap most and classes whose particles differ most are tried in
    turn; a trial stays when the likelihood gets better by EM iterations, and ends early when it
    clearly does not. All ends after ``trials`` failures in a row, or three times as many trials.
    A move counts that raises the mean log-likelihood by more than ``least`` (nats a particle). With
    two points there is no third to split, and they are only iterated.

    Returns
    -------
    points : (K, q) array
    moves : list of Move
        What stayed, in its order. The proportions, where there are any, are those of
        the points.
    """
    failed, tried, candidates = 0, 0, None
    pairs = np.triu_indices(len(points), 1)
    moves: list[Move] = []
    points, value = _relaxed(particles, points, steps, -np.inf)
    while failed < trials and tried < 3 * trials:
        if candidates is None:
            soft = particles.posteriors(points)
            size = np.linalg.norm(soft, axis=0) + 1e-12
            overlap = ((soft / size).T @ (soft / size))[pairs]
            excess, offsets = _split_directions(particles, points, soft)
            nearest = np.argsort(-overlap)[:6]
            splits = np.argsort(-excess)[:6]
            ranks = [(i + j, i, j) for i in range(len(nearest)) for j in range(len(splits))]
            candidates = [
                (pairs[0][nearest[i]], pairs[1][nearest[i]], splits[j]) for _, i, j in sorted(ranks)
            ]
            candidates = [c for c in candidates if c[2] not in c[:2]]
        if not candidates:
            break
        tried += 1
        first, second, split = candidates.pop(0)
        trial, proportions = points.copy(), particles.proportions
        trial[first] = 0.5 * (points[first] + points[second])
        trial[second] = points[split] + offsets[split]
        trial[split] = points[split] - offsets[split]
        particles.proportions = _moved_proportions(proportions, first, second, split)
        trial, better = _tried(particles, trial, [first, second, split], steps, value)
        if better > value + least:
            moves.append(Move(int(first), int(second), int(split), better - value))
            points, value, candidates, failed = trial, better, None, 0
        else:
            particles.proportions = proportions
            failed += 1
    return points, moves


def _moved_proportions(
    proportions: Array | None, first: int, second: int, split: int
) -> Array | None:
    """Shares after a merger of two points, and with half of a third in the place of the second."""
    if proportions is None:
        return None
    moved = proportions.copy()
    moved[first] += proportions[second]
    moved[[second, split]] = 0.5 * proportions[split]
    return moved


def _tried(
    particles: LatentParticles, points: Array, moving: list[int], steps: int, best: float
) -> tuple[Array, float]:
    """Points after some EM iterations and their likelihood; those that ``moving`` names go first.

    What the others add to the likelihood is known, so that these iterations cost little. A trial
    that cannot reach ``best`` ends there.
    """
    others = np.delete(np.arange(len(points)), moving)
    if len(others) < len(moving):
        return _relaxed(particles, points, steps, best)
    weights = particles.weights(len(points))
    rest = particles.log_likelihoods(points[others], weights[others])
    some, before = points[moving], -np.inf
    for step in range(AROUND + 1):
        moved, value = particles.step_of_some(some, weights[moving], rest)
        if step > 2 and best - value > PATIENCE * (value - before):
            return points, value
        some, before = moved, value
    points = points.copy()
    points[moving] = some
    return _relaxed(particles, points, steps, best)


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
    mixtures = []
    for _ in range(int(np.clip(60 // count, 2, 8))):
        particles.set_scatter(np.eye(particles.count))
        points = spread_points(coordinates, count, rng)
        mixtures.append(refine_mixture(particles, particles, points, rounds, 3))
    return max(mixtures, key=lambda mixture: mixture.value)


def fit_mixture(
    particles: LatentParticles,
    coordinates: Array,
    count: int,
    rng: np.random.Generator,
    *,
    starts: int = 6,
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
    points, _ = split_and_merge(some, best.points, trials=trials)
    best = refine_mixture(many, fewer, points, rounds, 3)
    particles.set_scatter(best.scatter)
    for _ in range(last):
        best.points, best.value = particles.step(best.points)
    return best
