"""Particle tables of the prototype: batches, groups and folds, rows byte for byte."""

from __future__ import annotations

import logging
import mmap
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.files import atomic_path, fold_name
from alphacryo4d.core.words import plural
from alphacryo4d.io.star import ParticleTable
from alphacryo4d.particles.open import open_table
from alphacryo4d.prototype.switches import check_dialect
from alphacryo4d.resample.subsets import split_evenly

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 200_000


def natural_key(name: str) -> list[Any]:
    """Sort key that takes numbers in a name as numbers: u123_b2_c1 before u123_b10_c1."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def read_header(table: ParticleTable) -> bytes:
    """Everything before the first row of the particles."""
    with table.path.open("rb") as stream:
        return stream.read(table.block.rows_start)


def write_parts(table: ParticleTable, parts: Mapping[Path, Any]) -> list[Path]:
    """Write rows of a table to several files under its header, byte for byte.

    Parameters
    ----------
    table : ParticleTable
        Table of P rows.
    parts : mapping
        File to (n,) row numbers from 0, in the order to write them.
    """
    written = []
    offsets = table.block.offsets
    with (
        table.path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        header, tail = data[: table.block.rows_start], data[table.block.rows_end :]
        for path, rows in parts.items():
            with atomic_path(path) as temporary, temporary.open("wb") as out:
                out.write(header)
                out.writelines(_rows(data, offsets, np.asarray(rows)))
                out.write(tail)
            written.append(path)
    return written


def _rows(data: mmap.mmap, offsets: Any, rows: Any) -> Iterable[bytes]:
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        some = rows[first : first + _ROWS_AT_A_TIME]
        bounds = zip(offsets[some].tolist(), offsets[some + 1].tolist(), strict=True)
        text = b"".join([data[start:end] for start, end in bounds])
        yield text if text.endswith(b"\n") or not text else text + b"\n"


def _remove(folder: Path, pattern: str) -> None:
    for path in folder.iterdir():
        if re.fullmatch(pattern, path.name) and path.is_file():
            path.unlink()


def random_batches(
    star: Path, folder: Path, *, number: int, relion: str | None = None, seed: int = 0
) -> list[Path]:
    """Split a table at random into ``batch1.star`` ... of equal size within one particle.

    Parameters
    ----------
    star : Path
        Table of all particles.
    folder : Path
        Where the batches are written.
    number : int
        Particles of a batch at the most.
    relion : str, optional
        ``--relion``.
    seed : int
        Random seed.
    """
    if number < 1:
        raise UsageError(f"--number {number}: at least 1 is needed")
    table = open_table(star)
    check_dialect(star, table.dialect, relion)
    rng = np.random.default_rng([seed, 0])
    everyone = np.arange(table.rows, dtype=np.int32)
    batches = split_evenly(everyone, -(-table.rows // number), rng)
    if star.resolve().parent == folder.resolve() and re.fullmatch(r"batch\d+\.star", star.name):
        raise UsageError(f"{star}: would be replaced by a batch of that name; rename it")
    _remove(folder, r"batch\d+\.star")
    written = write_parts(
        table, {folder / f"batch{i}.star": rows for i, rows in enumerate(batches, 1)}
    )
    logger.info("%d particles in %s", table.rows, plural(len(batches), "batch", "batches"))
    return written


def folds_of_batch(
    star: Path, folder: Path, *, fold: int, relion: str | None = None, seed: int = 0
) -> list[Path]:
    """Split a batch into M+1 groups ``sub1.star`` ... and write the folds ``union123.star`` ...

    Parameters
    ----------
    star : Path
        Table of the batch.
    folder : Path
        Where the tables are written.
    fold : int
        M, odd and at least 3: every particle is in M of the M+1 folds.
    relion, seed
        As in :func:`random_batches`.
    """
    if fold < 3 or fold % 2 == 0:
        raise UsageError(f"--fold {fold}: M must be odd and at least 3, so that a majority exists")
    table = open_table(star)
    check_dialect(star, table.dialect, relion)
    if table.rows < fold + 1:
        raise InputError(f"{star}: {table.rows} particles cannot fill {fold + 1} groups")
    everyone = np.arange(table.rows, dtype=np.int32)
    groups = split_evenly(everyone, fold + 1, np.random.default_rng([seed, 1]))
    _remove(folder, r"sub\d+\.star")
    _remove(folder, r"union[\d-]+\.star")
    parts = {folder / f"sub{group}.star": rows for group, rows in enumerate(groups, 1)}
    for group, rows in enumerate(groups, 1):
        name = fold_name(group, fold + 1)
        parts[folder / f"union{name}.star"] = np.setdiff1d(everyone, rows)
    return write_parts(table, parts)


def batches_and_folds(
    star: Path, folder: Path, *, number: int, fold: int, relion: str | None = None, seed: int = 0
) -> list[Path]:
    """Folders ``batch1`` ... with the table, groups and folds of every batch (``Star.py``)."""
    if fold < 3 or fold % 2 == 0:
        raise UsageError(f"--fold {fold}: M must be odd and at least 3, so that a majority exists")
    written = []
    batches = random_batches(star, folder, number=number, relion=relion, seed=seed)
    for place, batch in enumerate(batches, 1):
        inside = folder / batch.stem
        inside.mkdir(exist_ok=True)
        moved = batch.replace(inside / batch.name)
        written += [moved, *folds_of_batch(moved, inside, fold=fold, seed=seed + 1000 * place)]
    return written


def write_head(star: Path, head: Path, *, relion: str | None = None) -> Path:
    """Write everything before the first row of a table (``gethead.py``)."""
    table = open_table(star)
    check_dialect(star, table.dialect, relion)
    with atomic_path(head) as temporary:
        temporary.write_bytes(read_header(table))
    return head
