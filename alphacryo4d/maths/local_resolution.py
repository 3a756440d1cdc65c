"""Local resolution of a map: Fourier shell correlation of its halves in a moving soft sphere.

Instead of cutting out every window, the halves are filtered to one band of frequencies after the
other, and products of what is left are averaged over the window around every point (Cardone et al.
2013 cut windows; the sums are the same). The window's diameter sets how far bands are apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft
import scipy.ndimage

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.fourier import resize_spectra

LOCAL_LIMIT = 0.5
"""Correlation in a window at the resolution limit: few samples are in it, 0.143 would be noise."""
_WINDOW_RESOLUTIONS = 5.0
"""Diameter of the window in units of the resolution of the whole map."""
_POINTS = 8
"""Points at which a window's diameter is sampled."""


def window_diameter(resolution: float, box: int, voxel_size: float) -> float:
    """Diameter (A) of the window: five times the resolution, 10 voxels to half of the box."""
    widest = box * voxel_size / 2
    return float(np.clip(_WINDOW_RESOLUTIONS * resolution, min(10 * voxel_size, widest), widest))


def local_resolution(
    half1: Array,
    half2: Array,
    voxel_size: float,
    *,
    window: float,
    limit: float = LOCAL_LIMIT,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Array:
    """Resolution around every voxel of a map, from its half maps.

    Parameters
    ----------
    half1, half2 : (n, n, n) arrays
        Unfiltered half maps; n even.
    voxel_size : float
        In Angstrom.
    window : float
        Diameter of the soft sphere in which halves are compared (A).
    limit : float
        Correlation at which the resolution is read.
    threads : int, optional
    progress : Progress

    Returns
    -------
    (n, n, n) float32 array
        In Angstrom: from Nyquist (2 voxels) to ``window``, beyond which it cannot tell.
    """
    n = len(half1)
    spectra = [scipy.fft.rfftn(np.asarray(half, np.float32), workers=threads or -1)
               for half in (half1, half2)]  # fmt: skip
    side = n * voxel_size
    coarse = min(n, 2 * int(np.ceil(_POINTS * side / window / 2)))
    kernel = _window_transform(coarse, window / side * coarse)
    step = side / window
    bands = int(np.ceil((n / 2 - 1) / step))
    reached = np.full((coarse,) * 3, n / 2, np.float32)
    before, open_ = np.ones_like(reached), np.ones(reached.shape, bool)
    for band in range(1, bands + 1):
        progress(band - 1, bands)
        correlation = _band_correlation(spectra, band * step, step, kernel, threads)
        fallen = open_ & (correlation < limit)
        drop = (before[fallen] - limit) / (before[fallen] - correlation[fallen])
        reached[fallen] = (band - 1 + drop) * step
        open_ &= ~fallen
        before = correlation
        if not open_.any():
            break
    progress(bands, bands)
    shells = scipy.ndimage.affine_transform(
        reached, np.full(3, coarse / n), output_shape=(n,) * 3, order=1, mode="grid-wrap"
    )
    result: Array = (side / np.clip(shells, step, n / 2)).astype(np.float32)
    return result


def _window_transform(size: int, diameter: float) -> Array:
    """Transform of a soft sphere of so many voxels, at the first voxel of a cube, sum 1."""
    line = np.fft.fftfreq(size, 1 / size) ** 2
    radius = np.sqrt(line[:, None, None] + line[:, None] + line)
    edge = max(diameter / 4, 1.0)
    sphere = np.clip((diameter / 2 + edge / 2 - radius) / edge, 0, 1)
    sphere = 0.5 - 0.5 * np.cos(np.pi * sphere)
    transform: Array = scipy.fft.rfftn(sphere / sphere.sum()).astype(np.complex64)
    return transform


def _band_correlation(
    spectra: list[Array], center: float, width: float, kernel: Array, threads: int | None
) -> Array:
    """Correlation of two maps in one band of shells, averaged over the window, on its grid."""
    n = spectra[0].shape[0]
    # products reach twice the highest shell; a box that holds them is enough
    size = min(n, 2 * int(np.ceil(2 * (center + width))) + 2)
    coarse = kernel.shape[0]
    size = max(size, coarse)
    line = np.fft.fftfreq(size, 1 / size)
    square = line[:, None, None] ** 2 + line[:, None] ** 2 + np.arange(size // 2 + 1) ** 2
    away = np.abs(np.sqrt(square) - center) / width
    weight = np.cos(np.pi / 2 * np.minimum(away, 1)).astype(np.float32)
    workers = threads or -1
    first, second = (
        scipy.fft.irfftn(resize_spectra(spectrum, size) * weight, s=(size,) * 3, workers=workers)
        for spectrum in spectra
    )
    both, one, two = _averaged([first * second, first**2, second**2], kernel, workers)
    floor = 1e-6 * max(float(one.max()), float(two.max()), 1e-30)
    return np.asarray(both / np.sqrt(np.maximum(one, floor) * np.maximum(two, floor)))


def _averaged(products: list[Array], kernel: Array, workers: int) -> Iterator[Array]:
    """Averages of fields over the window around every point of a coarser grid."""
    coarse = kernel.shape[0]
    for field in products:
        spectrum = resize_spectra(scipy.fft.rfftn(field, workers=workers), coarse)
        yield scipy.fft.irfftn(spectrum * kernel, s=(coarse,) * 3, workers=workers)
