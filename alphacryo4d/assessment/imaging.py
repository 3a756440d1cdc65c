"""Image formation: poses and contrast transfer in RELION's conventions.

Written independently of the classification engine, so that the two can be compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


def rotation_matrices(angles: Array) -> FloatArray:
    """Rotation matrices of RELION's Euler angles (its ``Euler_angles2matrix``).

    Parameters
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees.

    Returns
    -------
    (P, 3, 3) array
        Rows map the frame of the volume (x, y, z) to the frame of the image.
    """
    radians = np.deg2rad(np.asarray(angles, np.float64)).reshape(-1, 3)
    ca, cb, cg = np.cos(radians).T
    sa, sb, sg = np.sin(radians).T
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.ascontiguousarray(np.moveaxis(np.array(rows), 2, 0), np.float64)


def euler_angles(matrices: Array) -> FloatArray:
    """Inverse of :func:`rotation_matrices`; rot is 0 where tilt is 0 or 180 degrees.

    Parameters
    ----------
    matrices : (P, 3, 3) array
        Rotation matrices.

    Returns
    -------
    (P, 3) array
        rot, tilt, psi in degrees, tilt within 0 and 180.
    """
    a = np.asarray(matrices, np.float64)
    sine = np.hypot(a[:, 2, 0], a[:, 2, 1])
    tilt = np.arctan2(sine, a[:, 2, 2])
    rot = np.arctan2(a[:, 2, 1], a[:, 2, 0])
    psi = np.arctan2(a[:, 1, 2], -a[:, 0, 2])
    pole = sine < 1e-9
    sign = np.where(a[:, 2, 2] > 0, 1.0, -1.0)
    rot = np.where(pole, 0.0, rot)
    psi = np.where(pole, np.arctan2(-sign * a[:, 1, 0], sign * a[:, 0, 0]), psi)
    return np.asarray(np.rad2deg(np.stack([rot, tilt, psi], axis=1)), np.float64)


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
    from scipy.spatial.transform import Rotation

    vectors = np.deg2rad(rng.normal(0.0, deviation, (len(angles), 3)))
    turned: Array = Rotation.from_rotvec(vectors).as_matrix() @ rotation_matrices(angles)
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
