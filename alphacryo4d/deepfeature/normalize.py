"""Volumes as the network takes them: box a multiple of 4, values in [0, 1] (eq. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def normalize_volume(volume: NDArray[Any]) -> Floats:
    """Min-max normalisation of a volume by itself (eq. 1).

    Parameters
    ----------
    volume : (n, n, n) array
        Density; not changed.

    Returns
    -------
    (n, n, n) array
        Values in [0, 1]; zeros for a volume that is constant.
    """
    values = np.asarray(volume, np.float32)
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.asarray((values - low) / (high - low), np.float32)


def suitable_box(box: int) -> int:
    """Multiple of 4 that is nearest to a box size, upwards where two are."""
    return max(4, 4 * int(np.floor(box / 4 + 0.5)))


def fourier_crop(volume: NDArray[Any], box: int) -> Floats:
    """Volume resampled to another box of the same physical size, by cropping or padding in Fourier.

    Parameters
    ----------
    volume : (n, n, n) array
        Density with its origin at n // 2.
    box : int
        New box size in voxels; the voxel size becomes n / box times the old.

    Returns
    -------
    (box, box, box) array
        Density with its origin at box // 2 and the same values at the same positions.
    """
    old = volume.shape[0]
    if old == box:
        return np.asarray(volume, np.float32)
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(np.asarray(volume, np.float64))))
    kept = min(old, box)
    source = slice(old // 2 - kept // 2, old // 2 - kept // 2 + kept)
    target = slice(box // 2 - kept // 2, box // 2 - kept // 2 + kept)
    resampled = np.zeros((box,) * 3, complex)
    resampled[target, target, target] = spectrum[source, source, source]
    if kept % 2 == 0:  # the Nyquist planes have no partner, so they cannot stay real
        edge = target.start
        resampled[edge] = resampled[:, edge] = resampled[:, :, edge] = 0
    real = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(resampled))).real
    return np.asarray(real * (box / old) ** 3, np.float32)
