"""Maps as the page shows them: slices, projections and a box that is small enough to travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array


@dataclass(frozen=True)
class ShownMap:
    """One map, ready for the page.

    Attributes
    ----------
    slices, projections : (3, n, n) float32
        Across z, y and x (the first axis), through the middle.
    volume : (m, m, m) float32
        The map on a smaller box, for the 3D view.
    voxel_size : float
        Of ``volume`` in Angstrom.
    """

    slices: Array
    projections: Array
    volume: Array
    voxel_size: float


def shown_map(volume: Array, voxel_size: float, *, image: int, box: int) -> ShownMap:
    """Views of a map.

    Parameters
    ----------
    volume : (n, n, n) array
    voxel_size : float
        Angstrom.
    image, box : int
        Largest edge of the images and of the small map (pixels).
    """
    volume = np.asarray(volume, np.float32)
    small = resized(volume, min(box, len(volume)))
    middle = len(volume) // 2
    slices = [volume[middle], volume[:, middle], volume[:, :, middle]]
    projections = [volume.sum(axis=axis) / len(volume) for axis in range(3)]
    edge = min(image, len(volume))
    return ShownMap(
        np.stack([resized(one, edge) for one in slices]),
        np.stack([resized(one, edge) for one in projections]),
        small,
        voxel_size * len(volume) / len(small),
    )


def resized(array: Array, size: int) -> Array:
    """Array on a smaller box of the same field of view, by cropping its Fourier transform.

    Parameters
    ----------
    array : array of equal edges n
    size : int
        New edge, at most n.
    """
    edge = array.shape[0]
    if size >= edge:
        return np.asarray(array, np.float32)
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(array)))
    first = edge // 2 - size // 2
    window = (slice(first, first + size),) * array.ndim
    cropped = np.fft.ifftshift(spectrum[window])
    whole = np.fft.fftshift(np.fft.ifftn(cropped).real)
    smaller: Array = (whole * (size / edge) ** array.ndim).astype(np.float32)
    return smaller


def box_for(count: int, *, total: int = 3_500_000, largest: int = 64, least: int = 24) -> int:
    """Even edge of ``count`` maps that hold at most ``total`` voxels together."""
    edge = int((total / max(count, 1)) ** (1 / 3)) // 2 * 2
    return max(least, min(largest, edge))


def bytes_of(values: Array, low: float, high: float) -> Array:
    """Values as uint8: ``low`` becomes 0 and ``high`` 255; NaN becomes 0."""
    span = max(high - low, 1e-30)
    scaled = np.nan_to_num((np.asarray(values, np.float32) - low) * (255 / span))
    greys: Array = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return greys


def grey_window(images: list[Array]) -> tuple[float, float]:
    """Lowest and highest grey value of images that are shown side by side."""
    values = np.concatenate([np.ravel(image) for image in images])
    low, high = np.percentile(values, [0.5, 99.8])
    return float(low), float(max(high, low + 1e-12))


def along_path(
    read: Any, points: Array, weights: Array, path: Array, *, box: int
) -> tuple[Array, Array]:
    """Maps along a path: means of the volumes around each point, weighted by nearness.

    Nadaraya-Watson with a Gaussian kernel, as wide as the distance to the eighth nearest volume.

    Parameters
    ----------
    read : callable
        ``read(row)`` gives a volume (n, n, n).
    points : (V, 2) array
    weights : (V,) array
        Particles of each volume.
    path : (n, 2) array
    box : int
        Edge of the maps that come out.

    Returns
    -------
    (n, box, box, box) float32, (n,) float64
        The maps, and the number of volumes that each effectively averages.
    """
    squares = ((path[:, None] - points[None]) ** 2).sum(axis=2)
    nearest = min(8, len(points) - 1)
    widths = np.sort(squares, axis=1)[:, nearest][:, None] / 4 + 1e-12
    kernel = np.exp(-squares / (2 * widths)) * weights
    kernel /= kernel.sum(axis=1, keepdims=True)
    kept = np.where(kernel > 1e-3, kernel, 0)
    kept /= kept.sum(axis=1, keepdims=True)
    maps: Array | None = None
    for row in np.flatnonzero(kept.any(axis=0)):
        one = resized(np.asarray(read(int(row)), np.float32), box)
        if maps is None:
            maps = np.zeros((len(path), *one.shape), np.float32)
        maps += kept[:, row, None, None, None].astype(np.float32) * one
    assert maps is not None
    return maps, 1 / (kept**2).sum(axis=1)
