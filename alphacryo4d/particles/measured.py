"""What was measured of the images of a table, once for all that ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alphacryo4d.core.arrays import Array

if TYPE_CHECKING:
    from alphacryo4d.ml3d.background import Typical


@dataclass
class Measured:
    """What was measured so far, most of it by the diameter of the particle (A or None)."""

    typical: dict[float | None, Typical] = field(default_factory=dict)
    """Deviations of most images."""
    sampled: dict[float | None, tuple[Array, Array]] = field(default_factory=dict)
    """Rows of some images, and their levels."""
    normalise: dict[float | None, str] = field(default_factory=dict)
    """To what images are brought."""
    common: dict[float | None, tuple[Array, float, str]] = field(default_factory=dict)
    """Deviation that the images of a micrograph have in common, its spread, and its unit."""
    micrographs: Array | None = None
    """Number of the micrograph of every particle, empty where the table names none."""
    named: set[int] = field(default_factory=set)
    """Rows of outliers that a warning has named."""
