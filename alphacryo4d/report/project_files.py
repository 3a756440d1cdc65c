"""What a project folder holds, read for the page; whatever is missing is None or empty."""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import AlphaCryo4DError
from alphacryo4d.core.job import read_job
from alphacryo4d.core.reading import read_object
from alphacryo4d.selection.sets_stage import landscape_folder

logger = logging.getLogger(__name__)

NOT_SETS = frozenset(
    (files.CONSENSUS, files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE, files.VOTE_NULL)
)
LABELS = {files.VOTE: "Votes", files.RECLASSIFY: "Reclassification"}
_NUMBERED = {files.VOTE: "Selection", files.RECLASSIFY: "Reclassification"}


@dataclass(frozen=True)
class StateSet:
    """One answer: particles with states, from votes, a reclassification or a selection.

    Attributes
    ----------
    key : str
        Folder inside the project.
    label : str
        What people call it.
    folder : Path
    record : dict
        ``job.json``; empty where there is none.
    report, reconstruction : dict
        ``report.json`` and ``reconstruction.json``; empty where they are missing.
    """

    key: str
    label: str
    folder: Path
    record: dict[str, Any]
    report: dict[str, Any]
    reconstruction: dict[str, Any]

    @property
    def landscape(self) -> Path:
        """Folder of the landscape that the states are of."""
        return landscape_folder(self.folder)

    @property
    def local(self) -> Path:
        """Folder of the local resolution: a reconstruction beside the set, or that of the set."""
        beside = self.folder.with_name(f"{self.key}-local")
        return beside if (beside / "reconstruction.json").is_file() else self.folder


def state_sets(project: Path) -> list[StateSet]:
    """Votes first, then the reclassification, then other folders with particles and states."""
    folders = [path.parent for path in sorted(project.glob(f"*/{files.PARTICLES_STAR}"))]
    folders = [path for path in folders if path.name not in NOT_SETS and not path.is_symlink()]
    folders.sort(key=lambda path: _order(path.name))
    known = [project / key for key in LABELS if project / key in folders]
    sets = [_state_set(path) for path in [*known, *(f for f in folders if f not in known)]]
    return [state_set for state_set in sets if state_set.report.get("per_state")]


def last_set(project: Path) -> str | None:
    """Set of states that a page opens with where none is asked for; None where there is none."""
    sets = state_sets(project)
    return sets[-1].key if sets else None


def label_of(key: str) -> str:
    """What people call a set of states.

    ``vote-2`` is the second selection of them, ``reclassify-2`` the reclassification of that.
    """
    kind, number = _kind_and_number(key)
    return LABELS.get(key, f"{_NUMBERED[kind]} {number}" if number else key)


def _kind_and_number(key: str) -> tuple[str, int]:
    """``vote`` or ``reclassify`` and the number behind it; no kind and 0 for another name."""
    match = re.fullmatch(rf"({'|'.join(_NUMBERED)})-(\d{{1,9}})", key)
    return (match[1], int(match[2])) if match else ("", 0)


def _order(key: str) -> tuple[bool, int, bool, str]:
    """Numbered sets by number, votes before their reclassification; then others by name."""
    kind, number = _kind_and_number(key)
    return not number, number, kind == files.RECLASSIFY, key


def _state_set(folder: Path) -> StateSet:
    report = read_json(folder / "report.json")
    return StateSet(
        folder.name,
        label_of(folder.name),
        folder,
        record_of(folder),
        report if "per_state" in report else report | counted_report(folder / files.PARTICLES_STAR),
        read_json(folder / "reconstruction.json"),
    )


def counted_report(path: Path) -> dict[str, Any]:
    """What a table of particles alone says of its states: particles and energies (kT)."""
    from alphacryo4d.particles.open import open_table

    table = open_table(path)
    if "rlnClassNumber" not in table.columns:
        return {}
    members = np.bincount(np.maximum(table.read(["rlnClassNumber"])["rlnClassNumber"], 0))
    voted = int(members[1:].sum())
    return {
        "particles": int(members.sum()),
        "voted": voted,
        "voted_out": int(members[0]),
        "per_state": [
            {"state": k, "particles": int(n), "energy_kt": float(-np.log(n / voted))}
            for k, n in enumerate(members.tolist())
            if k and n
        ],
    }


def record_of(folder: Path) -> dict[str, Any]:
    """``job.json`` of a folder; empty where there is none."""
    return read_job(folder) or {}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing.

    Raises
    ------
    InputError
        The file is no JSON object.
    """
    if not path.is_file():
        return {}
    return read_object(path)


def read_columns(path: Path, *, numbers: tuple[str, ...] = ()) -> dict[str, Array]:
    """Columns of a CSV file by name; numbers where all are numbers; empty where it is missing.

    A table in which some of the columns that must be ``numbers`` are not is named and left out.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
    except (csv.Error, ValueError) as error:
        logger.warning("%s: not a table (%s); the page goes without it", path, error)
        return {}
    if len(rows) < 1:
        return {}
    names, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    found = {name: _column([row[i] for row in body]) for i, name in enumerate(names)}
    for name in numbers:
        if name not in found or found[name].dtype.kind != "f":
            logger.warning("%s: no numbers in a column %s; the page goes without it", path, name)
            return {}
    return found


def _column(texts: list[str]) -> Array:
    try:
        return np.array([float(text) if text else np.nan for text in texts], np.float64)
    except ValueError:
        return np.array(texts)


def read_optional(path: Path, **kind: Any) -> Array | None:
    """An array, or None where it is missing; a broken one is named in the log and left out."""
    if not path.is_file():
        return None
    try:
        return files.load_array(path, **kind)
    except AlphaCryo4DError as error:
        logger.warning("%s; the page goes without it", error)
        return None


def read_table(path: Path, name: str) -> dict[str, list[Any]]:
    """Columns of one table of a STAR file; empty where it is missing, broken ones are logged."""
    from alphacryo4d.io.star import read_tables

    if not path.is_file():
        return {}
    try:
        table = dict(read_tables(path)).get(name)
    except AlphaCryo4DError as error:
        logger.warning("%s; the page goes without it", error)
        return {}
    return {} if table is None else {column: list(table[column]) for column in table}
