"""The one alias of arrays: what they hold and their shapes stand in the docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def as_slice(rows: Array) -> Array | slice:
    """Rows (n,) int that follow each other as a slice, which needs no copy of its own."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


NO_ROWS: Array = np.empty(0, np.int64)
"""No rows of a table."""
