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

from alphacryo4d.errors import InputError
from alphacryo4d.resample.motion import (
    IDENTITY,
    Motion,
    apply_motion,
    mirror,
    resize,
    rotation_matrix,
    rotations,
)
from alphacryo4d.settings import require_setting, setting

Array = np.ndarray[Any, Any]

_SMALLEST_BOX = 24
_TIE = 0.01
"""Correlation by which another orientation must beat the given frame."""


@dataclass(frozen=True)
class AlignOptions:
    """How volumes are brought into one frame."""

    search: str = setting(
        "global",
        "Try all orientations, or only near the given one.",
        choices=("global", "local"),
    )
    coarse_resolution: float = setting(30.0, "Resolution of the global search in Angstrom.")
    fine_resolution: float = setting(12.0, "Resolution of the refinement in Angstrom.")
    angular_step: float = setting(15.0, "Spacing of the global search in degrees.")
    tolerance: float = setting(
        0.1, "Motions below this at the particle's edge, in voxels, are not applied."
    )
    report_hand: bool = setting(False, "Try the opposite hand too, and report which fits better.")

    def __post_init__(self) -> None:
        """Check the values."""
        require_setting(
            0 < self.fine_resolution <= self.coarse_resolution,
            "--fine-resolution must be positive and not below --coarse-resolution",
        )
        require_setting(5 <= self.angular_step <= 60, "--angular-step must be from 5 to 60 degrees")
        require_setting(self.tolerance >= 0, "--tolerance must not be negative")


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
        self.weight = np.clip((0.46 * self.box - radius) / (0.06 * self.box), 0, 1)
        self.inside = self.weight > 0
        self.points = np.stack([x, y, z], -1)[self.inside].astype(np.float64)
        self.mass = self.weight[self.inside] / self.weight.sum()
        self.target = self._standard(reference[self.inside].astype(np.float64))
        masked = np.zeros(reference.shape)
        masked[self.inside] = self.target * self.weight[self.inside]
        self.conjugate = np.conj(fft.rfftn(masked))

    def _standard(self, values: Array) -> Array:
        values = values - (self.mass * values).sum()
        deviation = np.sqrt((self.mass * values**2).sum())
        return np.asarray(values / deviation if deviation > 0 else values)

    def sample(self, coefficients: Array, motion: Motion) -> Array:
        """Values and gradients of the moved volume at the points inside the sphere.

        Returns
        -------
        (m, 4) float64 array
            Value, and gradient along x, y, z.
        """
        from alphacryo4d.resample.kernels import sample_cubic

        result = np.empty((len(self.points), 4))
        sample_cubic(coefficients, self.points, motion.rotation, motion.shift, result)
        return result

    def correlation(self, coefficients: Array, motion: Motion) -> float:
        """Correlation of a moved volume with the reference."""
        values = self._standard(self.sample(coefficients, motion)[:, 0])
        return float((self.mass * values * self.target).sum())

    def scan(self, volume: Array, grid: Array) -> list[tuple[float, Motion]]:
        """Best shift and its score for every rotation of a grid, best first."""
        from alphacryo4d.resample.kernels import sample_linear

        found = []
        shape = (self.box,) * 3
        filled, values = np.zeros(shape), np.empty(len(self.points))
        for rotation in grid:
            sample_linear(volume, self.points, rotation, values)
            filled[self.inside] = values - values.mean()
            size = np.sqrt((filled**2).sum()) or 1.0
            scores = fft.irfftn(np.conj(fft.rfftn(filled) * self.conjugate), shape)
            peak = np.array(np.unravel_index(np.argmax(scores), shape))
            score = float(scores[tuple(peak)] / size)
            peak = np.where(peak > self.box // 2, peak - self.box, peak)
            found.append((score, Motion(rotation, peak[::-1].astype(np.float64))))
        found.sort(key=lambda entry: -entry[0])
        return found

    def refine(self, coefficients: Array, start: Motion, *, steps: int = 30) -> Motion:
        """Least-squares refinement of a motion, with scale and offset of the density free."""
        motion, damping = start, 1e-4
        error, system = self._system(coefficients, motion)
        for _ in range(steps):
            normal, right = system
            damped = normal.copy()
            damped[np.diag_indices(6)] *= 1 + damping
            change = np.linalg.lstsq(damped, right, rcond=None)[0]
            new = Motion(rotation_matrix(change[:3]), change[3:]).after(motion)
            new_error, new_system = self._system(coefficients, new)
            if new_error >= error:
                damping = max(damping, 1e-3) * 20
                if damping > 1e4:
                    break
                continue
            motion, error, system, damping = new, new_error, new_system, damping / 10
            if np.linalg.norm(change[:3]) * self.box / 2 + np.linalg.norm(change[3:]) < 1e-3:
                break
        return motion

    def _system(self, coefficients: Array, motion: Motion) -> tuple[float, tuple[Array, Array]]:
        """Squared error at a motion, and the normal equations of the step from it.

        A small motion (rotation vector w, shift t) changes the moved density A at x by
        -grad A . (w cross x + t). Scale and offset of A that fit best are put in, and what they
        could take up is projected out of the six columns.
        """
        sampled = self.sample(coefficients, motion)
        values = self._standard(sampled[:, 0])
        deviation = np.sqrt((self.mass * (sampled[:, 0] - self.mass @ sampled[:, 0]) ** 2).sum())
        scale = float((self.mass * values) @ self.target)
        residual = self.target - scale * values
        gradient = sampled[:, 1:] * (scale / (deviation or 1.0))
        columns = -np.concatenate([np.cross(self.points, gradient), gradient], axis=1)
        columns -= self.mass @ columns
        columns -= np.outer(values, (self.mass * values) @ columns)
        weighted = columns * self.mass[:, None]
        error = float((self.mass * residual) @ residual)
        return error, (columns.T @ weighted, weighted.T @ residual)


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
        self.coarse_box = working_box(self.box, voxel_size, options.coarse_resolution, 2.4)
        self.fine_box = working_box(self.box, voxel_size, options.fine_resolution, 3.0)
        self.coarse = Comparison(resize(reference, self.coarse_box))
        self.fine = Comparison(resize(reference, self.fine_box))
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
        fine = ndimage.spline_filter(resize(volume, self.fine_box).astype(np.float64), 3)
        before = self.fine.correlation(fine, IDENTITY)
        best, score = IDENTITY, before
        small = resize(volume, self.coarse_box).astype(np.float64)
        coarse = ndimage.spline_filter(small, 3)
        if both:
            near = self.coarse.refine(coarse, IDENTITY)
            for start in (near.scaled(self.fine_box / self.coarse_box), IDENTITY):
                found = self.fine.refine(fine, start)
                reached = self.fine.correlation(fine, found)
                if reached > score:
                    best, score = found, reached
        if self.options.search == "global" or not both:
            for start in self._candidates(small, coarse):
                found = self.fine.refine(fine, start.scaled(self.fine_box / self.coarse_box))
                reached = self.fine.correlation(fine, found)
                if reached > score + (_TIE if both and best is not None else 0):
                    best, score = found, reached
        return best, score, before

    def _candidates(self, small: Array, coarse: Array, keep: int = 24, refined: int = 3) -> Any:
        """A few motions from the global search, refined at the coarse resolution."""
        found = []
        for _, start in self.coarse.scan(small, self.grid)[:keep]:
            motion = self.coarse.refine(coarse, start, steps=8)
            found.append((self.coarse.correlation(coarse, motion), motion))
        found.sort(key=lambda entry: -entry[0])
        chosen: list[Motion] = []
        for _, motion in found:
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
    found: list[Alignment] = []
    for _ in range(rounds):
        aligner = Aligner(reference, voxel_size, options)
        found = [aligner.align(volume) for volume in volumes]
        frame = Motion(
            found[0].motion.rotation.T, -found[0].motion.rotation.T @ found[0].motion.shift
        )
        mean = np.zeros(reference.shape)
        for volume, one in zip(volumes, found, strict=True):
            mean += apply_motion(volume, frame.after(one.motion), order=3)
        reference = mean / len(volumes)
    return found
