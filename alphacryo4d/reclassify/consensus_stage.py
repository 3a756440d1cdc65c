"""What our own consensus refinement says of the poses that it wrote."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from alphacryo4d.core import files
from alphacryo4d.core.reading import read_object

logger = logging.getLogger(__name__)

FINER = 0.75
"""A refinement to this part of a resolution, or less, used shells that a fit to it does not see."""


def record_of_consensus(table: Path) -> Path | None:
    """What a consensus refinement that wrote a particle table says of it; None where none did."""
    record = table.parent / files.CONSENSUS_JSON
    return record if table.name == files.PARTICLES_STAR and record.is_file() else None


def errors_of_consensus(table: Path, resolution: float) -> tuple[float, float] | None:
    """Errors of poses (degrees, A on each axis) that a native consensus refinement wrote.

    They are those that noise leaves (the inverse of the curvature, Fisher information), and hold
    where the refinement went to much finer shells than the fit: there the poses are evidence that
    the fit lacks, and its own estimate takes them for best fits to coarser shells. A search of all
    orientations finds wrong optima as well, of which the curvature knows nothing.

    Parameters
    ----------
    table : Path
        Particle table that was classified.
    resolution : float
        Finest resolution of the fit (A).

    Returns
    -------
    tuple of float or None
        None where the table is another one, all orientations were searched, or the refinement was
        not finer.

    Raises
    ------
    InputError
        ``consensus.json`` is damaged.
    """
    record = record_of_consensus(table)
    if record is None:
        return None
    report = read_object(record)
    if report.get("everywhere") is not False:
        return None
    values = [report.get(name) for name in ("angle_error", "shift_error", "resolution")]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if len(numbers) < 3 or not all(math.isfinite(value) and value > 0 for value in numbers):
        return None
    turned, moved, reached = numbers
    if reached > FINER * resolution:
        return None
    logger.info(
        "poses of a consensus refinement to %.1f A: their errors are %.2f degrees and %.2f A on "
        "each axis (%s)",
        reached, turned, moved, record,
    )  # fmt: skip
    return turned, moved
