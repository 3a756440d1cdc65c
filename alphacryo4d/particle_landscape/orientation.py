"""How much of a coordinate follows from how a particle was imaged, not from what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.particles.particle_set import ParticleSet

MOST = 200_000
"""Particles that are looked at."""
FOLLOWS = 0.2
"""Share of a coordinate's variance from which it is said to follow the imaging."""


def explained_by_imaging(coordinate: Array, particles: ParticleSet) -> tuple[float, float]:
    """Shares of the variance of a coordinate that viewing direction and defocus explain.

    The coordinate is fitted by the spherical harmonics of the direction up to degree 4, and by a
    cubic of the defocus; shares are corrected for the number of terms.

    Parameters
    ----------
    coordinate : (P,) array
    particles : ParticleSet

    Returns
    -------
    view, defocus : float
        From 0 to 1.
    """
    step = max(1, len(coordinate) // MOST)
    rows = np.arange(0, len(coordinate), step)
    direction = euler_matrices(particles.angles[rows])[:, 2]
    mean = particles.defocus[rows, :2].mean(axis=1)
    spread = float(mean.std())
    scaled = (mean - mean.mean()) / spread if spread > 0 else np.zeros_like(mean)
    values = np.asarray(coordinate, np.float64)[rows]
    powers = np.stack([scaled, scaled**2, scaled**3], axis=1)
    return explained(values, polynomials(direction, 4)), explained(values, powers)


def polynomials(direction: Array, degree: int) -> Array:
    """Polynomials of unit vectors (n, 3) that span the spherical harmonics up to a degree."""
    x, y, z = direction.T
    terms = [
        x**a * y**b * z**c
        for a in range(degree + 1)
        for b in range(degree + 1 - a)
        for c in (0, 1)
        if 0 < a + b + c <= degree
    ]
    return np.stack(terms, axis=1)


def explained(values: Array, terms: Array) -> float:
    """Adjusted share of the variance of values (n,) that a linear fit of terms (n, k) explains."""
    away = values - values.mean()
    total = float(away @ away)
    if total <= 0 or len(values) <= terms.shape[1] + 1:
        return 0.0
    design = terms - terms.mean(axis=0)
    fitted, _, rank, _ = np.linalg.lstsq(design, away, rcond=None)
    rest = away - design @ fitted
    free = len(values) - 1 - int(rank)
    share = 1 - float(rest @ rest) / total * (len(values) - 1) / max(1, free)
    return float(np.clip(share, 0, 1))


def warnings_of(view: Sequence[float], defocus: Sequence[float]) -> list[str]:
    """Sentences on coordinates that encode the imaging, from their explained shares."""
    said = []
    for name, what, shares in (
        ("viewing direction", "the pose", view),
        ("defocus", "the imaging", defocus),
    ):
        said += [
            f"component {number} follows the {name} ({share:.0%} of its variance): it may encode "
            f"{what}, not a structure"
            for number, share in enumerate(shares, 1)
            if share > FOLLOWS
        ]
    return said
