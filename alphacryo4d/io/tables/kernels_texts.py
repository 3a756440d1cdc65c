"""Numba kernel that numbers the distinct texts of a column of a STAR loop."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Bytes = Any


@numba.njit(cache=True, nogil=True)
def intern_spans(buffer: Bytes, spans: Bytes, codes: Bytes, firsts: Bytes, table: Bytes) -> int:
    """Number the distinct texts of a column in order of appearance.

    Parameters
    ----------
    buffer : (B,) uint8
        The rows.
    spans : (R, 2) int64
        Start and end of every text.
    codes : (R,) int32
        Filled with the number of the text.
    firsts : (R,) int64
        Filled with the first row of every number.
    table : (T,) int64
        Work space, a power of two above 2 R, filled with -1.

    Returns
    -------
    int
        Distinct texts.
    """
    mask = len(table) - 1
    distinct = 0
    for row in range(len(spans)):
        start, end = spans[row, 0], spans[row, 1]
        hashed = np.uint64(1469598103934665603)
        for i in range(start, end):
            hashed = (hashed ^ np.uint64(buffer[i])) * np.uint64(1099511628211)
        slot = np.int64((hashed ^ (hashed >> np.uint64(29))) & np.uint64(mask))
        while True:
            code = table[slot]
            if code < 0:
                table[slot] = distinct
                firsts[distinct] = row
                codes[row] = distinct
                distinct += 1
                break
            other = firsts[code]
            begin = spans[other, 0]
            same = spans[other, 1] - begin == end - start
            i = 0
            while same and i < end - start:
                same = buffer[begin + i] == buffer[start + i]
                i += 1
            if same:
                codes[row] = code
                break
            slot = (slot + 1) & mask
    return distinct
