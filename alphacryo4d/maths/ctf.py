"""Contrast transfer of the microscope, with RELION's sign: positive near the origin."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.aberrations import electron_wavelength


def contrast_transfer(
    kx: Array,
    ky: Array,
    defocus: Array,
    *,
    voltage: float | Array,
    spherical_aberration: float | Array,
    amplitude_contrast: float | Array,
    phase_shift: float | Array = 0.0,
    even: Array | None = None,
    dtype: Any = np.float64,
) -> Array:
    """Contrast transfer function of n images.

    Parameters
    ----------
    kx, ky : arrays that broadcast to the shape of the frequencies
        Frequencies in 1/A.
    defocus : (n, 3) array
        Defocus U and V (A), angle of U (degrees).
    voltage, spherical_aberration, amplitude_contrast, phase_shift : float or (n,) array
        kV, mm, fraction, degrees.
    even : (n, frequencies) array, optional
        Even aberrations (radians), taken off the argument.
    dtype : dtype
        Precision of the sine; its argument is brought within one turn in float64 before.

    Returns
    -------
    (n, ...) array
        ``sin(pi lambda dz k^2 - pi / 2 Cs lambda^3 k^4 + phase shift + asin(amplitude contrast))``
        with ``dz k^2 = mean k^2 + (U - V) / 2 cos(2 (azimuth - angle)) k^2`` (Rohou & Grigorieff
        2015, J. Struct. Biol. 192, 216). An image whose optics give no finite number has 0.
    """
    u, v, angle = np.asarray(defocus, np.float64).reshape(-1, 3).T
    wavelength, double = electron_wavelength(np.asarray(voltage)), 2 * np.deg2rad(angle)
    square = np.asarray(kx, np.float64) ** 2 + np.asarray(ky, np.float64) ** 2
    waves = np.stack([square, kx**2 - ky**2 + 0 * square, 2 * kx * ky, square**2, 1 + 0 * square])
    # every column times its wave, in turns
    turns = np.empty((len(u), len(waves)))
    with np.errstate(invalid="ignore"):
        turns[:, 0] = 0.25 * wavelength * (u + v)
        turns[:, 1] = 0.25 * wavelength * (u - v) * np.cos(double)
        turns[:, 2] = 0.25 * wavelength * (u - v) * np.sin(double)
    turns[:, 3] = -0.25 * 1e7 * spherical_aberration * wavelength**3
    turns[:, 4] = (np.deg2rad(phase_shift) + np.arcsin(amplitude_contrast)) / (2 * np.pi)
    turns[~np.isfinite(turns).all(axis=1)] = 0
    argument = np.einsum("nk,k...->n...", turns, waves)
    if even is not None:
        argument -= even / (2 * np.pi)
    argument -= np.rint(argument)
    argument *= 2 * np.pi
    return np.asarray(np.sin(argument.astype(dtype, copy=False)))
