"""Aberrations of the wave that reaches the camera: Zernike polynomials as RELION 3.1 to 5 has them.

A polynomial is evaluated at the spatial frequency in 1/A itself, not at a share of some largest
one, so that a coefficient does not depend on the box. Odd polynomials turn the phases of an image,
even ones add to the argument of its CTF (Zivanov, Nakane & Scheres 2020, IUCrJ 7, 253).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alphacryo4d.core.arrays import Array


def electron_wavelength(voltage: Array) -> Array:
    """Wavelength (A) of electrons of a voltage in kV as RELION has it; NaN of none above 0."""
    volts = np.asarray(voltage, dtype=np.float64) * 1e3
    volts = np.where(volts > 0, volts, np.nan)
    return np.asarray(12.2643247 / np.sqrt(volts * (1.0 + volts * 0.978466e-6)))


def zernike_order(place: int, *, odd: bool) -> tuple[int, int]:
    """Angular and radial order (m, n) of a coefficient by its place in the list, from 0."""
    if odd:
        k = (math.isqrt(1 + 4 * place) - 1) // 2
        return 2 * (place - k * (k + 1)) - (2 * k + 1), 2 * k + 1
    k = math.isqrt(place)
    return 2 * (place - k * k - k), 2 * k


def radial_coefficients(m: int, n: int) -> list[tuple[int, float]]:
    """Powers of the radius in the polynomial of orders m and n, and their factors."""
    m = abs(m)
    terms = []
    for k in range((n - m) // 2 + 1):
        below = math.factorial(k) * math.factorial((n + m) // 2 - k)
        below *= math.factorial((n - m) // 2 - k)
        terms.append((n - 2 * k, (-1) ** k * math.factorial(n - k) / below))
    return terms


def zernike_sum(coefficients: Sequence[float], x: Array, y: Array, *, odd: bool) -> Array:
    """Sum of Zernike polynomials.

    Parameters
    ----------
    coefficients : sequence of float
        Of ``rlnOddZernike`` or ``rlnEvenZernike``, in radians.
    x, y : arrays of one shape
        Spatial frequency in 1/A.
    odd : bool
        Which of the two lists it is.

    Returns
    -------
    float64 array of that shape
        Radians.
    """
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    total = np.zeros(np.shape(radius))
    for place, coefficient in enumerate(coefficients):
        if coefficient == 0:
            continue
        m, n = zernike_order(place, odd=odd)
        wave = np.cos(m * angle) if m >= 0 else np.sin(-m * angle)
        radial = sum(factor * radius**power for power, factor in radial_coefficients(m, n))
        total += coefficient * wave * radial
    return total


def coma_phase(spherical_aberration: float, voltage: float) -> float:
    """Phase (radians A^3) of the coma of a beam tilt of 1 mrad, over minus the frequency cubed.

    Parameters
    ----------
    spherical_aberration, voltage : float
        mm, kV.
    """
    wavelength = float(electron_wavelength(np.array(voltage)))
    return 2e4 * math.pi * spherical_aberration * wavelength**2


def with_beam_tilt(
    odd: Sequence[float], tilt: Sequence[float], spherical_aberration: float, voltage: float
) -> list[float]:
    """Odd coefficients that hold a beam tilt too, as RELION enters it.

    Parameters
    ----------
    odd : sequence of float
        ``rlnOddZernike``; its terms of coma give way to the tilt, as in RELION.
    tilt : (2,) sequence
        ``rlnBeamTiltX``, ``rlnBeamTiltY`` in mrad.
    spherical_aberration, voltage : float
        mm, kV.
    """
    if not any(tilt):
        return list(odd)
    values = [*odd, *([0.0] * (6 - len(odd)))]
    scale = coma_phase(spherical_aberration, voltage)
    across, down = -scale * tilt[0] / 3.0, -scale * tilt[1] / 3.0
    values[4], values[3] = across, down
    values[1] += 2.0 * across
    values[0] += 2.0 * down
    return values
