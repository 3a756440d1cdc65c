"""Aberrations of cryoSPARC's particle files as RELION's columns.

cryoSPARC gives every aberration as a length t in Angstrom, in the physical frequency k (1/A): a
term of order n changes the phase by ``2 pi t lambda^(n-1) k^n`` times its wave. The odd terms
(``ctf/shift_A``, ``ctf/tilt_A``: cos and sin of the angle; ``ctf/trefoil_A``: of three times it)
count with a minus sign, as a beam tilt does (``tilt_A`` is Cs times the tilt in radians); those of
``ctf/tetra_A`` (cos and sin of twice, then of four times the angle) with a plus, as Cs does.
``ctf/anisomag`` is the magnification matrix less the identity. cryoSPARC publishes no formula:
these are those of its users (teamtomo pull requests 111 and 112; asarnow/pyem).
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.aberrations import electron_wavelength

ABERRATIONS = {"ctf/tilt_A": 2, "ctf/trefoil_A": 2, "ctf/tetra_A": 4, "ctf/anisomag": 4}


def held_aberrations(particles: Array) -> list[str]:
    """Fields of aberrations that are not zero for every particle."""
    names = particles.dtype.names or ()
    return [name for name in ABERRATIONS if name in names and np.any(particles[name])]


def optics_columns(particles: Array, firsts: Array) -> dict[str, list[str]]:
    """Columns of the optics table for the first particle of every group, as text."""
    held = held_aberrations(particles)
    if not held:
        return {}

    def field(name: str) -> Array:
        if name not in held:
            return np.zeros((len(firsts), ABERRATIONS[name]))
        return np.asarray(particles[name][firsts], np.float64)

    wavelength = electron_wavelength(particles["ctf/accel_kv"][firsts])[:, None]
    tilt = -2 * np.pi * wavelength**2 * field("ctf/tilt_A")
    trefoil = -2 * np.pi * wavelength**2 * field("ctf/trefoil_A")
    tetra = 2 * np.pi * wavelength**3 * field("ctf/tetra_A")
    odd, even = np.zeros((len(firsts), 6)), np.zeros((len(firsts), 9))
    odd[:, [4, 3]], odd[:, [1, 0]] = tilt / 3, 2 * tilt / 3
    odd[:, [5, 2]] = trefoil
    even[:, [7, 5]], even[:, [3, 1]] = tetra[:, :2] / 4, 3 * tetra[:, :2] / 4
    even[:, [8, 4]] = tetra[:, 2:]
    columns = {}
    for name, values in (("rlnOddZernike", odd), ("rlnEvenZernike", even)):
        if values.any():
            columns[name] = ["[" + ",".join(f"{v:.9g}" for v in row) + "]" for row in values]
    if "ctf/anisomag" in held:
        matrix = field("ctf/anisomag") + (1, 0, 0, 1)
        for place, name in enumerate(("00", "01", "10", "11")):
            columns[f"rlnMagMat{name}"] = [f"{value:.9g}" for value in matrix[:, place]]
    return columns


def without_beam_shift(particles: Array, shifts: Array) -> Array:
    """Shifts (A) of the images with ``ctf/shift_A``, an aberration of first order, in them."""
    names = particles.dtype.names or ()
    if "ctf/shift_A" not in names:
        return shifts
    moved = np.asarray(particles["ctf/shift_A"], np.float64)
    if "ctf/anisomag" in names:
        matrix = np.asarray(particles["ctf/anisomag"], np.float64).reshape(-1, 2, 2) + np.eye(2)
        moved = np.einsum("pa,pab->pb", moved, matrix)
    return np.asarray(shifts - moved)
