"""Image formation: poses and contrast transfer in RELION's conventions.

Written independently of the classification engine, so that the two can be compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import euler_angles, euler_matrices, rotation_matrices

FloatArray = npt.NDArray[np.float64]


def random_rotations(rng: np.random.Generator, count: int) -> FloatArray:
    """Euler angles (count, 3), degrees, uniform over all rotations."""
    rot = rng.uniform(-180, 180, count)
    tilt = np.rad2deg(np.arccos(rng.uniform(-1, 1, count)))
    psi = rng.uniform(-180, 180, count)
    return np.stack([rot, tilt, psi], axis=1)


def perturb_rotations(angles: Array, deviation: float, rng: np.random.Generator) -> FloatArray:
    """Turn every pose by a random rotation vector, Gaussian on each of its axes.

    Parameters
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees.
    deviation : float
        Standard deviation on each axis, degrees.
    rng : numpy.random.Generator
        Source of the rotations.

    Returns
    -------
    (P, 3) array
        rot, tilt, psi in degrees.
    """
    vectors = rng.normal(0.0, deviation, (len(angles), 3))
    turned = rotation_matrices(vectors) @ euler_matrices(angles)
    return euler_angles(turned)


def frequencies(box: int, pixel_size: float) -> tuple[FloatArray, FloatArray]:
    """Frequencies y (box, 1) and x (1, box // 2 + 1) of ``rfft2``, in 1/Angstrom."""
    y = np.asarray(np.fft.fftfreq(box, pixel_size), np.float64)
    x = np.asarray(np.fft.rfftfreq(box, pixel_size), np.float64)
    return y[:, None], x[None, :]


def electron_wavelength(voltage: float) -> float:
    """Relativistic wavelength in Angstrom at a voltage in kV."""
    volts = voltage * 1e3
    return float(12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6)))


def contrast_transfer(
    ky: Array,
    kx: Array,
    defocus: Array,
    *,
    voltage: float,
    spherical_aberration: float,
    amplitude_contrast: float,
) -> FloatArray:
    """Contrast transfer function with RELION's sign: positive near the origin.

    Parameters
    ----------
    ky, kx : arrays that broadcast to the shape of the frequencies
        Frequencies in 1/Angstrom.
    defocus : (P, 3) array
        Defocus U and V in Angstrom, angle of U in degrees.
    voltage : float
        kV.
    spherical_aberration : float
        mm.
    amplitude_contrast : float
        Fraction.

    Returns
    -------
    (P, ...) array
        sin(pi lambda dz k^2 - pi/2 Cs lambda^3 k^4 + asin(amplitude contrast)).
    """
    wavelength = electron_wavelength(voltage)
    shape = (-1,) + (1,) * np.broadcast(ky, kx).ndim
    u, v, angle = np.asarray(defocus, np.float64).reshape(-1, 3).T
    double = 2 * np.deg2rad(angle)
    mean = ((u + v) / 2).reshape(shape)
    cosine = ((u - v) / 2 * np.cos(double)).reshape(shape)
    sine = ((u - v) / 2 * np.sin(double)).reshape(shape)
    k2 = kx**2 + ky**2
    # dz k^2 = mean k^2 + (u - v)/2 cos(2 (azimuth - angle)) k^2, without arctan2
    defocus_k2 = mean * k2 + cosine * (kx**2 - ky**2) + sine * (2 * kx * ky)
    phase = np.pi * wavelength * defocus_k2
    phase -= np.pi / 2 * spherical_aberration * 1e7 * wavelength**3 * k2**2
    phase += np.arcsin(amplitude_contrast)
    result: FloatArray = np.sin(phase, out=phase)
    return result
