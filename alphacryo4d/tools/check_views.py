"""Warning of a background that depends on the direction that the particle is seen from."""

from __future__ import annotations

from pathlib import Path

from alphacryo4d.core.arrays import Array
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.view_scales import told_by_view

BY_VIEW = "background-by-view"


def view_faults(table: Path, deviation: Array, angles: Array, unit: Array) -> list[Fault]:
    """Warning where the background depends on the view, beyond chance and by more than a little.

    Parameters
    ----------
    table : Path
        For messages.
    deviation, angles, unit
        As for :func:`alphacryo4d.particles.view_scales.told_by_view`.
    """
    size, _ = told_by_view(deviation, angles, unit)
    if not size:
        return []
    what = (
        "the background (outside three quarters of the box) depends on the viewing direction, by "
        f"{100 * size:.2g}%: the particle reaches into it, and where every image is brought to the "
        "deviation of its own background, views may become states"
    )
    way_out = (
        "extract with a larger box; unless --normalise is given, the native engine brings images "
        "to the deviation of their micrograph, where its images have one scale"
    )
    return [Fault(table, "", what, way_out, BY_VIEW, "warning")]
