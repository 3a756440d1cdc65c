"""Volumes as the network takes them: box a multiple of 4, values in [0, 1] (eq. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def normalize_volume(volume: NDArray[Any]) -> Floats:
    """Min-max normalisation of a volume by itself (eq. 1).

    Parameters
    ----------
    volume : (n, n, n) array
        Density; not changed.

    Returns
    -------
    (n, n, n) array
        Values in [0, 1]; zeros for a volume that is constant.
    """
    values = np.asarray(volume, np.float32)
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.asarray((values - low) / (high - low), np.float32)


def suitable_box(box: int) -> int:
    """Multiple of 4 that is nearest to a box size, upwards where two are."""
    return max(4, 4 * int(np.floor(box / 4 + 0.5)))
