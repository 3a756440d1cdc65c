"""Particle tables and small tables in STAR format, of any size, without loss.

A particle table is opened once (one pass finds every fault of its form); columns are read when
asked for; rows go out byte for byte as they came in. Small tables are read and written whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.tables.choice import IMAGE_COLUMN
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.io.tables.header import changed_header, new_names
from alphacryo4d.io.tables.rows import kept_rows, read_columns, write_rows
from alphacryo4d.io.tables.small import (
    is_text_column,
    read_block,
    read_table,
    read_tables,
    typed,
    write_tables,
)
from alphacryo4d.io.tables.structure import Block, Structure
from alphacryo4d.io.tables.tokens import split_row

__all__ = [
    "IMAGE_COLUMN",
    "Fault",
    "ParticleTable",
    "read_table",
    "read_tables",
    "write_tables",
]

MICROGRAPH_COLUMN = "rlnMicrographName"
SIGN_COLUMN, UID_COLUMN = "ac4dImageSign", "ac4dUid"
_WHOLE_NUMBERS = {
    "rlnClassNumber",
    "rlnGroupNumber",
    "rlnOpticsGroup",
    "rlnRandomSubset",
    "rlnBeamTiltClass",
    "rlnNrOfSignificantSamples",
}


@dataclasses.dataclass(frozen=True, eq=False)
class ParticleTable:
    """A particle table on disk; made by :func:`alphacryo4d.particles.open.open_table`.

    Attributes
    ----------
    path : Path
        STAR file.
    structure : Structure
        All tables of the file.
    block : Block
        The table of the particles.
    data : Path, optional
        File that holds the bytes, where it is another one (a cryoSPARC file as STAR).
    """

    path: Path
    structure: Structure
    block: Block
    data: Path | None = None

    def __len__(self) -> int:
        return self.rows

    @property
    def bytes_path(self) -> Path:
        """File that the positions of ``block`` belong to."""
        return self.path if self.data is None else self.data

    @property
    def rows(self) -> int:
        """Number of particles."""
        return self.block.rows

    @property
    def columns(self) -> list[str]:
        """Names of the columns without the leading underscore."""
        return list(self.block.columns)

    @property
    def optics_block(self) -> Block | None:
        """The table of the optics groups, or None."""
        blocks = [block for block in self.structure.blocks if block.name == "optics"]
        return blocks[0] if blocks else None

    @property
    def dialect(self) -> str:
        """``3.1`` with optics groups and origins in Angstrom (RELION 3.1 to 5), else ``3.0``."""
        modern = {"rlnOpticsGroup", "rlnOriginXAngst"} & set(self.columns)
        return "3.1" if modern or self.optics_block is not None else "3.0"

    @property
    def optics_columns(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """Columns of the optics table (int64, float64 or text), or None where there is none."""
        block = self.optics_block
        if block is None:
            return None
        texts = read_block(self.structure, block)
        return {name: typed(name, values) for name, values in texts.items()}

    @property
    def optics(self) -> Any:
        """Optics table as a pandas ``DataFrame``, or None where there is none."""
        columns = self.optics_columns
        if columns is None:
            return None
        import pandas

        return pandas.DataFrame(columns)

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Read columns.

        Parameters
        ----------
        names : iterable of str
            Columns without underscore.

        Returns
        -------
        dict
            (R,) arrays: int64 for class, group, optics group and half-set numbers, text (object)
            for names, float64 for other numbers; a column that is neither stays text.

        Raises
        ------
        InputError
            A column is missing, or a number is no number.
        """
        names = list(names)
        self.require(names)
        numbers: list[str] = []
        texts = [name for name in names if is_text_column(name)]
        first = self.first_row()
        for name in names:
            if name not in texts:
                (numbers if typed(name, [first[name]]).dtype != object else texts).append(name)
        try:
            columns, words = self._columns(numbers, texts, [])
        except InputError:
            unknown = [name for name in numbers if not name.startswith("rln")]
            if not unknown:
                raise
            numbers = [name for name in numbers if name not in unknown]
            columns, words = self._columns(numbers, texts + unknown, [])
        result: dict[str, np.ndarray[Any, Any]] = {}
        for name in names:
            if name in words:
                codes, categories = words[name]
                result[name] = np.array(categories, dtype=object)[codes]
            elif name in _WHOLE_NUMBERS:
                result[name] = whole_numbers(self.path, name, columns[name])
            else:
                result[name] = columns[name]
        return result

    def read_parts(
        self,
        numbers: Iterable[str],
        texts: Iterable[str] = (),
        *,
        images: bool = False,
        shared: Iterable[str] = (),
    ) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, tuple[np.ndarray[Any, Any], list[str]]]]:
        """Read columns of numbers as float64 and of texts as codes and distinct values.

        With ``images``, ``rlnImageName`` comes as number (before ``@``, from 1) and as stack.
        Columns named as ``shared`` take the memory of one value where all rows are equal.
        """
        numbers, texts, wanted = list(numbers), list(texts), [IMAGE_COLUMN] if images else []
        self.require([*numbers, *texts, *wanted])
        return self._columns(numbers, texts, wanted, shared)

    def _columns(
        self, numbers: list[str], texts: list[str], images: list[str], shared: Iterable[str] = ()
    ) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, tuple[np.ndarray[Any, Any], list[str]]]]:
        places = (self.path, self.bytes_path, self.block)
        return read_columns(*places, numbers=numbers, texts=texts, images=images, shared=shared)

    def require(self, names: Iterable[str]) -> None:
        """Raise ``InputError`` that names the columns which the table lacks."""
        missing = [name for name in names if name not in self.block.columns]
        if missing:
            raise InputError(
                f"{self.path}: the particle table has no column {', '.join(missing)}; "
                "take the table from the step that wrote it"
            )

    def write_rows(self, out_path: Path, rows: Any) -> Path:
        """Write some of the rows under the same header, byte for byte.

        Parameters
        ----------
        out_path : Path
            STAR file, written whole or not at all.
        rows : (R,) bool or (n,) int
            Mask, or ascending row numbers from 0.
        """
        mask = kept_rows(rows, self.rows)
        write_rows(
            self.bytes_path,
            self.block,
            Path(out_path),
            mask,
            header=self._bytes(0, self.block.rows_start),
            tail=self._bytes(self.block.rows_end, self.structure.size),
            added={},
        )
        return Path(out_path)

    def write_with_columns(
        self,
        out_path: Path,
        columns: Mapping[str, Any],
        *,
        rename: Mapping[str, str] | None = None,
        rows: Any = None,
    ) -> Path:
        """Write rows with columns added at their ends; the bytes that were there stay.

        Parameters
        ----------
        out_path : Path
            STAR file, written whole or not at all.
        columns : mapping
            Name to one value for every *written* row: whole numbers, finite numbers or texts.
        rename : mapping, optional
            Old to new names of columns that are there. A column that is there under the name of
            an added one, or of a new name, is renamed to ``ac4dInput...`` in the same way.
        rows : mask or ascending row numbers, optional
            Rows to write; all by default.

        Raises
        ------
        InputError
            A value is not finite or cannot be held by a STAR table.
        """
        mask = kept_rows(rows, self.rows)
        count = int(mask.sum())
        added = {name: np.asarray(column) for name, column in columns.items()}
        for name, column in added.items():
            if column.shape != (count,):
                raise ValueError(f"{name} has shape {column.shape}, {count} rows are written")
        names = new_names(self.columns, list(added), rename or {})
        write_rows(
            self.bytes_path,
            self.block,
            Path(out_path),
            mask,
            header=changed_header(
                self._bytes(0, self.block.rows_start), self.block, names, list(added)
            ),
            tail=self._bytes(self.block.rows_end, self.structure.size),
            added=added,
        )
        return Path(out_path)

    def _bytes(self, start: int, end: int) -> bytes:
        with self.bytes_path.open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)

    def first_row(self) -> dict[str, str]:
        """Words of the first row by column."""
        start, end = (int(offset) for offset in self.block.offsets[:2])
        text = self._bytes(start, end).decode("utf-8", "surrogateescape")
        return dict(zip(self.columns, split_row(text), strict=True))


def whole_numbers(path: Path, name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Column of whole numbers as int64; ``InputError`` names the first row that is none."""
    bad = ~(np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}: row {row + 1}: {name} is {values[row]}, which is no whole number; "
            "restore the value from its source"
        )
    return values.astype(np.int64)
