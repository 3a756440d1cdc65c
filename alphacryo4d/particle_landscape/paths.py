"""Paths of least energy through the density, their profiles and barriers with errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.landscape.barriers import Barrier, Interval, arc_lengths, barriers_along
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.string_method import EnergyPath, minimum_energy_path
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.mixture import GaussianMixture, Likelihoods
from alphacryo4d.particle_landscape.profile import smooth_profile
from alphacryo4d.particle_landscape.surface import DensitySurface

CONFIDENCE = 0.9
"""Of the intervals of barriers."""


@dataclass(frozen=True)
class DensityPath:
    """A path through the density.

    Attributes
    ----------
    path : EnergyPath
        Images (n, d) and energies (n,) in kT above the lowest image.
    errors : (n,) float64
        Standard errors of the energies.
    barriers : tuple of (Barrier, Interval, Interval)
        Every barrier with the 90% intervals of its height from the minimum before and from the one
        behind.
    """

    path: EnergyPath
    errors: Array
    barriers: tuple[tuple[Barrier, Interval, Interval], ...]


def density_path(
    density: Density,
    points: Array,
    *,
    images: int = 101,
    depth: float = 0.5,
    steps: int = 20_000,
    particles: tuple[Likelihoods, Array] | None = None,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
) -> DensityPath:
    """Path of least energy by the string method, between minima that points lead to.

    Parameters
    ----------
    density : Density
    points : (P, d) array
        Start, points to pass, end.
    images : int
        Points of the path.
    depth : float
        Least depth of a minimum along the path (kT).
    steps : int
        Most steps of the string method.
    particles : (Likelihoods, (n,) int array), optional
        Those that the density was fitted to, and their groups: energies along the path are fitted
        anew (:func:`smooth_profile`).
    progress, check : callable
    """
    surface = DensitySurface(density.mixture)
    options = PathOptions(images=images, stepmax=steps, tolerance=1e-6)
    path = minimum_energy_path(surface, points, options, progress=progress)
    lengths = arc_lengths(path.images)
    fitted = None
    if particles is not None:
        fitted = smooth_profile(*particles, density.mixture, path.images, check=check)
    energies = path.energies if fitted is None else fitted.energies
    lowest = int(energies.argmin())
    path = replace(path, energies=energies - energies[lowest])
    barriers = barriers_along(path.images, path.energies, depth=depth)

    def profile(mixture: GaussianMixture) -> Array:
        return above_lowest(DensitySurface(mixture).values(path.images))

    def above_lowest(values: Array) -> Array:
        return np.asarray(values - values[lowest])

    def heights(values: Array) -> Array:
        return _heights(barriers, lengths, above_lowest(values))

    if fitted is None:
        errors = density.error(profile)
        of_heights = density.error(lambda mixture: heights(profile(mixture)))
    else:
        errors, of_heights = fitted.error(above_lowest), fitted.error(heights)
    groups = len(density.replicates)
    return DensityPath(path, errors, _with_intervals(barriers, of_heights, groups))


def _heights(barriers: list[Barrier], lengths: Array, profile: Array) -> Array:
    """Heights (B, 2), forward and backward, of barriers in another profile (n,) along the path.

    It has its own highest point between the two minima, and its own lowest one in the half basin
    before or behind.
    """
    step = lengths[1] - lengths[0]
    heights = np.empty((len(barriers), 2))
    for row, one in enumerate(barriers):
        inside = (lengths >= one.start - 0.5 * step) & (lengths <= one.end + 0.5 * step)
        before = lengths <= one.top
        for side, foot in enumerate((inside & before, inside & ~before)):
            heights[row, side] = profile[inside].max() - profile[foot].min()
    return heights


def _with_intervals(
    barriers: list[Barrier], errors: Array, groups: int
) -> tuple[tuple[Barrier, Interval, Interval], ...]:
    """Barriers with the intervals of both heights, from their standard errors (B, 2).

    A handful of groups gives a rough error. Those of all heights along a path are alike, so that
    none counts for less than their root mean square.
    """
    if not barriers:
        return ()
    errors = np.maximum(errors, np.sqrt(np.mean(errors**2)))
    half = student.ppf(0.5 + CONFIDENCE / 2, groups - 1) * errors
    return tuple(
        (one, _interval(one.forward, ahead), _interval(one.backward, behind))
        for one, (ahead, behind) in zip(barriers, half.tolist(), strict=True)
    )


def _interval(value: float, half: float) -> Interval:
    return Interval(value, max(0.0, value - half), value + half)
