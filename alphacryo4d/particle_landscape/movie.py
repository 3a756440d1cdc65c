"""A movie along the landscape: a scene of ChimeraX that morphs, and frames of slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alphacryo4d.core.arrays import Array

MORPH = 200
"""Model of the morph."""
_FRAMES = 20
"""Frames of the morph from one map to the next."""
_COLOUR = "#0072B2"
_SHOWN = 0.999
"""Share of the grey values that a picture holds."""


def morph_scene(names: Sequence[str], level: float, file: str) -> str:
    """Commands of ChimeraX, one a line, for a new session.

    Parameters
    ----------
    names : sequence of str
        Map files in the folder of the scene, in the order of the movie.
    level : float
        Contour level of all maps.
    file : str
        Name of the scene, for its head.
    """
    count = len(names)
    everything = f"#1-{count}"
    lines = [
        f"# along the particle landscape, by alphacryo4d. Open in a new session: chimerax {file}",
        "# paths start in the folder of this file; one contour level for all maps",
    ]
    for number, name in enumerate(names, 1):
        lines += [
            f'open "{name}"',
            f"volume #{number} style surface step 1 level {level:.4g} color {_COLOUR}",
        ]
    frames = _FRAMES * (count - 1) + 1
    return "\n".join(
        [
            *lines,
            f"volume morph {everything} frames {frames} playStep {1 / frames:.4f} modelId #{MORPH}",
            f'rename #{MORPH} "along the landscape"',
            f"hide {everything} models",
            "lighting soft",
            "view",
            "",
        ]
    )


def views_of(volume: Array) -> Array:
    """Central slices and projections along z, y and x, (6, n, n) float32."""
    middle = len(volume) // 2
    slices = [np.take(volume, middle, axis=axis) for axis in range(3)]
    sums = [volume.sum(axis=axis, dtype=np.float64) for axis in range(3)]
    return np.stack([*slices, *sums]).astype(np.float32)


def grey_ranges(views: Sequence[Array]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lowest and highest grey value of all slices, and of all projections."""
    ranges = []
    for kind in (slice(3), slice(3, 6)):
        values = np.concatenate([one[kind].ravel() for one in views])
        low, high = np.quantile(values, (1 - _SHOWN, _SHOWN))
        ranges.append((float(low), float(max(high, low + 1e-12))))
    return ranges[0], ranges[1]
