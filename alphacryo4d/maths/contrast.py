"""The sign of a map's contrast, and the level of its surface."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array

SKEW = -1.0
"""Skewness of the voxels below which a map is taken for inverted; noise has 0, molecules 2 to 8."""
INVERTED = (
    "the map looks negative inside (contrast inverted): images must be light on dark; flip them "
    "with relion_image_handler --multiply_constant -1, or put a column ac4dImageSign of -1 into "
    "the table"
)


def looks_inverted(volume: Array) -> bool:
    """Whether a map holds its molecule as negative density.

    A molecule fills a small part of its box with strong density, so that the distribution of the
    voxels has a long tail on its side.

    Parameters
    ----------
    volume : (n, n, n) array
        Density.
    """
    voxels = np.asarray(volume, np.float64)
    centred = voxels - np.median(voxels)
    variance = float(np.mean(centred**2))
    if not variance > 0:
        return False
    return bool(np.mean(centred**3) / variance**1.5 < SKEW)


def level_of(volume: Array) -> float:
    """Level of an isosurface to begin with: Otsu's threshold between molecule and solvent."""
    values = np.ravel(np.asarray(volume, np.float32))
    counts, edges = np.histogram(values, 256)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    between = np.nan_to_num(between)
    return float(middles[between >= 0.999 * between.max()].mean())
