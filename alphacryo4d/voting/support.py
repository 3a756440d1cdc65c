"""Do particles that were left out support the states? A likelihood test without self-fitting.

A fold's volumes have never seen the group that it leaves out. If the states are real, that group
is more likely under the mixture of the states than under their mean, the consensus; volumes that
differ by fitted noise only make it less likely (Gibbs' inequality).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.reclassify.pose_scatter import pose_moments
from alphacryo4d.voting.losses import Losses, mean_and_error

SIGNIFICANT = 2.0
"""Standard errors by which a gain must exceed zero."""
LEAST_TOTAL = 20.0
"""Nats that all left-out particles together must gain.

If a state were not needed, a gain of c nats would have a probability of at most exp(-c), since the
likelihood ratio of particles that the volumes have not seen has the mean 1 (Markov's inequality).
"""


@dataclass(frozen=True)
class Support:
    """Log-likelihood gains of held-out particles.

    Attributes
    ----------
    gain : float
        Mean gain a particle (nats) of all states over the consensus.
    error : float
        Its standard error, over images where particles are copies of one.
    state_gain : (K,) float64
        Loss a tested particle (nats) when a state is merged into the one that can best do without
        it; NaN of a state that no fold has beside another one.
    state_error : (K,) float64
        Standard errors.
    partner : (K,) int
        That other state.
    particles : int
        Held-out particles.
    merging, merging_error : (K, K) float64, optional
        Loss a particle (nats) when two states become one, and its standard error; not finite
        where no fold has both, and on the diagonal.
    tested : (K,) float64, optional
        Images of the held-out particles that the loss of each state is the mean of, where not all.
    images : int, optional
        Images of all held-out particles, where some are copies of one.
    """

    gain: float
    error: float
    state_gain: Array
    state_error: Array
    partner: Array
    particles: int
    merging: Array | None = None
    merging_error: Array | None = None
    tested: Array | None = None
    images: int | None = None

    @property
    def independent(self) -> int:
        """Held-out images: a gain is counted once for all copies of an image, as their mean."""
        return self.particles if self.images is None else self.images

    @property
    def real(self) -> bool:
        """Whether there are states at all: the gain is positive beyond doubt."""
        total = self.gain * self.independent
        return bool(self.gain > SIGNIFICANT * self.error and total > LEAST_TOTAL)

    @property
    def supported(self) -> Array:
        """Which states held-out particles need, (K,) bool."""
        tested = self.independent if self.tested is None else self.tested
        enough = self.state_gain * tested > LEAST_TOTAL
        supported: Array = enough & (self.state_gain > SIGNIFICANT * self.state_error)
        return supported & self.real

    def merging_figures(self) -> dict[str, Any]:
        """Losses of merging two states and their errors for a report; None where not known."""
        if self.merging is None or self.merging_error is None:
            return {}
        known = np.isfinite(self.merging)
        figures = {"merging_loss": self.merging, "merging_loss_error": self.merging_error}
        return {
            name: [
                [round(float(x), 6) if good else None for x, good in zip(row, rows, strict=True)]
                for row, rows in zip(values, known, strict=True)
            ]
            for name, values in figures.items()
        }


def measure_support(
    evidence: Array,
    consensus: Array,
    posteriors: Array,
    weights: Array,
    *,
    losses: Losses | None = None,
    images: Array | None = None,
) -> Support:
    """Gains of the mixture of states over the consensus and over one state fewer.

    Parameters
    ----------
    evidence : (n,) array
        Log-likelihood of each held-out particle under the mixture of K states.
    consensus : (n,) array
        Log-likelihood under the mean volume.
    posteriors : (n, K) array
        Posteriors of the states.
    weights : (n, K) or (K,) array
        Prior probabilities of the states that the posteriors used.
    losses : Losses, optional
        What is lost when two states become their mean
        (:meth:`PoseMoments.merging_losses`). Without them state k is given to state j as
        that is, which changes the likelihood of a particle by the factor
        1 - posterior_k + posterior_j weight_k / weight_j.
    images : (n,) int array, optional
        Image of each particle, where some are copies: their noise is the same, and errors are over
        images.

    Returns
    -------
    Support
        The partner j that a state can best be merged with counts.
    """
    gains = np.asarray(evidence, np.float64) - consensus
    count, states = posteriors.shape
    total, different = mean_and_error(gains, images), None if images is None else _count(images)
    if losses is not None:
        mean, error = losses.merging()
        partner = mean.argmin(axis=1)
        pair = np.arange(states), partner
        alone = states == 1
        gain = np.where(np.isfinite(mean[pair]) | alone, mean[pair], np.nan)
        its_error = np.zeros(1) if alone else error[pair]
        return Support(
            *total, gain, its_error, partner, count, mean, error, losses.images[pair], different
        )
    given = _given_over(posteriors, np.broadcast_to(weights, posteriors.shape), images)
    return Support(*total, *given, count, images=different)


def _given_over(
    posteriors: Array, weights: Array, images: Array | None
) -> tuple[Array, Array, Array]:
    """Loss of giving each state to the best other one, its error, and that one."""
    states = posteriors.shape[1]
    share = np.clip(weights.astype(np.float64), 1e-9, None)
    soft = posteriors.astype(np.float64)
    ratio = soft / share
    loss, error = np.zeros(states), np.zeros(states)
    partner = np.arange(states)
    for k in range(states):
        rest = 1 - soft[:, k]
        best = np.inf
        for j in range(states):
            if j == k:
                continue
            lost = -np.log(np.maximum(rest + share[:, k] * ratio[:, j], 1e-12))
            if lost.mean() < best:
                best, error[k] = mean_and_error(lost, images)
                loss[k], partner[k] = best, j
    return loss, error, partner


def _count(images: Array) -> int:
    return len(np.unique(images))


@dataclass(frozen=True)
class HeldOut:
    """Likelihoods of particles under states that have not seen them.

    Attributes
    ----------
    evidence, consensus : (n,) float64
        Log-likelihoods under the mixture of the states, and under their weighted mean.
    posteriors : (n, K) float32
        Of the states.
    labels : (n,) int32
        Most likely state when all are equally frequent, from 0.
    pose_sigma : tuple of float
        Errors of the poses (degrees, A) that were marginalised.
    losses : tuple of (K, K) float64
        Of :meth:`PoseMoments.merging_losses`.
    """

    evidence: Array
    consensus: Array
    posteriors: Array
    labels: Array
    pose_sigma: tuple[float, float]
    losses: tuple[Array, Array]


def heldout_evidence(
    images: PreparedImages,
    rows: Array,
    volumes: Array,
    weights: Array,
    *,
    resolution: float,
    noise: Array | None = None,
    pose_sigma: tuple[float, float] | None = None,
    so_far: Array | None = None,
    copies: Array | None = None,
    threads: int | None = None,
) -> HeldOut:
    """Likelihoods of particles under states that have not seen them, and under their mean.

    Errors of the poses are marginalised on both sides: a homogeneous data set whose poses are
    not exact would otherwise seem to have states, namely the molecule turned a little.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles that the volumes have not seen.
    volumes : (K, m, m, m) float32
        Of the same field of view as the images, on any box.
    weights : (K,) array
        Share of each state, of particles that are not among ``rows``.
    resolution : float
        Finest resolution used (A).
    noise : (G, shells) array, optional
        Noise power; by default estimated from what the states leave unexplained.
    pose_sigma : tuple of float, optional
        Standard deviations of the pose errors (degrees, A); by default estimated.
    so_far : (n, 6) array, optional
        What the poses were changed by already, in the volume's frame.
    copies : (n,) int array, optional
        Image of each particle, where some are copies.
    threads : int, optional
    """
    share = np.maximum(np.asarray(weights, np.float64), 1e-9 * np.sum(weights))
    share /= share.sum()
    if noise is None:
        noise = _remaining_noise(images, rows, volumes, share, resolution, threads)
    moments = pose_moments(
        images, rows, volumes, share, resolution=resolution, noise=noise, threads=threads
    )
    changed = np.zeros((len(rows), 6)) if so_far is None else so_far
    if pose_sigma is None:
        pose_sigma = moments.estimated_errors(share, changed)
    values, _ = moments.marginal(pose_sigma, changed)
    posteriors = softmax(values[:, :-1] + np.log(share), axis=1).astype(np.float32)
    return HeldOut(
        evidence=logsumexp(values[:, :-1], axis=1, b=share),
        consensus=values[:, -1],
        posteriors=posteriors,
        labels=values[:, :-1].argmax(axis=1).astype(np.int32),
        pose_sigma=pose_sigma,
        losses=moments.merging_losses(pose_sigma, changed, share, copies),
    )


def _remaining_noise(
    images: PreparedImages,
    rows: Array,
    volumes: Array,
    weights: Array,
    resolution: float,
    threads: int | None,
) -> Array:
    """Noise power (G, shells) that the states leave, after three rounds."""
    radius = min(shell_of_resolution(resolution, images.box, images.pixel_size), images.radius)
    grid = Grid(radius, thread_count(threads))
    view = View(images, images.sorted_rows(np.asarray(rows, np.int64)), grid)
    density = (images.box / volumes.shape[1]) ** 3 / images.box
    references = grid.class_references(resize_cubes(volumes, grid.cube) * np.float32(density))
    noise = data_power(view)
    for _ in range(3):
        noise[:, 0] = noise[:, 1]
        noise = expect(view, references, 1 / noise, weights).noise
    noise[:, 0] = noise[:, 1]
    return noise
