"""Rigid alignment of volumes to a reference (4.10: volumes must share one frame).

Rotations on an even grid of SO(3) are tried on small copies of the volumes; the best shift for
each comes from one FFT cross-correlation. The best few are refined by least squares (Gauss-Newton
on six parameters and the scale), first on the small copies, then on fine ones. The given frame is
always one of the candidates and wins ties, so that maps which are aligned stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft, ndimage

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.maths.fourier import fourier_resize
from alphacryo4d.maths.rotations import rotation_matrices
from alphacryo4d.resample.align_options import AlignOptions as AlignOptions
from alphacryo4d.resample.motion import (
    IDENTITY,
    Motion,
    apply_motion,
    background,
    mirror,
    rotations,
)

_SMALLEST_BOX = 20
_TIE = 0.01
"""Correlation by which another orientation must beat the given frame."""


@dataclass(frozen=True)
class Alignment:
    """How a volume lies to the reference.

    Attributes
    ----------
    motion : Motion
        Brings the volume onto the reference, in voxels of the given volumes.
    correlation : float
        With the reference after the motion, at the fine resolution, inside the sphere.
    correlation_before : float
        The same before the motion.
    opposite_hand : float or None
        Correlation of the mirrored volume at its best, where it was asked for.
    """

    motion: Motion
    correlation: float
    correlation_before: float
    opposite_hand: float | None = None


class Comparison:
    """A reference at one resolution, ready to be compared with volumes.

    Parameters
    ----------
    reference : (m, m, m) array
        Reference, resized to the working box.
    """

    def __init__(self, reference: Array) -> None:
        self.box = reference.shape[0]
        axis = np.arange(self.box) - self.box // 2
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        radius = np.sqrt(z**2 + y**2 + x**2)
        sphere = np.clip((0.47 * self.box - radius) / (0.06 * self.box), 0, 1)
        positions = np.stack([x, y, z], -1).astype(np.float64)
        weight = sphere * surroundings(reference, sphere > 0)
        chosen = weight > 0
        self.points = positions[chosen]
        self.weights = weight[chosen] / weight.sum()
        values = reference[chosen].astype(np.float64)
        values -= self.weights @ values
        self.target = values / np.sqrt(self.weights @ values**2)
        self.inside = sphere > 0
        self.inside_points = positions[self.inside]
        masked = np.zeros(reference.shape)
        masked[self.inside] = reference[self.inside] - reference[self.inside].mean()
        self.transform = fft.rfftn(masked * sphere)

    def correlation(self, coefficients: Array, motion: Motion) -> float:
        """Correlation of a moved volume with the reference."""
        return _correlation(self._sums(coefficients, motion))

    def _sums(self, coefficients: Array, motion: Motion) -> Array:
        from alphacryo4d.resample.kernels import compare

        sums: Array = compare(
            coefficients, self.points, self.weights, self.target, motion.rotation, motion.shift
        )
        return sums

    def scan(self, volume: Array, grid: Array) -> list[tuple[float, Motion]]:
        """Best shift and its score for every rotation of a grid, best first."""
        from alphacryo4d.resample.kernels import sample_linear

        peaks = []
        shape = (self.box,) * 3
        filled, values = np.zeros(shape), np.empty(len(self.inside_points))
        for rotation in grid:
            sample_linear(volume, self.inside_points, rotation, values)
            filled[self.inside] = values - values.mean()
            size = np.sqrt((filled**2).sum()) or 1.0
            scores = fft.irfftn(np.conj(fft.rfftn(filled)) * self.transform, shape)
            peak = np.array(np.unravel_index(np.argmax(scores), shape))
            score = float(scores[tuple(peak)] / size)
            peak = np.where(peak > self.box // 2, peak - self.box, peak)
            peaks.append((score, Motion(rotation, peak[::-1].astype(np.float64))))
        peaks.sort(key=lambda entry: -entry[0])
        return peaks

    def refine(self, coefficients: Array, start: Motion, *, steps: int = 30) -> Motion:
        """Least-squares refinement of a motion, with scale and offset of the density free."""
        motion, damping = start, 1e-4
        sums = self._sums(coefficients, motion)
        for _ in range(steps):
            change = _step(sums, damping)
            new = Motion(rotation_matrices(np.rad2deg(change[:3])), change[3:]).after(motion)
            new_sums = self._sums(coefficients, new)
            if _correlation(new_sums) <= _correlation(sums):
                damping = max(damping, 1e-3) * 20
                if damping > 1e4:
                    break
                continue
            motion, sums, damping = new, new_sums, damping / 10
            if np.linalg.norm(change[:3]) * self.box / 2 + np.linalg.norm(change[3:]) < 1e-3:
                break
        return motion


def surroundings(reference: Array, inside: Array) -> Array:
    """Weight of voxels: 1 in and around the reference's density, little elsewhere.

    What surrounds a particle is noise, and a class may have little else in common with the
    reference there.
    """
    blurred = ndimage.gaussian_filter(np.asarray(reference, np.float64), 1.5)
    level = 0.1 * np.quantile(blurred[inside], 0.999)
    density = (blurred > level) & inside
    if level <= 0 or density.sum() < 0.005 * inside.sum():
        return np.ones(reference.shape)
    near = ndimage.binary_dilation(density, iterations=2)
    weight = ndimage.gaussian_filter(near.astype(np.float64), 1.0)
    return np.asarray(np.where(weight > 0.05, weight, 0.0))


def _correlation(sums: Array) -> float:
    """Correlation of value and target from the sums of :func:`kernels.compare`."""
    variance = sums[1, 1] - sums[0, 1] ** 2
    return float(sums[1, 8] / np.sqrt(variance)) if variance > 0 else 0.0


def _step(sums: Array, damping: float) -> Array:
    """Gauss-Newton step (rotation vector, shift) from the sums of :func:`kernels.compare`.

    Scale and offset of the density are free: what they could take up is projected out.
    """
    free, moving = [0, 1], list(range(2, 8))
    taken = np.linalg.lstsq(sums[np.ix_(free, free)], sums[free][:, [*moving, 8]], rcond=None)[0]
    normal = sums[np.ix_(moving, moving)] - sums[np.ix_(moving, free)] @ taken[:, :6]
    right = sums[moving, 8] - sums[np.ix_(moving, free)] @ taken[:, 6]
    variance = sums[1, 1] - sums[0, 1] ** 2
    scale = sums[1, 8] / variance if variance > 0 else 0.0
    if scale == 0:
        return np.zeros(6)
    normal[np.diag_indices(6)] *= 1 + damping
    return np.asarray(np.linalg.lstsq(normal, right / scale, rcond=None)[0])


class Aligner:
    """Aligns volumes to one reference.

    Parameters
    ----------
    reference : (n, n, n) array
        Reference.
    voxel_size : float
        Angstrom.
    options : AlignOptions
        How to search.
    """

    def __init__(self, reference: Array, voxel_size: float, options: AlignOptions) -> None:
        if not np.ptp(reference) > 0:
            raise InputError("the reference of the alignment is constant; give another map")
        self.options = options
        self.box = reference.shape[0]
        self.coarse_box = working_box(self.box, voxel_size, options.coarse_resolution, 2.0)
        self.fine_box = working_box(self.box, voxel_size, options.fine_resolution, 3.0)
        reference = reference - background(reference)
        self.coarse = Comparison(fourier_resize(reference, self.coarse_box))
        self.fine = Comparison(fourier_resize(reference, self.fine_box))
        count = int(np.ceil(8 * np.pi**2 / np.radians(options.angular_step) ** 3))
        self.grid = rotations(count)

    def align(self, volume: Array) -> Alignment:
        """Find the motion that brings a volume onto the reference."""
        motion, score, before = self._search(volume)
        other = None
        if self.options.report_hand:
            other = self._search(mirror(volume), both=False)[1]
        motion = motion.scaled(self.box / self.fine_box)
        edge = 0.4 * self.box
        if motion.distance + np.radians(motion.angle) * edge < self.options.tolerance:
            motion, score = IDENTITY, before
        return Alignment(motion, score, before, other)

    def _search(self, volume: Array, *, both: bool = True) -> tuple[Motion, float, float]:
        if not np.ptp(volume) > 0:
            return IDENTITY, 0.0, 0.0
        volume = volume - background(volume)
        fine = ndimage.spline_filter(fourier_resize(volume, self.fine_box).astype(np.float64), 3)
        before = self.fine.correlation(fine, IDENTITY)
        best, score = IDENTITY, before
        small = fourier_resize(volume, self.coarse_box).astype(np.float64)
        coarse = ndimage.spline_filter(small, 3)
        if both:
            near = self.coarse.refine(coarse, IDENTITY)
            for start in (near.scaled(self.fine_box / self.coarse_box), IDENTITY):
                motion = self.fine.refine(fine, start)
                reached = self.fine.correlation(fine, motion)
                if reached > score:
                    best, score = motion, reached
        if self.options.search == "global" or not both:
            for start in self._candidates(small, coarse):
                motion = self.fine.refine(fine, start.scaled(self.fine_box / self.coarse_box))
                reached = self.fine.correlation(fine, motion)
                if reached > score + (_TIE if both else 0):
                    best, score = motion, reached
        return best, score, before

    def _candidates(self, small: Array, coarse: Array, keep: int = 16, refined: int = 3) -> Any:
        """A few motions from the global search, refined at the coarse resolution."""
        scored = []
        for _, start in self.coarse.scan(small, self.grid)[:keep]:
            motion = self.coarse.refine(coarse, start, steps=10)
            scored.append((self.coarse.correlation(coarse, motion), motion))
        scored.sort(key=lambda entry: -entry[0])
        chosen: list[Motion] = []
        for _, motion in scored:
            if all(_apart(motion, other) > 2.0 for other in chosen):
                chosen.append(motion)
        return chosen[:refined]


def _apart(one: Motion, other: Motion) -> float:
    """Difference of two rotations in degrees."""
    return Motion(one.rotation @ other.rotation.T, np.zeros(3)).angle


def working_box(box: int, voxel_size: float, resolution: float, voxels: float) -> int:
    """Smallest even box with so many voxels to the resolution, never more than the given box."""
    wanted = 2 * int(np.ceil(voxels / 2 * box * voxel_size / resolution))
    return min(box, max(_SMALLEST_BOX, wanted))


def align_to_mean(
    volumes: list[Array], voxel_size: float, options: AlignOptions, *, rounds: int = 2
) -> list[Alignment]:
    """Align volumes to their own mean; the first volume gives the frame.

    Parameters
    ----------
    volumes : list of (n, n, n) arrays
        Volumes of one box and voxel size.
    voxel_size : float
        Angstrom.
    options : AlignOptions
        How to search.
    rounds : int
        How often the mean is made anew.

    Returns
    -------
    list of Alignment
        One for each volume.
    """
    reference = np.asarray(volumes[0], np.float64)
    alignments: list[Alignment] = []
    for _ in range(rounds):
        aligner = Aligner(reference, voxel_size, options)
        alignments = [aligner.align(volume) for volume in volumes]
        frame = Motion(
            alignments[0].motion.rotation.T,
            -alignments[0].motion.rotation.T @ alignments[0].motion.shift,
        )
        mean = np.zeros(reference.shape)
        for volume, one in zip(volumes, alignments, strict=True):
            mean += apply_motion(volume, frame.after(one.motion), order=3)
        reference = mean / len(volumes)
    return alignments
