"""The header of a particle table: columns renamed and added, everything else byte for byte."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from alphacryo4d.core.words import ONCE
from alphacryo4d.io.tables.structure import Block

logger = logging.getLogger("alphacryo4d.io.star")


def new_names(columns: list[str], added: list[str], rename: Mapping[str, str]) -> list[str]:
    """Names of the columns after renaming, with no name there twice.

    ``rlnClassNumber`` that is in the way becomes ``ac4dInputClassNumber``; a second one
    ``ac4dInputClassNumber2``, and so on.
    """
    taken = set(added) | set(columns) - set(rename)
    result = []
    for name in columns:
        wanted = rename.get(name, name)
        if name not in rename and name not in added:
            result.append(name)
            continue
        if name not in rename or wanted in taken:
            plain = re.sub(r"^(rln|ac4dInput|ac4d|_)", "", wanted)
            wanted = f"ac4dInput{plain}"
        free, number = wanted, 2
        while free in taken:
            free, number = f"{wanted}{number}", number + 1
        logger.info("column %s of the input is kept as %s", name, free, extra=ONCE)
        taken.add(free)
        result.append(free)
    return result


def changed_header(text: bytes, block: Block, names: list[str], added: list[str]) -> bytes:
    """Bytes before the rows with columns renamed and added.

    Parameters
    ----------
    text : bytes
        File up to the first row.
    block : Block
        The table of the rows.
    names, added : list of str
        New names of the columns that are there, and columns behind them.
    """
    lines = block.label_lines
    parts, position = [], 0
    for (start, end), old, new in zip(lines, block.columns, names, strict=True):
        line = text[start:end]
        if old != new:
            line = re.sub(rb"_\S+", b"_" + new.encode(), line, count=1)
        parts += [text[position:start], line]
        position = end
    last = text[slice(*lines[-1])]
    numbered = b"#" in last
    blank = b" " if last.rstrip(b"\n").endswith(b" ") else b""
    for number, name in enumerate(added, len(names) + 1):
        label = b"_" + name.encode() + (b" #%d" % number if numbered else b"")
        parts.append(label + blank + b"\n")
    return b"".join([*parts, text[position:]])
