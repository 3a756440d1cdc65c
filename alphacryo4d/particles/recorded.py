"""The stacks of a project: where its record says that they are, whatever the working directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.identity import located, outside_original, same_content
from alphacryo4d.core.record import read_job
from alphacryo4d.core.settings import IMAGES_FROM
from alphacryo4d.io.star import IMAGE_COLUMN, ParticleTable
from alphacryo4d.particles.stacks import KnownStacks, resolve_stack, stack_file

logger = logging.getLogger(__name__)


def recorded_stacks(resample: Path, table: Path) -> KnownStacks:
    """Where the stacks of a project's table are, as its resampling recorded them.

    A project that was copied reads the copy of its stacks where one lies beside it. Where a stack
    is gone, or ``--images-from`` was given, it is searched as for any table, and must have the
    content that was recorded.

    Parameters
    ----------
    resample : Path
        Folder with the ``job.json`` that names them.
    table : Path
        Table of the project, for stacks that are searched.

    Returns
    -------
    callable
        For :func:`alphacryo4d.particles.particle_set.read_particles`.
    """

    def find(names: list[str]) -> dict[str, Path]:
        record = read_job(resample) or {}
        entries = stack_entries(record, names)
        stacks, outside = {}, []
        for name, entry in zip(names, entries, strict=False):
            path: Path | None = located(entry, resample, record.get("folder"))
            if os.environ.get(IMAGES_FROM) or not (path and path.is_file()):
                path = resolve_stack(name, table)
            if path is None:
                continue
            require_same(entry, path, resample)
            if outside_original(entry, resample, record.get("folder")) == path:
                outside.append(path)
            stacks[name] = path
        say_outside(resample, outside)
        return stacks

    return find


def stacks_on_record(resample: Path) -> tuple[Path, ...]:
    """Stacks and masks among the inputs of a resampling, those that are where its record says."""
    record = read_job(resample) or {}
    further = record.get("inputs", [])[1:]  # the first is the table
    places = [located(entry, resample, record.get("folder")) for entry in further]
    return tuple(path for path in places if path.is_file())


def images_folder(resample: Path, table: ParticleTable, written: Path) -> Path | None:
    """Folder for ``--images-from`` of a table that was written from a project's.

    None where its images are found without it, or by no such folder; what is wrong with them, a
    command that reads them says.

    Parameters
    ----------
    resample : Path
        Folder with the record of the stacks.
    table : ParticleTable
        Table of the project.
    written : Path
        Where the other table is.
    """
    if IMAGE_COLUMN not in table.columns:
        return None
    names = table.read_parts([], images=True)[1][IMAGE_COLUMN][1]
    if not names or resolve_stack(names[0], written) is not None:
        return None
    try:
        places = recorded_stacks(resample, table.path)(names)
    except InputError:
        return None
    first = str(places.get(names[0], Path()).absolute())
    ending = f"/{stack_file(names[0])}"
    return Path(first.removesuffix(ending)) if first.endswith(ending) else None


def stack_entries(record: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Entries of the stacks among the inputs of a resampling; empty where they are not recorded.

    They follow the table, in the order in which it names them.
    """
    entries: list[dict[str, Any]] = record.get("inputs", [])[1 : 1 + len(names)]
    alike = len(entries) == len(names) and all(
        Path(entry["path"]).name == Path(stack_file(name)).name
        for entry, name in zip(entries, names, strict=True)
    )
    return entries if alike else []


def require_same(entry: Mapping[str, Any], path: Path, folder: Path) -> None:
    """Refuse a file that is not the input that was recorded, by its content.

    Raises
    ------
    InputError
        It has another size or content.
    """
    if same_content(entry, path):
        return
    size = path.stat().st_size
    what = (
        f"{size:,} bytes instead of {entry['size']:,}"
        if size != entry.get("size", size)
        else "another content"
    )
    raise InputError(
        f"{path}: not the file that {folder} was made from ({what}; it was {entry['path']}); put "
        "that one back, or name its place: alphacryo4d relocate"
    )


def say_outside(folder: Path, paths: list[Path]) -> None:
    """Say that a project which was moved or copied reads what lies where it came from."""
    if paths:
        logger.info(
            "%s was moved or copied and still reads %s%s; alphacryo4d relocate names another place",
            folder,
            paths[0],
            f" and {len(paths) - 1} more" if len(paths) > 1 else "",
        )
