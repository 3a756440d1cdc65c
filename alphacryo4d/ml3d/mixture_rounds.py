"""Rounds of EM of points and their scatter, and how far the scatter goes in each."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import root_of_covariance
from alphacryo4d.ml3d.mixture import LatentParticles, Mixture

FASTER = 1.8
"""How much further than EM: classes that are unknown as well slow EM down."""
FARTHEST = np.log(3.0)
"""Largest change of the logarithm of a variance in a Newton step."""
MEMBERS, VARIANCE = 10, 0.1
"""Prior of the scatter in Newton steps: so many particles more, which scatter by this variance."""


def refine_mixture(
    particles: LatentParticles,
    fewer: LatentParticles,
    points: Array,
    rounds: int,
    steps: int,
    *,
    newton: bool = False,
) -> Mixture:
    """Rounds of ``steps`` EM iterations of the points, then one of the scatter by ``fewer``.

    ``newton`` brings the scatter to its end also where particles hardly know it, so that the
    likelihoods of mixtures from different starts can be compared.
    """
    value = -np.inf
    for _ in range(rounds):
        for _ in range(steps):
            points, value = particles.step(points)
        before = np.linalg.inv(fewer.precision)
        fewer.proportions = particles.proportions
        after = fewer.scatter_about(points)
        if newton:
            known, size = fewer.known_of_scatter(), len(fewer.projected)
            fewer.set_scatter(newton_scatter(before, after, known, size))
        else:
            fewer.set_scatter(next_scatter(before, after))
        if particles is not fewer:
            particles.set_scatter(np.linalg.inv(fewer.precision))
    return Mixture(points, np.linalg.inv(fewer.precision), value)


def next_scatter(before: Array, after: Array) -> Array:
    """Scatter ``FASTER`` times as far (in its logarithm) from ``before`` as EM goes, ``after``."""
    root = root_of_covariance(before)
    return _moved(root, FASTER * _logarithm(_relative(root, after)))


def newton_scatter(before: Array, after: Array, known: Array, count: int) -> Array:
    """Scatter after a step of Newton (Fisher's scoring) where EM goes to ``after``.

    Of a variance s, particles that leave c_i of it unknown know the logarithm to the Fisher
    information ``sum (1 - c_i / s)**2 / 2``. EM goes as far as if it were half the number of
    particles: for c = 0.9 s a hundredth of the way. In every direction the logarithm goes the whole
    way, at most to a third or three times the variance.

    Parameters
    ----------
    before, after : (q, q) array
        Covariance now, and after a step of EM.
    known : (q, q) array
        Mean over particles of ``(before - C_i) before^-1 (before - C_i)``.
    count : int
        Particles. A prior keeps variances of which they know nothing from leaving.
    """
    prior = MEMBERS / (count + MEMBERS)
    after = (1 - prior) * after + prior * VARIANCE * np.eye(len(after))
    # the curvature of MEMBERS / 2 (ln s + VARIANCE / s) in ln s
    known = (1 - prior) * known + prior * VARIANCE * np.eye(len(known))
    root = root_of_covariance(before)
    shares, axes = np.linalg.eigh(_relative(root, known))
    longer = axes / np.sqrt(np.clip(shares, 1e-9, 1 / FASTER)) @ axes.T
    step = longer @ _logarithm(_relative(root, after)) @ longer
    moves, axes = np.linalg.eigh(0.5 * (step + step.T))
    return _moved(root, axes * np.clip(moves, -FARTHEST, FARTHEST) @ axes.T)


def _relative(root: Array, matrix: Array) -> Array:
    """A covariance where that of ``root`` is the unit."""
    inner = np.linalg.solve(root, np.linalg.solve(root, matrix).T)
    return np.asarray(0.5 * (inner + inner.T))


def _logarithm(matrix: Array) -> Array:
    """Of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.log(np.maximum(values, 1e-6)) @ vectors.T)


def _moved(root: Array, step: Array) -> Array:
    """Covariance of ``root``, moved by a symmetric logarithm in its units."""
    logs, vectors = np.linalg.eigh(step)
    half = root @ vectors * np.exp(0.5 * logs)
    return np.asarray(half @ half.T)
