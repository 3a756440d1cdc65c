"""Molecules made by a rule, for demonstrations and for tests with a known answer.

A domain is a bundle of straight alpha helices (radius 2.3 A, rise 1.5 A and 100 degrees a residue)
on a hexagonal lattice of 10 A, clipped to an ellipsoid: 130 A^3 a residue, as in real proteins.
Notches make every domain asymmetric. A residue is one scatterer of 59 electrons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alphacryo4d.assessment.conformers import Atoms, center_together
from alphacryo4d.assessment.imaging import FloatArray
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import UsageError
from alphacryo4d.maths.rotations import rotation_matrices

RESIDUE_ELECTRONS = 59.0
HELIX_RADIUS, HELIX_RISE, HELIX_TURN = 2.3, 1.5, np.deg2rad(100.0)
HELIX_SPACING = 10.0


def helix_bundle(
    semi_axes: Sequence[float],
    *,
    center: Sequence[float] = (0.0, 0.0, 0.0),
    turn: float = 0.0,
    notches: Sequence[tuple[float, float, float, float]] = (),
) -> FloatArray:
    """Residues (A, 3) of an ellipsoidal bundle of helices along its z axis.

    Parameters
    ----------
    semi_axes : three floats
        Of the ellipsoid along x, y, z, Angstrom.
    center : three floats
        Where the bundle is put, Angstrom.
    turn : float
        Rotation of the whole bundle about the x axis, degrees; turns the helices.
    notches : sequence of (x, y, z, radius)
        Spheres that are cut out, in the frame of the bundle, Angstrom.
    """
    a, b, c = semi_axes
    columns = []
    for row in range(-int(b // 8) - 1, int(b // 8) + 2):
        for column in range(-int(a // 10) - 1, int(a // 10) + 2):
            x = HELIX_SPACING * (column + 0.5 * (row % 2))
            y = HELIX_SPACING * np.sqrt(0.75) * row
            inside = 1 - (x / a) ** 2 - (y / b) ** 2
            if inside <= 0:
                continue
            length = c * np.sqrt(inside)
            z = np.arange(-length, length, HELIX_RISE)
            phase = HELIX_TURN * np.arange(len(z)) + 1.7 * row + 0.9 * column
            helix = (x + HELIX_RADIUS * np.cos(phase), y + HELIX_RADIUS * np.sin(phase), z)
            columns.append(np.stack(helix, axis=1))
    points = np.concatenate(columns)
    for *middle, radius in notches:
        points = points[((points - middle) ** 2).sum(axis=1) > radius**2]
    return np.asarray(points @ _about_axis((1, 0, 0), turn).T + center, np.float64)


def _about_axis(axis: Sequence[float], degrees: float) -> FloatArray:
    """Rotation matrix for column vectors."""
    return rotation_matrices(degrees * np.asarray(axis, np.float64) / np.linalg.norm(axis))


def _atoms(*parts: Array) -> Atoms:
    positions = np.concatenate(parts)
    return Atoms(positions, np.full(len(positions), RESIDUE_ELECTRONS))


def _body() -> FloatArray:
    """The large domain (about 220 kDa), below the hinge at the origin."""
    notches = ((36.0, 6.0, 14.0, 17.0), (-22.0, -34.0, -10.0, 15.0), (4.0, 30.0, -26.0, 12.0))
    return helix_bundle((44, 36, 38), center=(0, 0, -45), turn=0, notches=notches)


def _linker() -> FloatArray:
    """One helix that crosses the hinge."""
    z = np.arange(-12.0, 12.0, HELIX_RISE)
    phase = HELIX_TURN * np.arange(len(z))
    return np.stack([HELIX_RADIUS * np.cos(phase), HELIX_RADIUS * np.sin(phase), z], axis=1)


def hinge_conformers(states: int = 8, *, angle: float = 70.0) -> list[Atoms]:
    """A two-domain protein of about 400 kDa whose second domain turns about a hinge.

    Parameters
    ----------
    states : int
        Conformers, at equal steps of the angle.
    angle : float
        Degrees from the first conformer to the last.

    Returns
    -------
    list of Atoms
        In one frame of reference, centred together.
    """
    notches = ((24.0, 10.0, 22.0, 15.0), (-20.0, 14.0, -18.0, 13.0))
    domain = helix_bundle((30, 34, 42), center=(4, 0, 48), turn=25, notches=notches)
    fixed = np.concatenate([_body(), _linker()])
    return center_together(
        [
            _atoms(fixed, domain @ _about_axis((0.25, 1, 0), turn).T)
            for turn in np.linspace(-angle / 2, angle / 2, states)
        ]
    )


def small_hinge_conformers(states: int = 8, *, angle: float = 60.0) -> list[Atoms]:
    """A rigid body of about 400 kDa with a small domain (about 35 kDa) that turns on it."""
    body = np.concatenate(
        [
            _body(),
            helix_bundle(
                (34, 38, 36), center=(14, 10, 22), turn=35, notches=((20.0, -24.0, 8.0, 16.0),)
            ),
        ]
    )
    hinge = np.array([-30.0, -12.0, 4.0])
    arm = helix_bundle((15, 13, 22), turn=10, notches=((8.0, 6.0, 10.0, 7.0),)) + (0, 0, 26)
    return center_together(
        [
            _atoms(body, arm @ _about_axis((1, -0.6, 0), turn).T + hinge)
            for turn in np.linspace(-angle / 2, angle / 2, states)
        ]
    )


def subunit_conformers(states: int = 4) -> list[Atoms]:
    """Four compositions of one complex: the body with subunit A, B, both, or none of them."""
    if states != 4:
        raise UsageError("subunits: has 4 states, not more or fewer")
    body = np.concatenate(
        [_body(), helix_bundle((30, 30, 30), center=(6, 4, 22), turn=40, notches=())]
    )
    first = helix_bundle((18, 16, 24), center=(44, 8, 12), turn=60)
    second = helix_bundle((15, 20, 18), center=(-40, -10, 8), turn=-30)
    parts = [(body, first), (body, second), (body, first, second), (body,)]
    return center_together([_atoms(*chosen) for chosen in parts])


def rigid_conformers(states: int = 1) -> list[Atoms]:
    """The hinge protein at rest: homogeneous data, the null of every claim of heterogeneity."""
    if states != 1:
        raise UsageError("rigid: has one state")
    middle = hinge_conformers(3)[1]
    return center_together([middle])


MOLECULES: dict[str, tuple[Callable[[int], list[Atoms]], int]] = {
    "hinge": (hinge_conformers, 8),
    "small-hinge": (small_hinge_conformers, 8),
    "subunits": (subunit_conformers, 4),
    "rigid": (rigid_conformers, 1),
}
"""Name: function, number of states."""


def make_molecule(name: str, states: int | None = None) -> list[Atoms]:
    """Conformers of a molecule by its name (:data:`MOLECULES`)."""
    if name not in MOLECULES:
        raise UsageError(f"molecule {name}: unknown; choose from {', '.join(MOLECULES)}")
    build, usual = MOLECULES[name]
    return build(states or usual)
