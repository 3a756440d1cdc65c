"""A project whose table or stacks moved: find them again by content, and put it on record."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.identity import absolute_path, located
from alphacryo4d.core.job import read_job
from alphacryo4d.core.lock import locked
from alphacryo4d.io.star import IMAGE_COLUMN
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.recorded import require_same, stack_entries
from alphacryo4d.particles.stacks import resolve_stack, stack_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where the inputs of a project are.

    Attributes
    ----------
    table : Path
        Particle table.
    stacks : list of Path
        Stacks, in the order in which the table names them.
    root : (Path, int) or None
        Folder that image paths start from, and leading parts of each that are left out.
    moved : dict
        New place of every input by its place on record.
    """

    table: Path
    stacks: list[Path]
    root: tuple[Path, int] | None = None
    moved: dict[Path, Path] = field(default_factory=dict)


def find_places(project: Path, images_from: Path | None, table: Path | None) -> Places:
    """Find the inputs of a project; every one must have the content that was recorded.

    Parameters
    ----------
    project : Path
    images_from : Path, optional
        Folder with the stacks: under their paths in the table, or under the ends of these.
    table : Path, optional
        The table that the project was made from.

    Raises
    ------
    InputError
        Something is not there, or is another file than the project was made from.
    """
    resample = project / files.RESAMPLE
    record = read_job(resample) or {}
    if not record.get("inputs"):
        raise InputError(f"{project}: no project; give the folder of `alphacryo4d run --o`")
    entry = record["inputs"][0]
    old = located(entry, resample, record.get("folder"))
    table_path = old if table is None else table
    if not table_path.is_file():
        raise InputError(
            f"{table_path}: no such file; give the table's place by --table FILE, and that of the "
            "stacks by --images-from FOLDER where they moved too"
        )
    require_same(entry, table_path, resample)
    names = open_table(table_path).read_parts([], images=True)[1][IMAGE_COLUMN][1]
    entries = stack_entries(record, names)
    moved = {_recorded(entry, resample): table_path}
    stacks: list[Path] = []
    root = None
    if images_from is not None:
        stacks, parts = _stacks_in(images_from, names, table_path)
        root = (absolute_path(images_from), parts)
    else:
        places = [located(one, resample, record.get("folder")) for one in entries]
        stacks = places or [
            p for name in names if (p := resolve_stack(name, table_path)) is not None
        ]
    for one, path in zip(entries, stacks, strict=False):
        if not path.is_file():
            raise InputError(f"{path}: the stack is gone; name its folder by --images-from FOLDER")
        require_same(one, path, resample)
        moved[_recorded(one, resample)] = path
    return Places(table_path, stacks, root, moved)


def _recorded(entry: Mapping[str, Any], folder: Path) -> Path:
    """Place of an input as it is on record."""
    return absolute_path(folder / entry["path"])


def _stacks_in(folder: Path, names: list[str], table: Path) -> tuple[list[Path], int]:
    """Stacks in a folder, and how many leading parts of their names are left out to find them."""
    if not folder.is_dir():
        raise InputError(f"--images-from {folder}: no such folder")
    parts = [[p for p in Path(stack_file(name)).parts if p != "/"] for name in names]
    best: list[Path] = []
    for left_out in range(min((len(one) for one in parts), default=1)):
        paths = [folder.joinpath(*one[left_out:]) for one in parts]
        missing = [path for path in paths if not path.is_file()]
        if not missing:
            return paths, left_out
        if left_out == 0 or len(missing) < len(best):
            best = missing
    raise InputError(
        f"--images-from {folder}: {len(best)} of the {len(names)} stacks of {table} are not there, "
        f"first {best[0]}"
    )


def relocate(project: Path, places: Places) -> list[Path]:
    """Put the places of inputs on record, in every ``job.json`` of a project.

    Parameters
    ----------
    project : Path
    places : Places
        As :func:`find_places` gives them.

    Returns
    -------
    list of Path
        Records that were changed.
    """
    changed = []
    records = [project / files.JOB_JSON, *sorted(project.rglob(f"*/{files.JOB_JSON}"))]
    with ExitStack() as stack:
        for path in [path for path in records if path.is_file()]:
            record = read_job(path.parent)
            if record is None:
                continue
            before = json.dumps(record)
            _settle(record, path.parent, places)
            remnants = list(path.parent.glob(f"{files.TEMPORARY}*"))
            if remnants or json.dumps(record) != before:
                stack.enter_context(locked(path.parent))
            if json.dumps(record) != before:
                changed.append((path, record))
            for remnant in remnants:  # of a run that was killed, since nobody holds the lock
                remnant.unlink(missing_ok=True)
        for path, record in changed:
            files.write_text(path, json.dumps(record, indent=2) + "\n")
    return [path for path, _ in changed]


def _settle(record: dict[str, Any], folder: Path, places: Places) -> None:
    """Write a record as of a project that always was where it is now."""
    home = absolute_path(folder)
    for entry in record.get("inputs", []):
        old = _recorded(entry, folder)
        now = places.moved.get(old, located(entry, folder, record.get("folder")))
        if not now.is_file():
            continue
        absolute = absolute_path(now)
        near = os.path.relpath(absolute, home)
        inside = home.parent in absolute.parents and home.parent != Path(home.anchor)
        entry |= {"path": near if inside else str(absolute), "near": near}
        if "mtime" in entry:
            entry["mtime"] = now.stat().st_mtime
    if "folder" in record:
        record["folder"] = str(home)
    if places.root is not None and folder.name == files.RESAMPLE:
        root, parts = places.root
        record |= {
            "image_root": str(root),
            "image_root_near": os.path.relpath(root, home),
            "image_parts_left_out": parts,
        }
