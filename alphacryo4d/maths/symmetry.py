"""Point groups in the orientations of RELION."""

from __future__ import annotations

import re

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import UsageError

_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRAL = [(2, (0, 0, 1)), (5, (1, 0, _GOLDEN)), (3, (0, 1, _GOLDEN**2))]
_TURNS = {"I": 0.0, "I1": 90.0, "I2": 0.0, "I3": -31.7174745559, "I4": 31.7174745559}
"""Rotation about z (I1) or y (I3, I4) from the crystallographic setting I2, degrees."""


def _generators(name: str) -> list[tuple[int, tuple[float, ...]]]:
    """Orders and axes of rotations that generate a point group."""
    simple = re.fullmatch(r"([CD])([1-9][0-9]*)", name)
    if simple:
        axes: list[tuple[int, tuple[float, ...]]] = [(int(simple[2]), (0, 0, 1))]
        return axes if simple[1] == "C" else [*axes, (2, (1, 0, 0))]
    if name == "T":
        return [(3, (0, 0, 1)), (2, (0, 2**0.5, 1))]
    if name == "O":
        return [(3, (1, 1, 1)), (4, (0, 0, 1))]
    if name in _TURNS:
        turn = Rotation.from_euler("z" if name == "I1" else "y", _TURNS[name], degrees=True)
        return [(order, tuple(turn.apply(axis))) for order, axis in _ICOSAHEDRAL]
    raise UsageError(
        f"symmetry {name!r} is not known: give C1, C2 ..., D2, D3 ..., T, O, I, I1, I2, I3 or I4"
    )


def symmetry_rotations(name: str) -> Array:
    """Rotations of a point group.

    Parameters
    ----------
    name : str
        ``C1``, ``C2`` ..., ``D2`` ..., ``T``, ``O``, ``I`` (= ``I2``), ``I1``, ``I3``, ``I4``.

    Returns
    -------
    (n, 3, 3) float64 array
        The identity first.

    Raises
    ------
    UsageError
        The name is not a point group.
    """
    generators = [
        Rotation.from_rotvec(2 * np.pi / order * np.asarray(axis) / np.linalg.norm(axis))
        for order, axis in _generators(name.upper())
    ]
    group = [np.eye(3)]
    for rotation in group:
        for generator in generators:
            new = generator.as_matrix() @ rotation
            if not any(np.allclose(new, old, atol=1e-6) for old in group):
                group.append(new)
    return np.array(group)
