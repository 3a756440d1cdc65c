"""Rows of a particle table: wanted columns into arrays, kept rows out byte for byte."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import atomic_path
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.io.tables.scan import BLOCK_BYTES
from alphacryo4d.io.tables.small import read_number, token
from alphacryo4d.io.tables.structure import Block


def pieces(block: Block, size: int = BLOCK_BYTES) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of consecutive pieces of about ``size`` bytes."""
    offsets, row, rows = block.offsets, 0, block.rows
    while row < rows:
        after = int(np.searchsorted(offsets, offsets[row] + size, side="right")) - 1
        after = min(max(after, row + 1), rows)
        yield row, after
        row = after


def _read_bytes(stream: io.BufferedReader, block: Block, first: int, after: int) -> bytes:
    start, end = int(block.offsets[first]), int(block.offsets[after])
    stream.seek(start)
    text = stream.read(end - start)
    if len(text) != end - start:
        raise InputError(f"{stream.name}: the file became shorter while it was read")
    return text


def _own_memory(rows: int) -> Array:
    """Room for a column that goes back to the system with the column; that of the heap stays."""
    if rows == 0:
        return np.empty(0, np.float64)
    room = mmap.mmap(-1, 8 * rows, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(room, np.float64)


class _Numbers:
    """One column of numbers; where it may be ``shared``, one value for as long as all are equal."""

    def __init__(self, rows: int, *, shared: bool) -> None:
        self.column = _own_memory(rows)  # takes memory where it is written to
        self.shared = shared and rows > 0

    def add(self, values: Array, first: int) -> None:
        if self.shared and first == 0:
            self.column[0] = values[0]
        if self.shared and (values == self.column[0]).all():
            return
        if self.shared:
            self.column[:first] = self.column[0]
            self.shared = False
        self.column[first : first + len(values)] = values

    @property
    def values(self) -> Array:
        rows = len(self.column)
        return np.broadcast_to(self.column[0].copy(), rows) if self.shared else self.column


class _Texts:
    """Distinct texts of one column over all pieces."""

    def __init__(self, rows: int) -> None:
        self.codes = np.empty(rows, np.int32)
        self.known: dict[bytes, int] = {}

    def add(self, buffer: Array, text: bytes, spans: Array, first: int) -> None:
        from alphacryo4d.io.tables.kernels_texts import intern_spans

        rows = len(spans)
        codes, firsts = np.empty(rows, np.int32), np.empty(rows, np.int64)
        table = np.full(1 << max(4, (2 * rows).bit_length()), -1, np.int64)
        count = intern_spans(buffer, spans, codes, firsts, table)
        mapping = np.empty(max(count, 1), np.int32)
        for code, (start, end) in enumerate(spans[firsts[:count]].tolist()):
            mapping[code] = self.known.setdefault(text[start:end], len(self.known))
        self.codes[first : first + rows] = mapping[codes]

    @property
    def categories(self) -> list[str]:
        return [text.decode("utf-8", "surrogateescape") for text in self.known]


def _number(word: str, path: Path, name: str, row: int) -> float:
    try:
        return read_number(word)
    except ValueError:
        raise not_a_number(path, name, row, word).error() from None


def read_columns(
    path: Path,
    data: Path,
    block: Block,
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
    images: Sequence[str],
    shared: Iterable[str] = (),
) -> tuple[dict[str, Array], dict[str, tuple[Array, list[str]]]]:
    """Wanted columns of the rows.

    Parameters
    ----------
    path, data : Path
        File for messages, and the file that holds the bytes (mostly the same).
    block : Block
        Table, scanned without fault.
    numbers, texts, images : sequences of str
        Columns of numbers, of texts, and of image names (``000001@stack.mrcs``).
    shared : sequence of str
        Columns of numbers that, where all rows are equal, come as one value seen R times.

    Returns
    -------
    dict, dict
        (R,) float64 of every number column and of the number before ``@`` of every image column;
        codes (R,) int32 and distinct texts of every text column and of what follows ``@``.

    Raises
    ------
    InputError
        A value is not a number.
    """
    from alphacryo4d.io.tables import kernels

    kind_of = dict.fromkeys(texts, kernels.TEXT) | dict.fromkeys(numbers, kernels.NUMBER)
    kind_of |= dict.fromkeys(images, kernels.IMAGE)
    number_names = [name for name, kind in kind_of.items() if kind != kernels.TEXT]
    text_names = [name for name, kind in kind_of.items() if kind != kernels.NUMBER]
    columns = block.columns
    kinds = np.array([kind_of.get(name, kernels.SKIP) for name in columns], np.int64)
    number_slots = np.array([_place(number_names, name) for name in columns], np.int64)
    text_slots = np.array([_place(text_names, name) for name in columns], np.int64)
    often = set(shared)
    values = {name: _Numbers(block.rows, shared=name in often) for name in number_names}
    interned = {name: _Texts(block.rows) for name in text_names}
    with data.open("rb") as stream:
        for first, after in pieces(block):
            text = _read_bytes(stream, block, first, after)
            buffer = np.frombuffer(text, np.uint8)
            rows = after - first
            parsed = np.empty((len(number_names), rows), np.float64)
            spans = np.empty((len(text_names), rows, 2), np.int64)
            awkward = np.empty((max(1, len(number_names) * rows), 4), np.int64)
            starts = block.offsets[first : after + 1] - block.offsets[first]
            places = (kinds, number_slots, text_slots)
            count = kernels.parse_rows(
                buffer, starts, *places, parsed, spans, awkward, kernels.POWERS, kernels.SORTS
            )
            for slot, row, start, end in awkward[:count].tolist():
                word = text[start:end].decode("utf-8", "surrogateescape")
                parsed[slot, row] = _number(word, path, number_names[slot], first + row)
            for slot, name in enumerate(number_names):
                values[name].add(parsed[slot], first)
            for slot, name in enumerate(text_names):
                interned[name].add(buffer, text, spans[slot], first)
    columns_of_text = {name: (kept.codes, kept.categories) for name, kept in interned.items()}
    return {name: kept.values for name, kept in values.items()}, columns_of_text


def _place(names: list[str], name: str) -> int:
    return names.index(name) if name in names else -1


def not_a_number(path: Path, column: str, row: int, word: str) -> Fault:
    """Fault of a value that should be a number."""
    return Fault(
        path,
        f"row {row + 1}",
        f"{column} is {word!r}, which is not a number",
        "restore the value from its source or remove the row",
        "not-a-number",
    )


def kept_rows(rows: Any, count: int) -> Array:
    """Turn a boolean mask or sorted row numbers into a mask.

    Raises
    ------
    ValueError
        A mask of another length, or row numbers that are out of range or not ascending.
    """
    if rows is None:
        return np.ones(count, bool)
    chosen: Array = np.asarray(rows)
    if chosen.dtype == bool:
        if chosen.shape != (count,):
            raise ValueError(f"mask has shape {chosen.shape}, the table has {count} rows")
        return chosen
    chosen = chosen.astype(np.int64)
    if chosen.size and (chosen[0] < 0 or chosen[-1] >= count or (np.diff(chosen) <= 0).any()):
        raise ValueError("row numbers must ascend and lie in the table")
    mask = np.zeros(count, bool)
    mask[chosen] = True
    return mask


def write_rows(
    path: Path,
    block: Block,
    out_path: Path,
    mask: Array,
    *,
    header: bytes,
    tail: bytes,
    added: Mapping[str, Array],
) -> None:
    """Write kept rows, each with its own bytes, and what is added to their ends.

    Parameters
    ----------
    path, block, out_path : Path, Block, Path
        Input, its table, output (written whole or not at all).
    mask : (R,) bool
        Rows to keep.
    header, tail : bytes
        What stands before and after the rows.
    added : mapping
        Columns with one value for every kept row.
    """
    with (
        path.open("rb") as stream,
        atomic_path(out_path) as temporary,
        temporary.open("wb") as out,
    ):
        out.write(header)
        done = 0
        for first, after in pieces(block, BLOCK_BYTES // 4 if added else BLOCK_BYTES):
            kept = mask[first:after]
            if not kept.any():
                continue
            text = _read_bytes(stream, block, first, after)
            starts = block.offsets[first : after + 1] - block.offsets[first]
            count = int(kept.sum())
            if added:
                part = {name: column[done : done + count] for name, column in added.items()}
                out.write(_extend(text, starts, np.flatnonzero(kept), part))
            elif count == after - first:
                out.write(text)
            else:
                chosen = np.repeat(kept, np.diff(starts))
                out.write(memoryview(np.frombuffer(text, np.uint8)[chosen]))
            done += count
        out.write(tail)


def _extend(text: bytes, starts: Array, rows: Array, added: Mapping[str, Array]) -> bytes:
    ends = [_tokens(column) for column in added.values()]
    parts = []
    bounds = starts.tolist()
    for row, *words in zip(rows.tolist(), *ends, strict=True):
        line = text[bounds[row] : bounds[row + 1]].rstrip(b"\n")
        parts.append(line)
        parts.append(b"" if line.endswith((b" ", b"\t")) else b" ")
        parts.append(b" ".join(words))
        parts.append(b"\n")
    return b"".join(parts)


def _tokens(column: Array) -> list[bytes]:
    if np.issubdtype(column.dtype, np.integer):
        return [b"%d" % value for value in column.tolist()]
    if np.issubdtype(column.dtype, np.floating):
        if not np.isfinite(column).all():
            raise InputError("a value that is not finite cannot be written to a STAR table")
        return [repr(value).encode() for value in column.tolist()]
    return [token(value).encode("utf-8", "surrogateescape") for value in column.tolist()]
