"""Particles that are none, and the noise of real micrographs, by the benchmark's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft

from alphacryo4d.assessment.conformers import Atoms, Conformer
from alphacryo4d.assessment.hinge import helix_bundle
from alphacryo4d.assessment.imaging import FloatArray, frequencies, random_rotations
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.simulate import SimulatedTable
from alphacryo4d.core.arrays import Array

NOTHING, OTHER, MISALIGNED = 1, 2, 3
"""What a junk image shows: noise alone, another molecule, a conformer at a random pose."""
_VOLUME_PER_ELECTRON = 130.0 / 59.0
_AXES = np.array([1.4, 0.8, 0.9])
_VARIATION = 0.15
"""Deviation of the logarithms of signal and noise between micrographs."""
_RAMP = 0.3
"""Largest value of the ramp in an image over the deviation of its noise."""


def with_junk(table: SimulatedTable, share: float, rng: np.random.Generator) -> SimulatedTable:
    """The table with a share of junk, a third of each kind; it has the state 0 in the truth.

    Images of noise and of another molecule keep their poses; those at a random pose get another
    rotation in the table.
    """
    count = round(share * len(table))
    rows = rng.permutation(len(table))[:count]
    kind = np.zeros(len(table), np.int8)
    kind[rows] = np.arange(count) % 3 + 1
    shown = table.truth.copy()
    shown[kind == NOTHING] = 0
    shown[kind == OTHER] = -1
    angles = table.angles.copy()
    wrong = kind == MISALIGNED
    angles[wrong] = random_rotations(rng, int(wrong.sum()))
    truth = np.where(kind > 0, 0, table.truth).astype(np.int32)
    return replace(table, truth=truth, angles=angles, shown=shown)


def other_molecule(conformers: Sequence[Conformer], options: SimulateOptions) -> Atoms:
    """A molecule of another shape, of as many electrons as the first conformer."""
    first = conformers[0]
    if isinstance(first, Atoms):
        total = float(first.weights.sum())
        radius = (total * _VOLUME_PER_ELECTRON / np.prod(_AXES) * 0.75 / np.pi) ** (1 / 3)
    else:
        total = float(np.maximum(first.density, 0).sum())
        radius = 0.25 * options.box * options.pixel_size
    axes = _AXES * min(radius, 0.3 * options.box * options.pixel_size)
    cut = (0.5 * axes[0], 0.3 * axes[1], 0.5 * axes[2], 0.4 * float(axes.min()))
    points = helix_bundle(axes.tolist(), turn=30, notches=[cut])
    points -= points.mean(axis=0)
    return Atoms(points, np.full(len(points), total / len(points)))


@dataclass(frozen=True)
class ColouredNoise:
    """Noise of an amplitude that falls with frequency, unlike between micrographs, with a ramp.

    Attributes
    ----------
    deviation : float
        Per pixel, of an average micrograph.
    seed : int
    profile : (box, box // 2 + 1) array
        Amplitude at the frequencies of ``rfft2``, of mean power 1.
    signal, level : (P,) array
        Factors of the signal and of the noise of every particle.
    """

    deviation: float
    seed: int
    profile: FloatArray
    signal: FloatArray
    level: FloatArray

    def images(self, signal: Array, start: int) -> npt.NDArray[np.float32]:
        """Images (n, box, box) of particles from ``start`` on, from their signals."""
        count, box = len(signal), signal.shape[-1]
        rng = np.random.default_rng([self.seed, 1, start])
        white = rng.standard_normal(signal.shape, dtype=np.float32)
        noise = fft.irfft2(fft.rfft2(white) * self.profile, s=(box, box), workers=1)
        axis = (np.arange(box) - box // 2) / (box / 2)
        turn = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        noise += _RAMP * (np.cos(turn) * axis + np.sin(turn) * axis[:, None])
        part = slice(start, start + count)
        noise *= self.deviation * self.level[part, None, None]
        return np.asarray(signal * self.signal[part, None, None] + noise, np.float32)


def coloured_noise(
    particles: int, deviation: float, options: SimulateOptions, seed: int
) -> ColouredNoise:
    """Noise of the protocol: amplitude ``0.6 + 1.2 exp(-25 A * frequency)``.

    Signal and noise of a micrograph have factors that are log-normal with 0.15.
    """
    ky, kx = frequencies(options.box, options.pixel_size)
    profile = 0.6 + 1.2 * np.exp(-25.0 * np.hypot(kx, ky))
    twice = np.full(profile.shape[1], 2.0)
    twice[[0, -1]] = 1.0
    profile /= np.sqrt((profile**2 * twice).sum() / options.box**2)
    micrograph = np.arange(particles) // options.particles_per_micrograph
    rng = np.random.default_rng([seed, 4])
    factors = np.exp(rng.normal(0, _VARIATION, (2, int(micrograph.max(initial=0)) + 1)))
    return ColouredNoise(deviation, seed, profile, factors[0][micrograph], factors[1][micrograph])
