"""Volumes at another box: the same field of view with coarser or finer voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import fft

FloatArray = np.ndarray[Any, np.dtype[np.float32]]


def fourier_resize(volume: np.ndarray[Any, Any], box: int) -> FloatArray:
    """Volume with other voxels over the same field of view, by its Fourier transform.

    The origin stays at N//2 and the density scale is kept. The Nyquist terms of an even box, which
    stand for both signs of a frequency, are left out, so that the result is real without folding.

    Parameters
    ----------
    volume : (n, n, n) array
        Density in z, y, x.
    box : int
        Box of the result; a larger one interpolates.

    Returns
    -------
    (box, box, box) float32 array
    """
    size = volume.shape[0]
    if box == size:
        return np.asarray(volume, dtype=np.float32)
    # the lowest frequencies k = -half..half, taken from both ends of every full axis
    half = (min(box, size) - 1) // 2
    kept = np.r_[0 : half + 1, size - half : size]
    target = np.r_[0 : half + 1, box - half : box]
    spectrum = fft.rfftn(fft.ifftshift(volume).astype(np.float32))
    resized = np.zeros((box, box, box // 2 + 1), dtype=spectrum.dtype)
    resized[np.ix_(target, target, np.arange(half + 1))] = spectrum[
        np.ix_(kept, kept, np.arange(half + 1))
    ]
    density = fft.fftshift(fft.irfftn(resized, s=(box, box, box)))
    return np.asarray(density * (box / size) ** 3, dtype=np.float32)
