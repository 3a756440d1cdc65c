"""Small STAR tables (optics, volumes, states): read and written whole, values kept exactly.

starfile reads and writes them. What it would change is kept from it: types are decided here
(``001`` is no 1), numbers are handed over as text, and a table with quotes, or with ``#`` within a
name, is read by our own tokens, since starfile changes the one and cuts at the other.
"""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import atomic_path
from alphacryo4d.io.tables.scan import scan
from alphacryo4d.io.tables.structure import Block, Structure
from alphacryo4d.io.tables.tokens import split_row

_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})$")
_PADDED = re.compile(r"[+-]?0[0-9]+$")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
_TEXT_COLUMNS = re.compile(r"(Name|Image|Zernike|Path|Mask|Label|Type|Uid)$|^rlnReferenceImage$")


def is_text_column(name: str) -> bool:
    """Whether a column holds names, whatever its values look like."""
    return _TEXT_COLUMNS.search(name) is not None


def read_number(text: str) -> float:
    """Value of a token; NaN for ``nan``, ``None`` and ``<NA>``.

    Raises
    ------
    ValueError
        It is no number.
    """
    if _REAL.match(text):
        return float(text)
    lowered = text.lower().lstrip("+-")
    if lowered in ("nan", "none", "<na>"):
        return float("nan")
    if lowered in ("inf", "infinity"):
        return float(text)
    raise ValueError(text)


def typed(name: str, values: Sequence[str]) -> np.ndarray[Any, Any]:
    """Column as int64, float64 or text, whichever keeps every value."""
    if not is_text_column(name) and values and not any(map(_PADDED.match, values)):
        if all(_INTEGER.match(value) for value in values):
            return np.array([int(value) for value in values], np.int64)
        try:
            return np.array([read_number(value) for value in values], np.float64)
        except ValueError:
            pass
    return np.array(list(values), dtype=object)


def read_block(structure: Structure, block: Block) -> dict[str, list[str]]:
    """Values of one table as text, column by column."""
    if not block.is_loop:
        return {name: [value] for name, value in block.pairs.items()}
    with structure.path.open("rb") as stream:
        stream.seek(block.rows_start)
        text = stream.read(block.rows_end - block.rows_start)
    rows = [split_row(line) for line in text.decode("utf-8", "surrogateescape").split("\n")]
    rows = [row for row in rows if row]
    return {name: [row[i] for row in rows] for i, name in enumerate(block.columns)}


def _read_by_starfile(structure: Structure) -> dict[str, dict[str, list[str]]]:
    """Tables as text, column by column; without those that starfile would read otherwise."""
    import starfile

    content, blocks = structure.path.read_bytes(), structure.blocks
    names = {name for block in blocks for name in (*block.columns, *block.pairs)}
    rows = b"".join(content[block.rows_start : block.rows_end] for block in blocks if block.is_loop)
    plain = content.isascii() and not any(mark in content for mark in (b"'", b'"'))
    plain &= b"#" not in rows and not any("#" in v for b in blocks for v in b.pairs.values())
    filled = all(len(b.offsets) > 1 if b.is_loop else b.pairs for b in blocks)
    if not (plain and filled and len({block.name for block in blocks}) == len(blocks)):
        return {}
    linecache.clearcache()  # starfile reads through it: a file written again must be read again
    try:
        tables = starfile.read(structure.path, always_dict=True, parse_as_string=sorted(names))
    except (ValueError, LookupError, TypeError):  # what it cannot read, such as mixed line ends
        return {}
    texts = {}
    for block in blocks:
        table = tables[block.name]
        columns = {
            str(name): [value] if isinstance(value, str) else list(value)
            for name, value in table.items()
        }
        count = len(block.offsets) - 1 if block.is_loop else 1
        same = set(columns) == set(block.columns or block.pairs)
        if same and all(
            len(column) == count and all(isinstance(value, str) for value in column)
            for column in columns.values()
        ):
            texts[block.name] = columns
    return texts


def read_tables(path: Path) -> dict[str, Any]:
    """Every table of a small STAR file.

    Parameters
    ----------
    path : Path
        STAR file; all of it is held in memory.

    Returns
    -------
    dict
        Name of the table (without ``data_``) to a pandas ``DataFrame`` with the columns' names
        without underscore. Columns are int64 or float64 where every value is a number and keeps
        its meaning as one (``001`` stays text), text otherwise; columns of names stay text.

    Raises
    ------
    InputError
        The file is missing or has a fault, such as a short row.
    """
    import pandas

    structure = scan(Path(path))
    structure.require_sound()
    tables, known = {}, _read_by_starfile(structure)
    for block in structure.blocks:
        texts = known.get(block.name) or read_block(structure, block)
        columns = {name: typed(name, values) for name, values in texts.items()}
        tables[block.name] = pandas.DataFrame(
            {name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()}
        )
    return tables


def read_table(
    path: Path, name: str, *, numbers: Sequence[str] = (), texts: Sequence[str] = ()
) -> Any:
    """One table of a small STAR file, with the columns that are needed.

    Parameters
    ----------
    path : Path
        STAR file.
    name : str
        Table, without ``data_``.
    numbers, texts : sequence of str
        Columns that must be there; those of ``numbers`` must hold numbers.

    Returns
    -------
    pandas.DataFrame
        As of :func:`read_tables`.

    Raises
    ------
    InputError
        The file has a fault, lacks the table or a column, or a value is no number.
    """
    table = read_tables(path).get(name)
    columns = (*numbers, *texts)
    missing = [one for one in columns if table is None or one not in table]
    if table is None or missing:
        lacks = f" or its columns {', '.join(missing)}" if missing else ""
        raise InputError(f"{path}: lacks the table {name}{lacks}")
    for one in numbers:
        values = [_number(value) for value in table[one]]
        if not all(map(math.isfinite, values)):
            row = next(n for n, value in enumerate(values) if not math.isfinite(value))
            raise InputError(
                f"{path}: row {row + 1}: {one} is {table[one].iloc[row]}, not a number; put it "
                "right, or make the file again"
            )
        if table[one].dtype.kind not in "iuf":  # such as 001
            table[one] = np.array(values)
    return table


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def quote(value: str) -> str:
    """Text as one STAR token.

    Raises
    ------
    InputError
        No quoting can hold it: line ends, control characters, or both kinds of quotes.
    """
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise InputError(f"{value!r}: a STAR table cannot hold control characters; rename it")
    reserved = value.lower().startswith(("data_", "loop_", "save_", "stop_", "global_"))
    reserved |= value in ("?", ".")
    if value and not reserved and value[0] not in "_#$'\";[]" and " " not in value:
        return value
    for mark in "\"'":
        if mark + " " not in value and not value.endswith(mark):
            return f"{mark}{value}{mark}"
    raise InputError(f"{value!r}: holds both kinds of quotes; a STAR table cannot hold it")


def token(value: Any) -> str:
    """Any value as one STAR token; floats so that they read back the same.

    Raises
    ------
    InputError
        Not finite: RELION would read it as 0.
    """
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            raise InputError("a value that is not finite cannot be written to a STAR table")
        return repr(float(value)) if isinstance(value, float) else str(value)
    return quote(str(value))


def write_tables(path: Path, tables: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write small tables, whole or not at all.

    Parameters
    ----------
    path : Path
        STAR file.
    tables : mapping
        Name of the table to its columns (a mapping of arrays or a ``DataFrame``), written as a
        loop, or to single values, written as pairs.

    Raises
    ------
    InputError
        A value is not finite or cannot be held by a STAR table.
    """
    import pandas
    import starfile

    blocks: dict[str, Any] = {}
    for table, columns in tables.items():
        values = [columns[name] for name in columns]
        if any(isinstance(value, str) or np.ndim(value) == 0 for value in values):
            blocks[table] = {
                name: _token_of(path, name, value)
                for name, value in zip(columns, values, strict=True)
            }
            continue
        texts = {
            name: [_token_of(path, name, value) for value in column]
            for name, column in zip(columns, values, strict=True)
        }
        blocks[table] = pandas.DataFrame(texts, dtype=object)
    # tokens are quoted already; the first line, which holds the time, goes
    text = starfile.to_string(blocks, sep="\t", quote_character="")
    text = text.partition("\n")[2].replace("\t", " ")
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
    return Path(path)


def _token_of(path: Path, name: str, value: Any) -> str:
    try:
        return token(value)
    except InputError as error:
        raise InputError(f"{path}: column {name}: {error}") from error
