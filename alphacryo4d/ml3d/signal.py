"""Whether an image shows the particle: its own evidence, apart from the classes' competition.

The consensus of one half of the particles, projected at the pose of a particle of the other half,
is regressed on its image. What any orientation shows alike (the consensus averaged over all
rotations) has an amplitude of its own, so that an image of something else of the same size has no
signal. What a wrongly aligned image gives is measured: by the same images at the poses of others.
The documents derive it (docs/method/junk.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.expectation import View, component_products
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.masks import first_mask, solvent_mask
from alphacryo4d.ml3d.mean import data_power, solve_mean

BANDS = 3
"""Ranges of shells whose amplitudes are free of each other, of equal width."""
_LEARNT, _MISPLACED = 5_000, 4_000
"""Most particles that a consensus, and the amplitudes at wrong poses, are found from."""


@dataclass(frozen=True)
class Amplitudes:
    """Amplitudes of the projection of the consensus in images (n of them).

    Attributes
    ----------
    rows : (n,) int64
    values : (n, BANDS) float64
        Of the part that depends on the orientation, by band; 1 where the image shows what the
        consensus does.
    covariance : (n, BANDS, BANDS) float64
        Of their errors by the noise of the image.
    """

    rows: Array
    values: Array
    covariance: Array


def band_edges(radius: int) -> Array:
    """First shell of every band, and the end, (BANDS + 1,)."""
    return np.rint(np.linspace(1, radius + 1, BANDS + 1)).astype(np.int64)


def spherical_average(cube: Array) -> Array:
    """The cube (n, n, n) averaged over all rotations about its centre, n // 2."""
    line = (np.arange(len(cube)) - len(cube) // 2) ** 2.0
    radius = np.sqrt(line[:, None, None] + line[:, None] + line).ravel()
    shell = np.rint(radius).astype(np.int64)
    count = np.maximum(np.bincount(shell), 1)
    means, middle = np.bincount(shell, cube.ravel()) / count, np.bincount(shell, radius) / count
    return np.asarray(np.interp(radius, middle, means).reshape(cube.shape), np.float32)


def bands_of(grid: Grid, cube: Array) -> Array:
    """What all orientations share, and the bands of the rest, (BANDS + 1, n, n, n) float32."""
    alike = spherical_average(cube)
    spectrum = grid.transform((cube - alike)[None])
    edges = band_edges(grid.radius)
    inside = [
        (grid.shell_map >= low) & (grid.shell_map < high)
        for low, high in zip(edges, edges[1:], strict=False)
    ]
    parts = grid.inverse(np.concatenate([spectrum * one for one in inside]).astype(np.complex64))
    return np.asarray(np.concatenate([alike[None], parts]), np.float32)


def measure_amplitudes(
    images: PreparedImages,
    radius: int,
    *,
    solvent: Array | None = None,
    diameter: float | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> tuple[Amplitudes, Amplitudes]:
    """Amplitudes of all informative images, and of some of them at the poses of others.

    Parameters
    ----------
    images : PreparedImages
    radius : int
        Last Fourier shell used (pixels).
    solvent, diameter : array, float, optional
        Masks of the consensus, as :func:`alphacryo4d.ml3d.components.fit_components` takes them.
    threads : int, optional
    seed : int
        Of the halves.
    """
    rng = np.random.default_rng([seed, len(images)])
    known = rng.permutation(np.flatnonzero(images.informative))
    halves = known[::2], known[1::2]
    grid = Grid(min(radius, images.radius), thread_count(threads))
    own, other = [], []
    for judged, seen in (halves, halves[::-1]):
        view = View(images, images.sorted_rows(seen[:_LEARNT]), grid)
        noise = data_power(view)
        noise[:, 0] = noise[:, 1]
        mask = first_mask(grid, images, diameter, solvent)
        field, _, noise = solve_mean(view, noise, mask, rounds=2)
        if solvent is None:
            voxel = images.box * images.pixel_size / grid.cube
            mask = solvent_mask(field * mask, mask, voxel)
        columns = grid.references(bands_of(grid, (field * mask)[0]))
        own.append(_amplitudes(View(images, images.sorted_rows(judged), grid), columns, noise))
        some = images.sorted_rows(judged[: _MISPLACED // 2])
        matrices = images.matrices.copy()
        matrices[some] = images.matrices[rng.permutation(some)]
        moved = replace(images, matrices=matrices)
        other.append(_amplitudes(View(moved, some, grid), columns, noise))
    return _joined(own), _joined(other)


def _joined(parts: list[Amplitudes]) -> Amplitudes:
    names = ("rows", "values", "covariance")
    return Amplitudes(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


def _amplitudes(view: View, columns: Array, noise: Array) -> Amplitudes:
    n = len(view.rows)
    none = np.zeros((n, BANDS + 1), np.float32), np.zeros((n, BANDS + 1, BANDS + 1), np.float32)
    cross, gram, _ = component_products(view, columns, 1 / noise, *none)
    # a sample has the noise power in both of its parts: twice these is the information
    information = 2.0 * gram.astype(np.float64) + 1e-9 * np.eye(BANDS + 1)
    covariance = np.linalg.inv(information)
    values = (covariance @ (2.0 * cross.astype(np.float64))[:, :, None])[:, 1:, 0]
    return Amplitudes(view.rows, values, covariance[:, 1:, 1:])


LEAST = 500
"""Particles from which junk is looked for."""
_APART = 3.0
"""Deviations of junk by which particles must differ from it before any is named."""
_LEAST_SPREAD = 0.2
"""Least spread of the particles' amplitudes: conformations and rare states may show less."""
_ROUNDS, _STEPS = 3, 200


@dataclass(frozen=True)
class Signal:
    """What images say of the particle, apart from all classes (P of them).

    Attributes
    ----------
    amplitude : (P,) float64
        Of the part of the projection that depends on the orientation: on average 1 in particles
        and 0 in junk. NaN where it was not measured.
    error : (P,) float64
        Its standard error by the noise of the image.
    outlier : (P,) bool
        Images that are more likely junk than particles.
    share : float
        Share of junk in the mixture.
    apart : float
        Distance of particles from junk in deviations of junk; 0 where it was not measured.
    """

    amplitude: Array
    error: Array
    outlier: Array
    share: float
    apart: float

    def say(self) -> str:
        """One line for the log."""
        if not self.apart:
            return f"signal of single images not measured: fewer than {LEAST} of them"
        known = np.isfinite(self.amplitude)
        if self.apart < _APART:
            return (
                f"signal of single images: particles differ from junk by {self.apart:.1f} "
                "deviations, too few to tell them apart"
            )
        count, rest = int(self.outlier.sum()), self.amplitude[known & ~self.outlier]
        return (
            f"signal of single images: {count} of {known.sum()} ({100 * count / known.sum():.1f}%) "
            f"show no particle; amplitude of the others {rest.mean():.2f} +- {rest.std():.2f}, "
            f"{self.apart:.1f} deviations from junk"
        )

    def table(self) -> Array:
        """Amplitude, error and outlier (1), (P, 3) float32."""
        columns = (self.amplitude, self.error, self.outlier)
        return np.stack(columns, axis=1).astype(np.float32)


def particle_signal(
    images: PreparedImages,
    radius: int,
    *,
    solvent: Array | None = None,
    diameter: float | None = None,
    threads: int | None = None,
) -> Signal:
    """Signal of every image, and which are junk; arguments as :func:`measure_amplitudes`."""
    count = len(images)
    amplitude, error = np.full((2, count), np.nan)
    outlier = np.zeros(count, bool)
    if images.informative.sum() < LEAST:
        return Signal(amplitude, error, outlier, 0.0, 0.0)
    own, other = measure_amplitudes(
        images, radius, solvent=solvent, diameter=diameter, threads=threads
    )
    signal = mixture_of_signals(own, other)
    amplitude[own.rows], error[own.rows] = signal.amplitude, signal.error
    outlier[own.rows] = signal.outlier
    return Signal(amplitude, error, outlier, signal.share, signal.apart)


def without_junk(images: PreparedImages, signal: Signal) -> None:
    """Leave junk out of all that is learnt and judged, as images unlike all others are; in place.

    Its CTF becomes 0.
    """
    assert images.outlier is not None
    images.outlier[signal.outlier] = True
    images.ctf[signal.outlier] = 0


def mixture_of_signals(own: Amplitudes, other: Amplitudes) -> Signal:
    """Particles and junk as a mixture, by EM.

    Amplitudes at the poses of others give mean and covariance of junk. Against them the mean of
    the particles is the direction in which an image is judged; along it junk is normal with that
    mean (which may be higher: noise that was aligned to the consensus) and variance, particles are
    normal about 1 with a spread of their own beside the errors.

    Parameters
    ----------
    own, other : Amplitudes
        Of :func:`measure_amplitudes`.
    """
    nothing = other.values.mean(axis=0)
    scatter = np.cov(other.values.T) - other.covariance.mean(axis=0)
    values, vectors = np.linalg.eigh(scatter)
    scatter = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    usual = np.median(own.values, axis=0)
    junk = np.zeros(len(own.rows))
    for _ in range(_ROUNDS):
        solved = np.linalg.solve(own.covariance + scatter, (usual - nothing)[:, None])[..., 0]
        apart = solved @ (usual - nothing)
        amplitude = ((own.values - nothing) * solved).sum(axis=1) / apart
        variance = np.einsum("na,nab,nb->n", solved, own.covariance, solved) / apart**2
        junk = _probability_of_junk(amplitude, variance, 1 / apart)
        usual = (1 - junk) @ own.values / max((1 - junk).sum(), 1e-12)
    distance = float(np.sqrt(np.median(apart)))
    outlier = junk > 0.5 if distance >= _APART else np.zeros(len(junk), bool)
    return Signal(amplitude, np.sqrt(variance), outlier, float(junk.mean()), distance)


def _probability_of_junk(amplitude: Array, error: Array, scatter: Array) -> Array:
    """Posterior (n,) of junk, from amplitudes and the variances of both kinds about their means."""
    share, mean, spread, none = 0.1, float(np.median(amplitude)), _LEAST_SPREAD**2, 0.0
    junk = np.zeros(len(amplitude))
    for _ in range(_STEPS):
        total = spread + error
        particle = -0.5 * (np.square(amplitude - mean) / total + np.log(total))
        nothing = -0.5 * (np.square(amplitude - none) / scatter + np.log(scatter))
        before, junk = junk, expit(nothing - particle + np.log(share / (1 - share)))
        junk[amplitude > 0.5 * (mean + none)] = 0  # whatever is so strong shows the particle
        if np.abs(junk - before).max() < 1e-4:
            break
        share = float(np.clip(junk.mean(), 1e-6, 0.9))
        weight = (1 - junk) / total
        mean = float(weight @ amplitude / weight.sum())
        kept = spread / total
        second = np.square((amplitude - mean) * kept) + error * kept
        spread = max(float((1 - junk) @ second / (1 - junk).sum()), (_LEAST_SPREAD * mean) ** 2)
        weight = junk / scatter
        none = float(np.clip(weight @ amplitude / max(weight.sum(), 1e-9), 0, 0.5 * mean))
    return np.asarray(junk)
