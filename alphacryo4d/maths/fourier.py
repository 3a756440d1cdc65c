"""Fourier transforms of cubes: shells, another box, and filters.

A half transform is the layout of ``rfftn``: (..., n, n, n // 2 + 1).
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from alphacryo4d.core.arrays import Array

_CUBE = (-3, -2, -1)


def shell_numbers(size: int) -> Array:
    """Shell of every voxel of the half transform of a cube, (n, n, n // 2 + 1) int32."""
    k = np.fft.fftfreq(size, 1 / size)
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(size // 2 + 1) ** 2.0
    shells: Array = np.rint(np.sqrt(square)).astype(np.int32)
    return shells


def resize_spectra(spectra: Array, size: int) -> Array:
    """Half transforms on another cube over the same field of view: cropped, or padded with zeros.

    Parameters
    ----------
    spectra : (..., n, n, n // 2 + 1) array
        Half transforms of cubes.
    size : int
        Edge of the new cube.

    Returns
    -------
    (..., size, size, size // 2 + 1) array
        The frequencies that both cubes hold. Nyquist terms of an even edge, which stand for both
        signs of a frequency, are left out, so that the cube is real without folding.
    """
    n = spectra.shape[-2]
    half = (min(n, size) - 1) // 2
    resized = np.zeros((*spectra.shape[:-3], size, size, size // 2 + 1), spectra.dtype)
    low, high = slice(0, half + 1), slice(-half, None)
    sides = (low, high) if half else (low,)
    for z in sides:
        for y in sides:
            resized[..., z, y, low] = spectra[..., z, y, low]
    return resized


def resize_cubes(cubes: Array, size: int) -> Array:
    """Band-limited volumes on another cube of the same physical box, with the same transform.

    Parameters
    ----------
    cubes : (..., n, n, n) array
        Origin at n // 2.
    size : int
        New edge; frequencies from either Nyquist on are left out.

    Returns
    -------
    (..., size, size, size) float32 array
        With the same Fourier transform (sum over voxels), not the same values.
    """
    spectra = scipy.fft.rfftn(
        scipy.fft.ifftshift(np.asarray(cubes, np.float32), axes=_CUBE), axes=_CUBE
    )
    real = scipy.fft.irfftn(resize_spectra(spectra, size), s=(size,) * 3, axes=_CUBE)
    return np.ascontiguousarray(scipy.fft.fftshift(real, axes=_CUBE), dtype=np.float32)


def fourier_resize(volume: Array, box: int) -> Array:
    """Volume with other voxels over the same field of view: the same values at the same places.

    Parameters
    ----------
    volume : (n, n, n) array
        Density with its origin at n // 2.
    box : int
        New box; a larger one interpolates. The voxel size becomes n / box times the old.

    Returns
    -------
    (box, box, box) float32 array
        Origin at box // 2; a volume that has this box already is returned as it is.
    """
    size = len(volume)
    if box == size:
        return np.asarray(volume, np.float32)
    return resize_cubes(volume, box) * np.float32((box / size) ** 3)


def filter_map(volume: Array, resolution: float, voxel_size: float) -> Array:
    """Map low-passed at a resolution in Angstrom, with a cosine edge of three shells."""
    size = volume.shape[0]
    last = size * voxel_size / resolution
    edge = np.clip((shell_numbers(size) - last) / 3.0, 0, 1)
    spectrum = scipy.fft.rfftn(volume) * (0.5 + 0.5 * np.cos(np.pi * edge))
    filtered: Array = scipy.fft.irfftn(spectrum, s=volume.shape)
    return filtered
