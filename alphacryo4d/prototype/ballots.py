"""Votes with the prototype's files: a folder of ``u123_b1_c1.star`` tables for every state."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.reading import read_text
from alphacryo4d.particles.open import open_table
from alphacryo4d.prototype.ballot_box import (
    Ballots,
    _head,
    _search,
    _write_rows,
    class_tables,
    read_ballots,
)
from alphacryo4d.prototype.maps import read_log, volume_stem
from alphacryo4d.prototype.switches import check_dialect
from alphacryo4d.prototype.tables import natural_key, read_header

logger = logging.getLogger(__name__)


def count_votes(folder: Path, threshold: int = 2, *, head: str = "head.star") -> Path:
    """Keep particles with at least ``threshold`` votes (``post_and_f.sh``).

    Writes ``pre_vote.log`` ("votes name"), ``pre_vote.star`` (every particle once),
    ``post_vote.log`` (names) and ``post_and.star`` (the kept ones), sorted by name.

    Parameters
    ----------
    folder : Path
        Folder with ``u*.star``, one table for every volume of the state.
    threshold : int
        Fewest votes that keep a particle.
    head : str
        Header in the folder, used where it is there.
    """
    if threshold < 1:
        raise UsageError(f"threshold {threshold}: at least 1 is needed")
    ballots = read_ballots(class_tables(folder))
    header = _head(folder, ballots, head)
    kept = np.flatnonzero(ballots.votes >= threshold)
    counted = zip(ballots.votes.tolist(), ballots.names, strict=True)
    lines = [f"{votes:7d} {name}\n" for votes, name in counted]
    files.write_text(folder / "pre_vote.log", "".join(lines))
    _write_rows(folder / "pre_vote.star", ballots, np.arange(len(ballots.names)), header)
    names = [f" {ballots.names[place]}\n" for place in kept.tolist()]
    files.write_text(folder / "post_vote.log", "".join(names))
    result = _write_rows(folder / "post_and.star", ballots, kept, header)
    logger.info("particle number before voting: %d", len(ballots.names))
    logger.info("particle number after voting: %d", len(kept))
    return result


def prepare_votes(
    cluster: Path, folder: Path, *, log: Path | None = None, stars: Path | None = None
) -> list[Path]:
    """Link the tables of a state's volumes into a folder (``vote_prepare.sh``).

    Parameters
    ----------
    cluster : Path
        Lines "index distance" of ``clustering.py``.
    folder : Path
        Where the links are made; links of an earlier run are removed.
    log, stars : Path, optional
        ``data.log`` and the folder of the class tables; by default searched in the folder, the
        one above and the one above that.
    """
    if not cluster.is_file():
        raise InputError(f"{cluster}: no such file; run clustering.py first")
    log = log or _search(folder, ("data.log",))
    stars = stars or _search(log.parent, ("stars", "star"))
    names = read_log(log)
    made = []
    wanted = []
    for number, line in enumerate(read_text(cluster).splitlines(), 1):
        words = line.split()
        if not words or not words[0].isdecimal() or not 1 <= int(words[0]) <= len(names):
            raise InputError(
                f"{cluster}: line {number}: no volume of {log} ({len(names)} volumes); "
                "run clustering.py again"
            )
        wanted.append(stars / f"{volume_stem(names[int(words[0]) - 1])}.star")
    if not wanted:
        raise InputError(f"{cluster}: no volume belongs to this state; take a larger --radius")
    for path in wanted:
        if not path.is_file():
            raise InputError(f"{path}: no such file; run link.sh, or name the folder of the tables")
    for path in folder.glob("u*_b*_c*.star"):
        if path.is_symlink():
            path.unlink()
    for path in wanted:
        link = folder / path.name
        if not link.exists():
            link.symlink_to(os.path.relpath(path.resolve(), folder.resolve()))
        made.append(link)
    return made


def vote_state(
    cluster: Path, folder: Path, *, head: str, threshold: int, relion: str | None = None
) -> Path:
    """Link, write the header and count the votes of one state (``Vote.py``)."""
    links = prepare_votes(cluster, folder)
    table = open_table(links[0])
    check_dialect(links[0], table.dialect, relion)
    with files.atomic_path(folder / head) as temporary:
        temporary.write_bytes(read_header(table))
    return count_votes(folder, threshold, head=head)


def nearest_particles(folder: Path, threshold: int = 2) -> Path:
    """Distance-based assignment of one state (``post_or_parallel.sh``): ``post_or.star``.

    A particle stays with at least ``threshold`` votes, or where none of its copies in the other
    states' folders (``../c*``) is nearer to its center than the nearest copy here.
    """
    if threshold < 1:
        raise UsageError(f"threshold {threshold}: at least 1 is needed")
    names = {volume_stem(name): number for number, name in enumerate(_log_names(folder), 1)}
    here = folder.resolve()
    folders = sorted(
        (path for path in here.parent.glob("c*") if path.is_dir()),
        key=lambda path: natural_key(path.name),
    )
    paths, distances, own = [], [], []
    for place in folders:
        tables = class_tables(place) if place == here or any(place.glob("u*_b*_c*.star")) else []
        known = _distances(place) if tables else {}
        for path in tables:
            number = names.get(volume_stem(path.name))
            if number not in known:
                raise InputError(f"{path}: its volume is not in {place / place.name}")
            paths.append(path)
            distances.append(known[number])
            own.append(place == here)
    ballots = read_ballots(paths)
    count = len(ballots.names)
    votes = np.zeros(count, np.int64)
    nearest = np.full((2, count), np.inf)
    for rows, distance, mine in zip(ballots.where, distances, own, strict=True):
        rows = np.unique(rows)
        votes[rows] += mine
        side = 0 if mine else 1
        nearest[side, rows] = np.minimum(nearest[side, rows], distance)
    kept = np.flatnonzero((votes >= threshold) | ((votes > 0) & (nearest[0] <= nearest[1])))
    logger.info("%d of %d particles stay", len(kept), int((votes > 0).sum()))
    return _write_rows(folder / "post_or.star", _only(ballots, own), kept, _head(folder, ballots))


def _only(ballots: Ballots, own: list[bool]) -> Ballots:
    """Ballots whose rows are taken from some of the tables only."""
    flat = np.concatenate(ballots.where)
    mine = np.concatenate(
        [np.full(len(rows), keep) for rows, keep in zip(ballots.where, own, strict=True)]
    )
    origin = np.full(len(ballots.names), len(flat), np.int64)
    np.minimum.at(origin, flat[mine], np.flatnonzero(mine))
    return Ballots(ballots.tables, ballots.names, ballots.votes, origin, ballots.where)


def _log_names(folder: Path) -> list[str]:
    return read_log(_search(folder, ("data.log",)))


def _distances(folder: Path) -> dict[int | None, float]:
    path = folder / folder.name
    if not path.is_file():
        raise InputError(f"{path}: no such file; run clustering.py first")
    try:
        words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return {int(number): float(distance) for number, distance in words}
    except ValueError as error:
        raise InputError(f'{path}: lines must be "index distance" ({error})') from error


def drop_duplicates(folder: Path) -> list[Path]:
    """Drop particles that are in more than one table of a folder: ``NAME_dedup.star``."""
    paths = [
        path
        for path in folder.glob("*.star")
        if path.name != "head.star" and not path.stem.endswith("_dedup")
    ]
    if not paths:
        raise InputError(f"{folder.resolve()}: no .star tables in it")
    ballots = read_ballots(sorted(paths, key=lambda path: natural_key(path.name)))
    written = []
    for table, rows in zip(ballots.tables, ballots.where, strict=True):
        alone = np.unique(rows[ballots.votes[rows] == 1])
        output = table.path.with_name(f"{table.path.stem}_dedup.star")
        alone = alone[np.argsort(ballots.origin[alone])]
        written.append(_write_rows(output, ballots, alone, read_header(table)))
        logger.info("%s: %d of %d particles stay", table.path.name, len(alone), table.rows)
    return written
