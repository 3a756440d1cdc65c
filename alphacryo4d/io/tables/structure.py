"""Where the tables of a STAR file lie: names, columns, rows, faults."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.tables.faults import Fault


@dataclasses.dataclass
class Block:
    """One table of a STAR file.

    Attributes
    ----------
    name : str
        What follows ``data_``.
    columns : list of str
        Names without the leading underscore.
    label_lines : list of (int, int)
        Start and end of every label line in the file, line end included.
    rows_start, rows_end : int
        Where the rows begin and end in the file.
    offsets : (R + 1,) int64
        Start of every row and the end of the last.
    first_line : int
        Line number of the first row, from 1.
    bad_rows : list of int
        Rows (from 0) that cannot be read, as far as faults are listed.
    pairs : dict
        Label to value of a table without a loop.
    """

    name: str
    columns: list[str] = dataclasses.field(default_factory=list)
    label_lines: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    rows_start: int = 0
    rows_end: int = 0
    offsets: np.ndarray[Any, Any] = dataclasses.field(default_factory=lambda: np.zeros(1, np.int64))
    first_line: int = 0
    is_loop: bool = False
    bad_rows: list[int] = dataclasses.field(default_factory=list)
    pairs: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows of the loop (1 for a table of pairs)."""
        return len(self.offsets) - 1 if self.is_loop else 1


@dataclasses.dataclass
class Structure:
    """Tables and faults of a STAR file."""

    path: Path
    blocks: list[Block]
    faults: list[Fault]
    size: int

    def require_sound(self) -> None:
        """Raise ``InputError`` for the first fault, and say how many there are."""
        if not self.faults:
            return
        more = len(self.faults) - 1
        hint = f" (and {more} more: alphacryo4d check --i TABLE lists all)" if more else ""
        raise InputError(f"{self.faults[0]}{hint}")
