"""Final volumes at the full box from the particles of each class, with half maps and FSC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.fourier import resize_cubes, shell_numbers
from alphacryo4d.maths.fsc import resolution_at, shell_correlation
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.cells import cell_weights
from alphacryo4d.ml3d.compiled.classes import backproject_class, fold_class
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid, aligned_zeros
from alphacryo4d.ml3d.images import PreparedImages

_SHARE = 1e-3
"""Share of a shell's mean weight that is added to the weight of every voxel."""
_DAMPING = 0.3
"""The same share in the step towards least squares, which must not overshoot."""
_BLOCK = 4096
"""Images that are read at once where they are read again."""
_LEAST = 1e-3
"""Smallest weight of a shell in the final volume."""


@dataclass(frozen=True)
class Reconstruction:
    """Volume of one class of one classification.

    Attributes
    ----------
    fold, label : int
        Column of the labels and class, from 0.
    count : int
        Particles.
    volume : (box, box, box) float32
        Weighted by the FSC of the half maps; contrast positive.
    half_maps : (2, box, box, box) float32
        Unfiltered half maps.
    fsc : (shells,) float64
        Fourier shell correlation of the half maps.
    resolution : float
        Where it falls below 0.143 (A).
    """

    fold: int
    label: int
    count: int
    volume: Array
    half_maps: Array
    fsc: Array
    resolution: float


def random_half_sets(count: int) -> Array:
    """Deterministic random half-sets (0 or 1) for particles without ``rlnRandomSubset``."""
    return np.random.default_rng(20220808).integers(0, 2, count, dtype=np.int8)


def reconstruct(
    images: PreparedImages,
    labels: Array,
    *,
    half_sets: Array | None = None,
    source: Callable[[Array], PreparedImages] | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
    check: Callable[[], None] | None = None,
) -> Iterator[Reconstruction]:
    """Volumes of all classes of several classifications, one after the other.

    Parameters
    ----------
    images : PreparedImages
        Prepared without a limit of resolution (unless there is a ``source``).
    labels : (P,) or (P, F) int array
        Class of every particle of ``images`` in every fold, from 0; negative where it has none.
    half_sets : (P,) int array, optional
        Half-set of every particle, 0 or 1; by default a fixed random split.
    source : callable, optional
        ``source(rows)`` prepares some of the images with all shells, for when ``images`` holds only
        those of the classification; images are then read again, class by class.
    threads : int, optional
    progress : Progress
    check : callable, optional
        Called before every volume; stops the work by raising.

    Yields
    ------
    Reconstruction
        By fold, then class; classes without particles are left out.
    """
    columns = labels.reshape(len(images), -1)
    half = random_half_sets(len(images)) if half_sets is None else np.asarray(half_sets, np.int8)
    work = [
        (fold, int(label))
        for fold in range(columns.shape[1])
        for label in np.unique(columns[:, fold])
        if label >= 0
    ]
    grid = Grid(images.radius if source is None else images.box // 2 - 1)
    every = _Samples(images, source)
    workers = thread_count(threads)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Reconstruction]] = deque()
        for done, (fold, label) in enumerate(work):
            if check is not None:
                check()
            rows = np.flatnonzero(columns[:, fold] == label)
            waiting.append(pool.submit(_one_volume, every, grid, rows, half[rows], fold, label))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
            progress(done, len(work))
        while waiting:
            yield waiting.popleft().result()
        progress(len(work), len(work))


@dataclass(frozen=True)
class _Samples:
    """All Fourier samples of particles, from memory or read again in blocks."""

    images: PreparedImages
    source: Callable[[Array], PreparedImages] | None

    def blocks(self, rows: Array) -> Iterator[tuple[PreparedImages, Array]]:
        """Prepared images, and which of them to use, for some rows."""
        if self.source is None:
            yield self.images, self.images.sorted_rows(rows)
            return
        for start in range(0, len(rows), _BLOCK):
            part = self.source(rows[start : start + _BLOCK])
            yield part, part.order


def _one_volume(
    samples: _Samples, grid: Grid, rows: Array, half: Array, fold: int, label: int
) -> Reconstruction:
    images = samples.images
    sums = aligned_zeros((2, grid.voxels, 4))
    for side in (0, 1):
        for part, chosen in samples.blocks(rows[half == side]):
            view = View(part, chosen, grid)
            ones = np.ones((view.groups, view.last), np.float32)
            for turn in view.turns:
                backproject_class(
                    np.arange(len(chosen)), np.ones(len(chosen), np.float32), part.data, part.ctf,
                    turn, chosen, *view.positions, view.last, part.group, ones,
                    grid.padded, sums[side].reshape(-1),
                )  # fmt: skip
    return finished(images, grid, sums, fold, label, len(rows))


def finished(
    images: PreparedImages, grid: Grid, sums: Array, fold: int, label: int, count: int
) -> Reconstruction:
    """Volume, half maps and their correlation from what was projected back of each half.

    Parameters
    ----------
    images : PreparedImages
    grid : Grid
    sums : (2, voxels, 4) float32
        Of each half, as :func:`alphacryo4d.ml3d.compiled.classes.backproject_class` leaves them;
        the first ends up as the sum of both.
    fold, label, count : int
        Of the :class:`Reconstruction`.
    """
    half_maps = np.stack([_to_map(images, grid, sums[side]) for side in (0, 1)])
    fsc = shell_correlation(half_maps[0], half_maps[1])
    sums[0] += sums[1]
    volume = filter_by_correlation(_to_map(images, grid, sums[0]), fsc)
    resolution = resolution_at(fsc, images.pixel_size)
    return Reconstruction(fold, label, count, volume, half_maps, fsc, resolution)


def _to_map(images: PreparedImages, grid: Grid, sums: Array) -> Array:
    """Map of the particles in some sums, by their weights alone (no prior).

    Data over weight, voxel by voxel, gives every voxel of the padded grid the same say, though
    some got many samples and their neighbours few, and the box ties neighbours together. One step
    towards the least-squares solution of all samples mends that: half of the noise power goes.
    """
    size, edge = grid.padded, grid.cube
    shape = (size, size, size // 2 + 1)
    right, weights = np.zeros(shape, np.complex64), np.zeros(shape, np.float32)
    fold_class(sums, size, 2 * grid.radius + 3, right, weights)
    spectrum, mean = _divide_by_weights(grid, right, weights)
    flat = 1 / grid.kernel_transform
    cube = grid.cropped(spectrum, flat) / np.float32(8)
    cube += _least_squares_step(grid, grid.weighted(cube, flat, weights, right), weights, mean)
    if edge != images.box:  # the same width in more voxels, where those of the box transform slowly
        cube = resize_cubes(cube[None], images.box)[0]
    return without_corners(cube * np.float32(images.box))


def _divide_by_weights(grid: Grid, right: Array, weights: Array) -> tuple[Array, Array]:
    """Data over weight plus a share of the shell's mean weight, 0 beyond the radius.

    ``right`` complex64 and ``weights`` float32 (N, N, N // 2 + 1), plane by plane so that the
    shells of all voxels need not be kept. Gives the spectrum, and the mean weight of every shell,
    (radius + 1,), in pixels of the unpadded transform, over the voxels that this transform has.
    """
    mean = grid.shell_means(weights[::2, ::2, ::2].reshape(1, -1))[0]
    added = np.append(_SHARE * mean, np.inf).astype(np.float32)
    square = np.fft.fftfreq(len(right), 1 / len(right)).astype(np.float32) ** 2
    planar = square[:, None] + square[: right.shape[2]]
    spectrum = np.empty_like(right)
    for z in range(len(right)):
        shells = (np.float32(0.5) * np.sqrt(planar + square[z]) + np.float32(0.5)).astype(np.intp)
        total = added.take(shells, mode="clip")
        total += weights[z]
        np.reciprocal(np.maximum(total, np.float32(1e-30)), out=total)
        np.multiply(right[z].real, total, out=spectrum[z].real)
        np.multiply(right[z].imag, total, out=spectrum[z].imag)
    return spectrum, mean


def _least_squares_step(grid: Grid, residual: Array, weights: Array, mean: Array) -> Array:
    """Residual of the normal equations at a cube over the weights around every voxel."""
    around = cell_weights(weights, grid.shell_map)
    precision = (_DAMPING * 8 * mean).astype(np.float32)[grid.shell_map]
    inverse = 1 / np.maximum(around + precision, np.float32(1e-30))
    inverse[grid.shell_map < 0] = 0
    step: Array = grid.inverse(grid.transform(residual[None]) * inverse)[0]
    return step


def without_corners(volume: Array, width: float = 3.0) -> Array:
    """The volume with its mean outside the sphere that the box holds, where images say nothing.

    The projections of the corners of a box lie outside most images: they would hold noise alone,
    nearly half of all. The edge of the sphere is a cosine of some voxels' width, as in RELION.
    """
    box = len(volume)
    axis = np.arange(box, dtype=np.float32) - box // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    outside = 0.5 - 0.5 * np.cos(np.pi * np.clip((radius - box / 2) / width, 0, 1))
    total = float(outside.sum(dtype=np.float64))
    mean = float((volume * outside).sum(dtype=np.float64)) / total if total > 0 else 0.0
    return np.asarray(volume + outside * (mean - volume), dtype=np.float32)


def filter_by_correlation(volume: Array, fsc: Array) -> Array:
    """The volume weighted shell by shell with its own signal, as the FSC of its half maps tells.

    The FSC of the whole is 2 F / (1 + F) (Rosenthal & Henderson 2003), which is the Wiener weight
    of a shell. A shell never vanishes, so that its phases stay comparable.
    """
    box = len(volume)
    whole = np.clip(2 * fsc / (1 + np.clip(fsc, 0, 1)), _LEAST, 1).astype(np.float32)
    weights = np.append(whole, np.float32(0))[np.minimum(shell_numbers(box), len(whole))]
    spectrum = scipy.fft.rfftn(np.asarray(volume, np.float32)) * weights
    return np.asarray(scipy.fft.irfftn(spectrum, s=volume.shape), dtype=np.float32)
