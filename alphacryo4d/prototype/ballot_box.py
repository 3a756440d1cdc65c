"""Ballots of particles: the tables of classes that they stand in."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import ParticleTable
from alphacryo4d.particles.open import open_table
from alphacryo4d.prototype.tables import natural_key, read_header

logger = logging.getLogger(__name__)
_IMAGE = "rlnImageName"


@dataclass(frozen=True)
class Ballots:
    """Particles of several tables.

    Attributes
    ----------
    tables : list of ParticleTable
        Tables with the same columns.
    names : list of str
        Distinct particles, sorted.
    votes : (N,) int array
        In how many tables each is.
    origin : (N,) int array
        First row of each, counted over all tables.
    where : list of (rows,) int arrays
        Particle of every row, table by table.
    """

    tables: list[ParticleTable]
    names: list[str]
    votes: Any
    origin: Any
    where: list[Any]


def class_tables(folder: Path) -> list[Path]:
    """Tables ``u*_b*_c*.star`` of a folder in natural order."""
    tables = [path for path in folder.glob("u*.star") if re.search(r"u[\d-]+_b\d+_c\d+", path.name)]
    if not tables:
        raise InputError(f"{folder.resolve()}: no u*_b*_c*.star in it; run vote_prepare.sh first")
    return sorted(tables, key=lambda path: natural_key(path.name))


def read_ballots(paths: Iterable[Path]) -> Ballots:
    """Count in how many tables each particle is.

    Raises
    ------
    InputError
        The tables have different columns.
    """
    tables = [open_table(path) for path in paths]
    known: dict[str, int] = {}
    where = []
    for table in tables:
        if table.columns != tables[0].columns:
            raise InputError(
                f"{table.path}: other columns than {tables[0].path}; take tables of one data set"
            )
        codes, distinct = table.read_parts([], [_IMAGE])[1][_IMAGE]
        mapping = np.array([known.setdefault(name, len(known)) for name in distinct], np.int64)
        if len(distinct) < table.rows:
            logger.warning(
                "%s: %d particles are there twice; they vote once",
                table.path,
                table.rows - len(distinct),
            )
        where.append(mapping[codes])
    names = list(known)
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    where = [rank[rows] for rows in where]
    votes = np.zeros(len(names), np.int64)
    for rows in where:
        votes[np.unique(rows)] += 1
    flat = np.concatenate(where)
    origin = np.full(len(names), len(flat), np.int64)
    np.minimum.at(origin, flat, np.arange(len(flat)))
    return Ballots(tables, [names[place] for place in order], votes, origin, where)


def _write_rows(path: Path, ballots: Ballots, particles: Any, head: bytes) -> Path:
    """Write the first row of some particles, in their order, under a header."""
    starts = np.cumsum([0, *(table.rows for table in ballots.tables)])
    wanted = ballots.origin[particles]
    source = np.searchsorted(starts, wanted, side="right") - 1
    lines: list[bytes] = [b""] * len(wanted)
    for number, table in enumerate(ballots.tables):
        places = np.flatnonzero(source == number)
        if not len(places):
            continue
        text = table.path.read_bytes()
        offsets = table.block.offsets
        rows = wanted[places] - starts[number]
        bounds = zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)
        for place, (start, end) in zip(places.tolist(), bounds, strict=True):
            lines[place] = text[start:end].rstrip(b"\n") + b"\n"
    with files.atomic_path(path) as temporary, temporary.open("wb") as out:
        out.write(head)
        out.write(b"".join(lines))
    return path


def _head(folder: Path, ballots: Ballots, name: str = "head.star") -> bytes:
    """Header for the outputs: ``head.star`` where it fits the tables, else that of the first."""
    own = read_header(ballots.tables[0])
    path = folder / name
    if not path.is_file():
        return own
    head = path.read_bytes()
    labels = re.findall(rb"^\s*_(\S+)", head, re.MULTILINE)
    if labels[-len(ballots.tables[0].columns) :] != [
        column.encode() for column in ballots.tables[0].columns
    ]:
        raise InputError(
            f"{path}: not the header of {ballots.tables[0].path.name}; remove it or run gethead.py"
        )
    return head if head.endswith(b"\n") else head + b"\n"


def _search(folder: Path, names: tuple[str, ...]) -> Path:
    places = [folder, folder / "..", folder / ".." / ".."]
    for place in places:
        for name in names:
            if (place / name).exists():
                return place / name
    raise InputError(
        f"{names[0]}: neither in {folder.resolve()} nor in the two folders above; name it"
    )
