"""Numba kernels that cut the rows of a STAR loop into tokens.

Rules as in RELION and CIF: blanks separate tokens; a token that starts with a quote ends at the
same quote before a blank; ``#`` at the start of a token begins a comment. Everything works on one
buffer of whole lines, so that a table of any size passes through in pieces.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Bytes = Any

LINE_END, CARRIAGE, SPACE, TAB = 10, 13, 32, 9
SHORT, LONG, QUOTE, COMMENT, CRLF, CONTROL = 1, 2, 3, 4, 5, 6
SKIP, NUMBER, TEXT, IMAGE = 0, 1, 2, 3

SORTS = np.zeros(256, np.uint8)
"""0 and 1: part of a token (1: opens a quote or a comment), 3: blank, 4: line end, 5: odd."""
SORTS[[34, 35, 39]] = 1
SORTS[:32] = 5
SORTS[[SPACE, TAB]] = 3
SORTS[LINE_END] = 4

POWERS = 10.0 ** np.arange(23)


@numba.njit(cache=True, nogil=True, inline="always")
def _is_blank(c: int) -> bool:
    return c in (SPACE, TAB, CARRIAGE)


@numba.njit(cache=True, nogil=True, inline="always")
def _token_end(buffer: Bytes, start: int, end: int) -> int:
    """Position after the token at ``start``; -1 where a quote is not closed before ``end``."""
    first = buffer[start]
    position = start + 1
    if first == 34 or first == 39:
        while position < end:
            if buffer[position] == first and (
                position + 1 == end or _is_blank(buffer[position + 1])
            ):
                return position + 1
            position += 1
        return -1
    while position < end and not _is_blank(buffer[position]):
        position += 1
    return position


@numba.njit(cache=True, nogil=True)
def _starts_with(buffer: Bytes, start: int, end: int, word: Bytes) -> bool:
    if start + len(word) > end:
        return False
    same = 0
    while same < len(word) and buffer[start + same] == word[same]:
        same += 1
    return same == len(word)


@numba.njit(cache=True, nogil=True)
def _odd_token(buffer: Bytes, position: int, kind: int, number: int) -> tuple[int, int, int]:
    """Pass a quoted token, a comment, CR or a control character; note what is wrong with it."""
    c = buffer[position]
    end = position
    while end < len(buffer) and buffer[end] != LINE_END:
        end += 1
    if c == 34 or c == 39:
        after = _token_end(buffer, position, end)
        return (after, kind, number) if after > 0 else (end, max(kind, QUOTE), number)
    if c == 35:
        return end, max(kind, COMMENT), number
    if c == CARRIAGE and position + 1 == end:
        return end, max(kind, CRLF), number
    return position + 1, CONTROL, c


@numba.njit(cache=True, nogil=True)
def scan_rows(
    buffer: Bytes,
    columns: int,
    sorts: Bytes,
    starts: Bytes,
    faults: Bytes,
    data_word: Bytes,
    loop_word: Bytes,
) -> tuple[int, int, int]:
    """Find the rows at the head of a buffer of whole lines.

    Parameters
    ----------
    buffer : (B,) uint8
        Lines; the last may lack its line end only at the end of the file.
    columns : int
        Tokens that every row must have.
    sorts : (256,) uint8
        ``SORTS``.
    starts : (R,) int64
        Filled with the start of every row.
    faults : (F, 3) int64
        Filled with kind, row (from 0 in this buffer) and a number that explains it.
    data_word, loop_word : uint8 arrays
        ``data_`` and ``loop_``.

    Returns
    -------
    tuple of int
        Position where the rows end (length of the buffer while they go on), rows, faults found.
    """
    size = len(buffer)
    position, rows, fault_count = 0, 0, 0
    while position < size:
        line = position
        while position < size and _is_blank(buffer[position]):
            position += 1
        if position == size or buffer[position] == LINE_END or buffer[position] == 35:
            return line, rows, fault_count
        first = buffer[position]
        if first == 95:
            return line, rows, fault_count
        if (first == 100 and _starts_with(buffer, position, size, data_word)) or (
            first == 108 and _starts_with(buffer, position, size, loop_word)
        ):
            return line, rows, fault_count
        tokens, kind, number = 0, 0, 0
        while position < size:
            sort = sorts[buffer[position]]
            if sort == 3:
                position += 1
            elif sort == 0:
                tokens += 1
                position += 1
                while position < size and sorts[buffer[position]] < 3:
                    position += 1
            elif sort == 4:
                break
            else:
                quoted = buffer[position] == 34 or buffer[position] == 39
                tokens += 1 if quoted else 0
                position, kind, number = _odd_token(buffer, position, kind, number)
        if (kind == 0 or kind == CRLF) and tokens != columns:
            kind, number = (SHORT if tokens < columns else LONG), tokens
        if kind != 0:
            if fault_count < len(faults):
                faults[fault_count, 0] = kind
                faults[fault_count, 1] = rows
                faults[fault_count, 2] = number
            fault_count += 1
        starts[rows] = line
        rows += 1
        position += 1
    return size, rows, fault_count


@numba.njit(cache=True, nogil=True)
def _parse_number(buffer: Bytes, start: int, end: int, powers: Bytes) -> tuple[float, bool]:
    """Value of a plain decimal number; False where Python must read it instead.

    Exact: the digits fit 2^53 and the power of ten is at most 22 (Clinger 1990).
    """
    position = start
    negative = False
    if buffer[position] == 45 or buffer[position] == 43:
        negative = buffer[position] == 45
        position += 1
    mantissa, digits, power = 0, 0, 0
    while position < end and 48 <= buffer[position] <= 57:
        mantissa = mantissa * 10 + (buffer[position] - 48)
        digits += mantissa > 0
        position += 1
        if digits > 15:
            return 0.0, False
    plain = position - start - (1 if buffer[start] == 45 or buffer[start] == 43 else 0)
    if position < end and buffer[position] == 46:
        position += 1
        while position < end and 48 <= buffer[position] <= 57:
            mantissa = mantissa * 10 + (buffer[position] - 48)
            digits += mantissa > 0
            power -= 1
            plain += 1
            position += 1
            if digits > 15:
                return 0.0, False
    if plain == 0:
        return 0.0, False
    if position < end and (buffer[position] == 101 or buffer[position] == 69):
        position += 1
        down = False
        if position < end and (buffer[position] == 45 or buffer[position] == 43):
            down = buffer[position] == 45
            position += 1
        if position == end or end - position > 4:
            return 0.0, False
        exponent = 0
        while position < end and 48 <= buffer[position] <= 57:
            exponent = exponent * 10 + (buffer[position] - 48)
            position += 1
        power += -exponent if down else exponent
    if position != end or power > 22 or power < -22:
        return 0.0, False
    value = float(mantissa)
    value = value * powers[power] if power >= 0 else value / powers[-power]
    return (-value if negative else value), True


@numba.njit(cache=True, nogil=True)
def parse_rows(
    buffer: Bytes,
    starts: Bytes,
    kinds: Bytes,
    number_slots: Bytes,
    text_slots: Bytes,
    numbers: Bytes,
    spans: Bytes,
    awkward: Bytes,
    powers: Bytes,
    sorts: Bytes,
) -> int:
    """Read the wanted columns of rows that :func:`scan_rows` has accepted.

    Parameters
    ----------
    buffer : (B,) uint8
        The rows.
    starts : (R + 1,) int64
        Start of every row and the end of the last.
    kinds, number_slots, text_slots : (C,) int64
        What each column is (``SKIP``, ``NUMBER``, ``TEXT``, ``IMAGE``) and where it goes.
        An image ``000001@stack.mrcs`` gives a number and a text; without ``@`` the number is 1.
    numbers : (slots, R) float64
        Filled.
    spans : (slots, R, 2) int64
        Filled with start and end of every text.
    awkward : (A, 4) int64
        Filled with slot, row, start and end of tokens that Python must read.
    powers : (23,) float64
        Powers of ten.
    sorts : (256,) uint8
        ``SORTS``.

    Returns
    -------
    int
        How many tokens are awkward.
    """
    rows = len(starts) - 1
    columns = len(kinds)
    awkward_count = 0
    for row in range(rows):
        position, limit = starts[row], starts[row + 1]
        end = limit
        while end > position and (buffer[end - 1] == LINE_END or _is_blank(buffer[end - 1])):
            end -= 1
        for column in range(columns):
            while sorts[buffer[position]] == 3:
                position += 1
            start = position
            if sorts[buffer[start]] == 1:
                position = _token_end(buffer, start, end)
            else:
                while position < end and sorts[buffer[position]] < 3:
                    position += 1
            kind = kinds[column]
            if kind == SKIP:
                continue
            first, last = start, position
            if buffer[start] == 34 or buffer[start] == 39:
                first, last = start + 1, position - 1
            if kind != NUMBER:
                if kind == IMAGE:
                    mark = first
                    while mark < last and buffer[mark] != 64:
                        mark += 1
                    slot = number_slots[column]
                    if mark < last:
                        value, good = _parse_number(buffer, first, mark, powers)
                        numbers[slot, row] = value
                        if not good or mark == first:
                            awkward[awkward_count, 0], awkward[awkward_count, 1] = slot, row
                            awkward[awkward_count, 2], awkward[awkward_count, 3] = first, mark
                            awkward_count += 1
                        first = mark + 1
                    else:
                        numbers[slot, row] = 1.0
                spans[text_slots[column], row, 0] = first
                spans[text_slots[column], row, 1] = last
                continue
            value, good = 0.0, False
            if last > first:
                value, good = _parse_number(buffer, first, last, powers)
            numbers[number_slots[column], row] = value
            if not good:
                awkward[awkward_count, 0], awkward[awkward_count, 1] = number_slots[column], row
                awkward[awkward_count, 2], awkward[awkward_count, 3] = first, last
                awkward_count += 1
    return awkward_count
