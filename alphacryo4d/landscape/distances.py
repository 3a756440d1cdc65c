"""Exact distances between volumes from a blocked Gram matrix (section 4.5, eq. 4).

The stack is never copied: blocks of voxels are read from its file, standardised, and their products
are added up in float64.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress

logger = logging.getLogger(__name__)

Reader = Callable[[int, int, int, int], Array]


def squared_distances(
    parts: Sequence[Array],
    *,
    standardize: bool = True,
    memory: float = 1.0,
    progress: Progress = no_progress,
) -> Array:
    """Squared Euclidean distances of concatenated, standardised data (eq. 4).

    Parameters
    ----------
    parts : sequence of (V, ...) arrays
        Volumes, feature maps, ...; memory maps are read block by block. Every row of every part
        is standardised by its own mean and deviation (z-score).
    standardize : bool
        False leaves the rows as they are and only brings each part to unit mean variance.
    memory : float
        Memory for one block in GB.
    progress : Progress
        Called after every block.

    Returns
    -------
    (V, V) float64 array
        Symmetric, zero diagonal.

    Raises
    ------
    InputError
        Parts differ in length, a row is constant or holds a value that is not finite.
    """
    count = len(parts[0])
    gram = np.zeros((count, count))
    voxels = [int(np.prod(part.shape[1:])) for part in parts]
    total = 2 * sum(voxels)
    done = 0
    for number, part in enumerate(parts):
        if len(part) != count:
            raise InputError(
                f"part {number + 1} has {len(part)} rows, but there are {count} volumes; run the "
                "stage before this one again"
            )
        read = _reader(part)
        mean, deviation = _row_statistics(read, (count, voxels[number]), number, memory)
        if not standardize:
            mean = np.zeros(count)
            deviation = np.full(count, np.sqrt((deviation**2).mean()))
        done += voxels[number]
        progress(done, total)
        block = max(1024, int(memory * 1e9 / (16 * count)))
        for begin in range(0, voxels[number], block):
            columns = read(0, count, begin, min(begin + block, voxels[number]))
            scaled = np.subtract(columns, mean[:, None], dtype=np.float32)
            scaled /= deviation[:, None].astype(np.float32)
            scaled -= scaled.mean(0, dtype=np.float64).astype(np.float32)
            _add_products(gram, scaled)
            done += columns.shape[1]
            progress(done, total)
    distances: Array = np.diag(gram)[:, None] + np.diag(gram) - 2 * gram
    np.fill_diagonal(distances, 0.0)
    return np.maximum(distances, 0.0)


def _add_products(gram: Array, scaled: Array, width: int = 8192) -> None:
    """Add the products of rows; float32 products of at most ``width`` voxels, float64 sums."""
    for begin in range(0, scaled.shape[1], width):
        piece = scaled[:, begin : begin + width]
        gram += piece @ piece.T


def _row_statistics(
    read: Reader, shape: tuple[int, int], number: int, memory: float
) -> tuple[Array, Array]:
    """Mean and deviation of every row, in float64."""
    count, voxels = shape
    mean, deviation = np.empty(count), np.empty(count)
    rows = max(1, int(memory * 1e9 / (64 * voxels)))
    for begin in range(0, count, rows):
        block = read(begin, min(begin + rows, count), 0, voxels)
        mean[begin : begin + rows] = block.mean(1, dtype=np.float64)
        deviation[begin : begin + rows] = block.std(1, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(deviation))
    if len(bad):
        raise InputError(
            f"row {bad[0] + 1} of part {number + 1} holds values that are not finite; "
            "run the stage before this one again"
        )
    flat_rows = np.flatnonzero(deviation <= 1e-7 * np.abs(mean) + 1e-30)
    if len(flat_rows):
        raise InputError(
            f"row {flat_rows[0] + 1} of part {number + 1} is constant (an empty class?); drop it "
            "with a larger --minimum-class-size"
        )
    return mean, deviation


def _reader(part: Array) -> Reader:
    """Function that gives rows and columns (first and last of each) of an array (V, ...).

    A memory map is read from its file, not through the map: pages of a map count as used memory,
    and the system may map far more of them than were asked for.
    """
    flat = part.reshape(len(part), -1)
    name, start = getattr(part, "filename", None), int(getattr(part, "offset", 0))
    whole_map = isinstance(part.base, mmap.mmap)
    if name is None or not whole_map or not part.flags.c_contiguous:
        return lambda first, last, begin, end: np.asarray(flat[first:last, begin:end])
    width, dtype = flat.shape[1], flat.dtype

    def read(first: int, last: int, begin: int, end: int) -> Array:
        result: Array = np.empty((last - first, end - begin), dtype)
        whole = begin == 0 and end == width
        pieces = result.reshape(1, -1) if whole else result
        with open(name, "rb", buffering=0) as file:  # noqa: PTH123
            for row, piece in enumerate(pieces):
                file.seek(start + ((first + row) * width + begin) * dtype.itemsize)
                _fill(file, piece.data.cast("B"), name)
        return result

    return read


def _fill(file: Any, target: memoryview, name: str) -> None:
    """Read until a buffer is full; one call gives 2 GB at the most."""
    done = 0
    while done < len(target):
        count = file.readinto(target[done:])
        if not count:
            raise InputError(f"{name}: ends too early; run the stage that wrote it again")
        done += count


def low_pass_coefficients(volumes: Array, voxel_size: float, resolution: float) -> Array:
    """Fourier coefficients within a resolution, as real numbers that keep distances (Parseval).

    Parameters
    ----------
    volumes : (V, n, n, n) array
        Volumes; read one at a time.
    voxel_size : float
        Voxel size in Angstrom.
    resolution : float
        Resolution in Angstrom; finer detail is left out.

    Returns
    -------
    (V, m) float32 array
        Its distances are those of the low-passed volumes (times a common factor).
    """
    from scipy import fft

    if resolution < 2 * voxel_size:
        logger.warning(
            "--low-pass %g: the volumes end at %.4g A (Nyquist), so that nothing is filtered",
            resolution,
            2 * voxel_size,
        )
    box = volumes.shape[-1]
    along = fft.fftfreq(box, voxel_size)
    half = fft.rfftfreq(box, voxel_size)
    squared = along[:, None, None] ** 2 + along[None, :, None] ** 2 + half[None, None, :] ** 2
    kept = squared <= 1.0 / resolution**2
    weight = np.full(len(half), np.sqrt(2.0))
    weight[0] = 1.0
    if box % 2 == 0:
        weight[-1] = 1.0
    factors = np.broadcast_to(weight, kept.shape)[kept]
    result = np.empty((len(volumes), 2 * int(kept.sum())), np.float32)
    for row, volume in enumerate(volumes):
        coefficients = fft.rfftn(np.asarray(volume, np.float32), norm="ortho")[kept] * factors
        result[row] = coefficients.astype(np.complex64).view(np.float32)
    return result
