"""Aberrations of a STAR table as cryoSPARC stores them (:mod:`alphacryo4d.io.cs_aberrations`)."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.maths.aberrations import electron_wavelength
from alphacryo4d.particles.aberrations import PHASE_FLIPPED, PREMULTIPLIED
from alphacryo4d.particles.particle_set import ParticleSet


def fill_aberrations(result: Array, particles: ParticleSet) -> None:
    """Fill in ``ctf`` fields of aberrations, B factor and scale; change defocus, Cs and phase.

    Even coefficients of orders that cryoSPARC has no field for join defocus, Cs and phase shift,
    which are the same thing.

    Parameters
    ----------
    result : (P,) structured array
        With the fields of the CTF without aberrations; changed in place.
    particles : ParticleSet

    Raises
    ------
    InputError
        Images are premultiplied or phase-flipped, or a coefficient is of a higher order.
    """
    held, path, group = particles.optics.aberrations, particles.path, particles.optics_group
    used = np.unique(group)
    for flags, name in (
        (held.premultiplied, PREMULTIPLIED),
        (held.phase_flipped, PHASE_FLIPPED),
    ):
        if flags[used].any():
            raise InputError(
                f"{path}: {name} is 1, which a .cs file cannot say; extract the particles again "
                "without it"
            )
    odd = _padded(held.odd, used, 6, f"{path}: rlnOddZernike")
    even = _padded(held.even, used, 9, f"{path}: rlnEvenZernike")
    wavelength = electron_wavelength(particles.optics.voltage)
    _fill_odd(result, odd[group], wavelength[group])
    _fill_even(result, even[group], wavelength[group])
    matrix = held.magnification[group].reshape(-1, 4)
    result["ctf/anisomag"] = matrix - (1, 0, 0, 1)
    result["ctf/scale"] = particles.ctf_scale
    result["ctf/bfactor"] = particles.bfactor


def _padded(lists: list[tuple[float, ...]], used: Array, count: int, what: str) -> Array:
    values = np.zeros((len(lists), count))
    for group in used.tolist():
        row = lists[group]
        if any(row[count:]):
            raise InputError(
                f"{what} has {len(row)} coefficients; a .cs file holds the first {count}: set the "
                "others to 0 if they may be neglected"
            )
        values[group, : min(len(row), count)] = row[:count]
    return values


def _fill_odd(result: Array, odd: Array, wavelength: Array) -> None:
    length = (-2 * np.pi * wavelength**2)[:, None]
    result["ctf/tilt_A"] = 3 * odd[:, [4, 3]] / length
    result["ctf/trefoil_A"] = odd[:, [5, 2]] / length
    result["ctf/shift_A"] = -(odd[:, [1, 0]] - 2 * odd[:, [4, 3]]) / (2 * np.pi)


def _fill_even(result: Array, even: Array, wavelength: Array) -> None:
    if not even.any():
        return
    constant, second, fourth = np.zeros((3, len(even)))
    constant = even[:, 0] - even[:, 2] + even[:, 6]
    second, fourth = 2 * even[:, 2] - 6 * even[:, 6], 6 * even[:, 6]
    twofold = even[:, [3, 1]] - 3 * even[:, [7, 5]]
    u, v = (np.asarray(result[f"ctf/df{side}_A"], np.float64) for side in (1, 2))
    angle = 2 * np.asarray(result["ctf/df_angle_rad"], np.float64)
    per = np.pi * wavelength
    mean = (u + v) / 2 - second / per
    cosine = (u - v) / 2 * np.cos(angle) - twofold[:, 0] / per
    sine = (u - v) / 2 * np.sin(angle) - twofold[:, 1] / per
    half = np.hypot(cosine, sine)
    result["ctf/df1_A"], result["ctf/df2_A"] = mean + half, mean - half
    result["ctf/df_angle_rad"] = np.arctan2(sine, cosine) / 2
    result["ctf/phase_shift_rad"] -= constant
    result["ctf/cs_mm"] += fourth / (np.pi / 2 * wavelength**3) * 1e-7
    tetra = np.concatenate([4 * even[:, [7, 5]], even[:, [8, 4]]], axis=1)
    result["ctf/tetra_A"] = tetra / (2 * np.pi * wavelength**3)[:, None]
