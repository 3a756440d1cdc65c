"""Final volumes at the full box from the particles of each class, with half maps and FSC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.kernels_final import add_images, normalise_sums
from alphacryo4d.ml3d.kernels_linear import thread_count
from alphacryo4d.ml3d.model import Grid
from alphacryo4d.progress import Progress, no_progress

Array = np.ndarray[Any, Any]


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
        Wiener-filtered by the FSC of the halves; contrast positive.
    halves : (2, box, box, box) float32
        Unfiltered half maps.
    fsc : (shells,) float64
        Fourier shell correlation of the halves.
    resolution : float
        Where it falls below 0.143 (A).
    """

    fold: int
    label: int
    count: int
    volume: Array
    halves: Array
    fsc: Array
    resolution: float


def shell_correlation(first: Array, second: Array) -> Array:
    """Fourier shell correlation of two volumes, (n // 2,) float64."""
    n = len(first)
    a, b = np.fft.rfftn(first), np.fft.rfftn(second)
    k = np.fft.fftfreq(n, 1 / n)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(n // 2 + 1) ** 2)
    shell = np.rint(radius).astype(np.int64).ravel()
    double = np.where((np.arange(n // 2 + 1) == 0) | (np.arange(n // 2 + 1) == n // 2), 1, 2)
    double = np.broadcast_to(double, a.shape).ravel()

    def total(values: Array) -> Array:
        return np.bincount(shell, values.ravel() * double)[: n // 2]

    both = total((a * b.conj()).real)
    curve: Array = both / np.sqrt(np.maximum(total(np.abs(a) ** 2) * total(np.abs(b) ** 2), 1e-30))
    return curve


def resolution_at(fsc: Array, threshold: float, box: int, pixel_size: float) -> float:
    """Resolution (A) at which a curve first falls below a threshold (linear between shells)."""
    below = np.flatnonzero(fsc[1:] < threshold)
    if not below.size:
        return box * pixel_size / (len(fsc) - 1)
    shell = int(below[0]) + 1
    if shell == 1:
        return box * pixel_size
    step = (fsc[shell - 1] - threshold) / max(fsc[shell - 1] - fsc[shell], 1e-12)
    return float(box * pixel_size / (shell - 1 + step))


def split_halves(count: int) -> Array:
    """Deterministic random halves (0 or 1) for particles without ``rlnRandomSubset``."""
    return np.random.default_rng(20220808).integers(0, 2, count, dtype=np.int8)


def reconstruct(
    images: PreparedImages,
    labels: Array,
    *,
    halves: Array | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
    check: Callable[[], None] | None = None,
) -> Iterator[Reconstruction]:
    """Volumes of all classes of several classifications, one after the other.

    Parameters
    ----------
    images : PreparedImages
        Prepared without a limit of resolution.
    labels : (P,) or (P, F) int array
        Class of every particle of ``images`` in every fold, from 0; negative where it has none.
    halves : (P,) int array, optional
        Half of every particle, 0 or 1; by default a fixed random split.
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
    half = split_halves(len(images)) if halves is None else np.asarray(halves, np.int8)
    work = [
        (fold, int(label))
        for fold in range(columns.shape[1])
        for label in np.unique(columns[:, fold])
        if label >= 0
    ]
    grid = Grid(images.radius)
    workers = thread_count(threads)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Reconstruction]] = deque()
        for done, (fold, label) in enumerate(work):
            if check is not None:
                check()
            rows = np.flatnonzero(columns[:, fold] == label)
            waiting.append(pool.submit(_one_volume, images, grid, rows, half[rows], fold, label))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
            progress(done, len(work))
        while waiting:
            yield waiting.popleft().result()
        progress(len(work), len(work))


def _one_volume(
    images: PreparedImages, grid: Grid, rows: Array, half: Array, fold: int, label: int
) -> Reconstruction:
    sums = np.zeros((2, grid.voxels, 4), np.float32)
    for side in (0, 1):
        add_images(
            images.data, images.ctf, images.matrices, images.sorted_rows(rows[half == side]),
            images.kx, images.ky, grid.padded, sums[side],
        )  # fmt: skip
    maps = np.stack([_to_map(images, grid, sums[side], None) for side in (0, 1)])
    fsc = shell_correlation(maps[0], maps[1])
    whole = np.clip(2 * fsc / (1 + np.clip(fsc, 0, 1)), 0, 0.9999)[: grid.radius + 1]
    signal = whole / (1 - whole)
    volume = _to_map(images, grid, sums[0] + sums[1], signal)
    resolution = resolution_at(fsc, 0.143, images.box, images.pixel_size)
    return Reconstruction(fold, label, len(rows), volume, maps, fsc, resolution)


def _to_map(images: PreparedImages, grid: Grid, sums: Array, signal: Array | None) -> Array:
    """Divide sums by weights (with the Wiener term of a signal-to-noise ratio) and transform."""
    size = grid.padded
    spectrum = np.empty((1, size, size, size // 2 + 1), np.complex64)
    ratio = np.full(grid.radius + 1, 1e3) if signal is None else np.clip(signal, 1e-4, 1e3)
    normalise_sums(sums, size, grid.radius, ratio.astype(np.float32), spectrum)
    cube = grid.crop_inverse(spectrum)[0] / 8 / grid.kernel_transform
    box, edge = images.box, grid.cube
    start = (edge - box) // 2
    part = cube[start : start + box, start : start + box, start : start + box]
    return np.ascontiguousarray(part * np.float32(box), dtype=np.float32)
