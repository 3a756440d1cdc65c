"""Structure of a STAR file: its tables, their columns, where the rows lie, and every fault.

One pass over the bytes with the rules of RELION. The rows of a large table stay in the file; only
their positions are kept (8 bytes a row).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import require_file
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.io.tables.structure import Block, Structure
from alphacryo4d.io.tables.tokens import split_row

BLOCK_BYTES = 16 << 20
MOST_FAULTS = 20
_LONGEST_LINE = 1 << 20


def _explain(path: Path, block: Block, kind: int, row: int, number: int) -> Fault:
    from alphacryo4d.io.tables import kernels

    where = f"row {row + 1} of data_{block.name} (line {block.first_line + row})"
    if kind in (kernels.SHORT, kernels.LONG):
        return Fault(
            path,
            where,
            f"has {number} values, but the table has {len(block.columns)} columns",
            "restore the row from its source or remove it",
            "short-row" if kind == kernels.SHORT else "long-row",
        )
    if kind == kernels.QUOTE:
        return Fault(path, where, "a quote is never closed", "close it or remove it", "open-quote")
    if kind == kernels.COMMENT:
        return Fault(
            path,
            where,
            "a value starts with #, which begins a comment",
            "remove the comment or put the value in quotes",
            "comment-in-row",
        )
    if kind == kernels.CRLF:
        return Fault(
            path,
            where,
            "the line ends with CR LF (Windows), which breaks RELION",
            "convert the file, for example with dos2unix",
            "crlf",
        )
    return Fault(
        path,
        where,
        f"holds the control character 0x{number:02x}",
        "the file is damaged or not a STAR file; restore it",
        "control-character",
    )


class _Scanner:
    def __init__(self, path: Path, stream: BinaryIO, size: int) -> None:
        self.path = path
        self.stream = stream
        self.size = size
        self.line = 0
        self.blocks: list[Block] = []
        self.faults: list[Fault] = []
        self.crlf = False
        self.hidden = 0

    def fault(self, where: str, what: str, way_out: str, kind: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(self.path, where, what, way_out, kind))

    def next_line(self) -> bytes:
        """Next line; empty at the end of the file."""
        text = self.stream.readline(_LONGEST_LINE)
        if len(text) == _LONGEST_LINE or b"\0" in text:
            raise InputError(f"{self.path}: line {self.line + 1} is no text; not a STAR file")
        if text:
            self.line += 1
        if text.endswith(b"\r\n") and not self.crlf:
            self.crlf = True
            self.fault(
                f"line {self.line}",
                "the line ends with CR LF (Windows), which breaks RELION",
                "convert the file, for example with dos2unix",
                "crlf",
            )
        return text

    def run(self) -> Structure:
        if self.stream.read(3) != b"\xef\xbb\xbf":  # Windows editors put it before the text
            self.stream.seek(0)
        text = self.next_line()
        while text:
            text = self.outside(text)
        if self.hidden:
            what = f"{self.hidden} more rows are damaged"
            self.faults.append(Fault(self.path, "", what, "restore the file", "more-rows"))
        return Structure(self.path, self.blocks, self.faults, self.size)

    def outside(self, text: bytes) -> bytes:
        """Handle one line that is not a row; return the next."""
        word = text.strip()
        if not word or word.startswith(b"#"):
            return self.next_line()
        if word.startswith(b"data_"):
            name = word.split()[0][5:].decode("utf-8", "surrogateescape")
            if any(block.name == name for block in self.blocks):
                self.fault(
                    f"line {self.line}",
                    f"a second table data_{name}",
                    "readers would take either; remove one",
                    "double-table",
                )
            self.blocks.append(Block(name))
            return self.next_line()
        if self.blocks and word.split()[0] == b"loop_" and not self.blocks[-1].is_loop:
            return self.loop()
        if self.blocks and word.startswith(b"_") and not self.blocks[-1].is_loop:
            self.pair(word)
            return self.next_line()
        block = self.blocks[-1] if self.blocks else None
        if block is not None and block.is_loop:
            self.fault(
                f"line {self.line}",
                f"stands below a blank or comment line inside data_{block.name}",
                f"RELION would silently stop after {block.rows} rows; remove that line",
                "blank-line",
            )
            return self.skip_to_table()
        self.fault(
            f"line {self.line}",
            "belongs to no table",
            "not a STAR file, or its data_ line is gone",
            "no-table",
        )
        return self.skip_to_table()

    def skip_to_table(self) -> bytes:
        text = self.next_line()
        while text and not text.strip().startswith(b"data_"):
            text = self.next_line()
        return text

    def pair(self, word: bytes) -> None:
        values = split_row(word.decode("utf-8", "surrogateescape"))
        block = self.blocks[-1]
        block.pairs[values[0][1:]] = values[1] if len(values) > 1 else ""
        block.columns.append(values[0][1:])

    def loop(self) -> bytes:
        block = self.blocks[-1]
        block.is_loop = True
        start = self.stream.tell()
        text = self.next_line()
        while text and (not text.strip() or text.strip()[:1] in (b"_", b"#")):
            if text.strip()[:1] == b"_":
                name = text.split()[0].split(b"#")[0][1:].decode("utf-8", "surrogateescape")
                if not (name.isascii() and name.isprintable()):
                    self.fault(
                        f"line {self.line}",
                        f"the name of column {len(block.columns) + 1} is damaged",
                        "restore the header",
                        "column-name",
                    )
                if name in block.columns:
                    self.fault(
                        f"line {self.line}",
                        f"column {name} is there twice",
                        "remove one of them",
                        "double-column",
                    )
                block.columns.append(name)
                block.label_lines.append((start, start + len(text)))
            start += len(text)
            text = self.next_line()
        block.rows_start = block.rows_end = start
        block.first_line = self.line
        block.offsets = np.array([start], np.int64)
        if not block.columns:
            self.fault(
                f"line {self.line}", "a loop without columns", "restore the header", "no-columns"
            )
            return self.skip_to_table()
        if not text or text.strip().startswith((b"data_", b"loop_")):
            return text
        self.rows(block)
        self.stream.seek(block.rows_end)
        self.line = block.first_line + block.rows - 1
        return self.next_line()

    def rows(self, block: Block) -> None:
        from alphacryo4d.io.tables import kernels

        data, loop = np.frombuffer(b"data_", np.uint8), np.frombuffer(b"loop_", np.uint8)
        position, rows = block.rows_start, 0
        parts = []
        while position < self.size:
            buffer = read_lines(self.stream, position, self.size)
            starts = np.empty(buffer.size // 2 + 1, np.int64)
            fault_table = np.zeros((MOST_FAULTS, 3), np.int64)
            end, count, faults = kernels.scan_rows(
                buffer, len(block.columns), kernels.SORTS, starts, fault_table, data, loop
            )
            for kind, row, number in fault_table[:faults].tolist():
                if kind == kernels.CRLF and self.crlf:
                    continue
                self.crlf |= kind == kernels.CRLF
                if kind != kernels.CRLF:
                    block.bad_rows.append(rows + row)
                if len(self.faults) < MOST_FAULTS:
                    self.faults.append(_explain(self.path, block, kind, rows + row, number))
                else:
                    self.hidden += 1
            self.hidden += max(0, faults - MOST_FAULTS)
            parts.append(starts[:count] + position)
            rows += count
            position += end
            if end < buffer.size:
                break
        block.rows_end = position
        block.offsets = np.concatenate([*parts, [position]]).astype(np.int64, copy=False)


def read_lines(stream: BinaryIO, start: int, limit: int) -> np.ndarray[Any, Any]:
    """About 16 MB of whole lines from ``start``, at most to ``limit``, as uint8."""
    stream.seek(start)
    wanted = min(BLOCK_BYTES, limit - start)
    text = stream.read(wanted)
    if wanted < limit - start and not text.endswith(b"\n"):
        text += stream.readline(_LONGEST_LINE)
    return np.frombuffer(text, np.uint8)


def scan(path: Path) -> Structure:
    """Find tables, rows and faults of a STAR file.

    Raises
    ------
    InputError
        The file is missing, empty or no text at all.
    """
    path = Path(path)
    try:
        require_file(path)
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path}: the file is empty; restore it from its source")
        with path.open("rb") as stream:
            return _Scanner(path, stream, size).run()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
