"""Fourier shell correlation of half maps, with and without mask, and difference maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.maths.fourier import filter_map, shell_numbers

FSC_LIMIT = 0.143
"""Correlation of half maps at the resolution limit (Rosenthal & Henderson 2003)."""


@dataclass(frozen=True)
class Correlation:
    """Correlation of two half maps by Fourier shell.

    Attributes
    ----------
    unmasked : (n // 2,) float64
        Without mask; shell 0 first.
    masked : (n // 2,) float64
        With the soft mask.
    corrected : (n // 2,) float64
        ``masked`` with the effect of the mask taken out by phase randomisation (Chen et al.
        2013).
    voxel_size : float
        In Angstrom.
    box : int
        Voxels along an edge of the maps, n.
    """

    unmasked: Array
    masked: Array
    corrected: Array
    voxel_size: float
    box: int

    @property
    def shell_resolution(self) -> Array:
        """Resolution of each shell in Angstrom (infinite for the first)."""
        shells = np.arange(len(self.unmasked))
        with np.errstate(divide="ignore"):
            resolution: Array = self.box * self.voxel_size / shells.astype(np.float64)
        return resolution

    @property
    def resolution_unmasked(self) -> float:
        """Resolution in Angstrom where the unmasked curve falls below 0.143."""
        return resolution_at(self.unmasked, self.voxel_size, box=self.box)

    @property
    def resolution(self) -> float:
        """Resolution in Angstrom where the corrected curve falls below 0.143."""
        return resolution_at(self.corrected, self.voxel_size, box=self.box)


def shell_correlation(first: Array, second: Array) -> Array:
    """Fourier shell correlation of two maps (Harauz & van Heel 1986), in double precision.

    Parameters
    ----------
    first, second : (n, n, n) arrays

    Returns
    -------
    (n // 2,) float64 array
        From -1 to 1, in shells of one Fourier pixel from 0 up to below Nyquist; 0 where a map
        vanishes.
    """
    size = first.shape[0]
    a, b = (scipy.fft.rfftn(np.asarray(volume, np.float64)) for volume in (first, second))
    count, flat = size // 2, shell_numbers(size).ravel()
    # the half transform holds each Friedel pair once, except in the planes kx = 0 and Nyquist
    weight = np.full(a.shape[2], 2.0)
    weight[0] = 1.0
    if size % 2 == 0:
        weight[-1] = 1.0

    def sums(values: Array) -> Array:
        return np.bincount(flat, (values * weight).ravel(), count + 1)[:count]

    cross = sums(a.real * b.real + a.imag * b.imag)
    power = np.sqrt(sums(np.abs(a) ** 2) * sums(np.abs(b) ** 2))
    curve: Array = np.divide(cross, power, out=np.zeros(count), where=power > 0)
    return curve


def resolution_at(
    curve: Array, voxel_size: float, limit: float = FSC_LIMIT, *, box: int | None = None
) -> float:
    """Resolution where a curve first falls below a limit, between shells linearly.

    Parameters
    ----------
    curve : (n // 2,) array
        Of :func:`shell_correlation`.
    voxel_size : float
        Angstrom.
    limit : float
        0.143 by default (Rosenthal & Henderson 2003).
    box : int, optional
        n; even where it is not given.

    Returns
    -------
    float
        Angstrom. A curve that never falls gives Nyquist; one that starts below gives the edge of
        the box: no shell is reproducible (RELION says 999).
    """
    box = 2 * len(curve) if box is None else box
    below = np.flatnonzero(curve[1:] < limit) + 1
    if below.size == 0:
        return 2 * voxel_size
    last = int(below[0])
    if last == 1:
        return float(box * voxel_size)
    drop = curve[last - 1] - curve[last]
    shell = last - 1 + (curve[last - 1] - limit) / drop
    return float(box * voxel_size / shell)


def soft_mask(volume: Array, voxel_size: float, *, filter_angstrom: float = 20.0) -> Array:
    """Mask around the density of a map: 1 inside, cosine edge of about 10 Angstrom, 0 outside.

    The map is low-passed; what exceeds a fifth of its 99.9th percentile is inside, largest
    connected piece and its surroundings of half the filter's width.
    """
    smooth = scipy.ndimage.gaussian_filter(
        np.asarray(volume, np.float64), filter_angstrom / voxel_size / 4, mode="wrap"
    )
    inside = smooth > 0.2 * np.percentile(smooth, 99.9)
    labels, pieces = scipy.ndimage.label(inside)
    if pieces == 0:
        return np.ones(volume.shape, np.float32)
    sizes = np.bincount(labels.ravel())[1:]
    inside = labels == int(sizes.argmax()) + 1
    distance = scipy.ndimage.distance_transform_edt(~inside) * voxel_size
    edge = np.clip((distance - filter_angstrom / 2) / 10.0, 0, 1)
    mask: Array = (0.5 + 0.5 * np.cos(np.pi * edge)).astype(np.float32)
    return mask


def randomise_phases(volume: Array, from_shell: int, rng: np.random.Generator) -> Array:
    """Map with the phases of all shells from ``from_shell`` on replaced by those of noise."""
    spectrum = scipy.fft.rfftn(np.asarray(volume, np.float64))
    noise = scipy.fft.rfftn(rng.standard_normal(volume.shape))
    noise *= np.abs(spectrum) / np.maximum(np.abs(noise), 1e-30)
    changed = shell_numbers(volume.shape[0]) >= from_shell
    spectrum[changed] = noise[changed]
    randomised: Array = scipy.fft.irfftn(spectrum, s=volume.shape)
    return randomised


def correlate_halves(
    half1: Array, half2: Array, voxel_size: float, *, mask: Array | None = None, seed: int = 0
) -> Correlation:
    """Correlation of two half maps with and without mask.

    Parameters
    ----------
    half1, half2 : (n, n, n) arrays
    voxel_size : float
        In Angstrom.
    mask : (n, n, n) array, optional
        Soft mask; made from the mean of the halves where it is not given.
    seed : int
        For the randomised phases (Chen et al. 2013), by which the masked curve is corrected.

    Returns
    -------
    Correlation
        The curves, and resolutions in Angstrom.

    Raises
    ------
    InputError
        The maps or the mask differ in shape, or hold values that are not finite.
    """
    if half1.shape != half2.shape or (mask is not None and mask.shape != half1.shape):
        raise InputError("half maps and mask must have one shape")
    if not (np.isfinite(half1).all() and np.isfinite(half2).all()):
        raise InputError("a half map holds NaN or infinite voxels; reconstruct it again")
    if mask is None:
        mask = soft_mask((half1 + half2) / 2, voxel_size)
    unmasked = shell_correlation(half1, half2)
    masked = shell_correlation(half1 * mask, half2 * mask)
    return Correlation(
        unmasked, masked, _without_mask_effect(half1, half2, unmasked, masked, mask, seed),
        voxel_size, len(half1),
    )  # fmt: skip


def _without_mask_effect(
    half1: Array, half2: Array, unmasked: Array, masked: Array, mask: Array, seed: int
) -> Array:
    below = np.flatnonzero(unmasked < 0.8)
    start = int(below[below > 0][0]) if (below > 0).any() else len(unmasked)
    if start >= len(unmasked) - 2:
        return masked
    rng = np.random.default_rng(seed)
    by_mask = shell_correlation(
        randomise_phases(half1, start, rng) * mask, randomise_phases(half2, start, rng) * mask
    )
    corrected = masked.copy()
    late = np.arange(len(masked)) >= start + 2
    room = np.maximum(1 - by_mask, 1e-6)
    corrected[late] = ((masked - by_mask) / room)[late]
    return corrected


def difference_map(volume: Array, reference: Array, resolution: float, voxel_size: float) -> Array:
    """Difference of a state to a chosen one at the resolution that both support.

    Both are low-passed to ``resolution`` (Angstrom); the state is scaled in every shell to the
    amplitude of the reference, so that different numbers of particles leave no trace.

    Returns
    -------
    (n, n, n) float32 array
        Positive where the state has density that the reference lacks.
    """
    size = volume.shape[0]
    shells = np.minimum(shell_numbers(size), size // 2).ravel()

    def amplitude(spectrum: Array) -> Array:
        power = np.bincount(shells, np.abs(spectrum).ravel() ** 2, size // 2 + 1)
        return np.sqrt(power)

    a, b = scipy.fft.rfftn(volume), scipy.fft.rfftn(reference)
    own, wanted = amplitude(a), amplitude(b)
    scale = np.divide(wanted, own, out=np.zeros_like(own), where=own > 0)
    difference = scipy.fft.irfftn(a * scale[shells].reshape(a.shape) - b, s=volume.shape)
    return filter_map(difference, resolution, voxel_size).astype(np.float32)
