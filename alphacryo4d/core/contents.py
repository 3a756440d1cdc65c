"""What finished files hold: put on record when they are written, compared before they are used.

A file that was truncated, overwritten or swapped after its stage had ended is made again by the
stage that wrote it, and refused by the stages that read it: nothing is computed from it in silence.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import JOB_JSON
from alphacryo4d.core.identity import sampled_digest
from alphacryo4d.core.record import read_job

logger = logging.getLogger(__name__)

CONTENTS = "contents"
"""Entry of ``job.json``: size, time and digest of every output."""

_EDITED_BY_PEOPLE = frozenset({".star", ".csv", ".txt", ".json", ".toml"})

_WHOLE = 1 << 20
"""Files above 1 MiB are read at 32 places: outputs are many."""


def record_contents(folder: Path, record: dict[str, Any], names: Iterable[str]) -> None:
    """Put the contents of outputs on record; records of other work are not compared.

    Parameters
    ----------
    folder : Path
        Folder in which the outputs lie.
    record : dict
        Content of its ``job.json``.
    names : iterable of str
        Outputs, relative to the folder.
    """
    known = record.setdefault(CONTENTS, {})
    for name in names:
        path = folder / name
        if path.name == JOB_JSON or not path.is_file():
            continue
        state = path.stat()
        if known.get(name, [])[:2] != [state.st_size, state.st_mtime]:
            known[name] = [state.st_size, state.st_mtime, sampled_digest(path, _WHOLE)]
    for name in set(known) - set(record["outputs"]):
        del known[name]


def is_intact(
    folder: Path, record: Mapping[str, Any], name: str, *, read_again: bool = False
) -> bool:
    """Whether an output is there and holds what finished work wrote, by its record.

    A file of the size and time on record is taken to hold it, unless it shall be read again: what
    a disk or a copy that keeps times has damaged shows nowhere else. A record of other work among
    the outputs must be one that can be read.
    """
    path = folder / name
    known = record.get(CONTENTS, {}).get(name) if record.get("status") == "done" else None
    if known is None:
        return path.exists() and (path.name != JOB_JSON or _is_record(path))
    if not path.is_file():  # gone, or a folder in its place
        return False
    state = path.stat()
    if state.st_size != known[0]:
        return False
    if state.st_mtime == known[1] and not read_again:
        return True
    return bool(sampled_digest(path, _WHOLE) == known[2])


def _is_record(path: Path) -> bool:
    try:
        return read_job(path.parent) is not None
    except InputError:
        return False


def changed_outputs(folder: Path, record: Mapping[str, Any] | None = None) -> list[Path]:
    """Outputs of finished work that are gone, or hold something else than was written.

    Parameters
    ----------
    folder : Path
    record : mapping, optional
        Its record, where it was read already.
    """
    record = _record_of(folder) if record is None else record
    return [
        folder / name for name in record.get(CONTENTS, {}) if not is_intact(folder, record, name)
    ]


def warn_changed(project: Path) -> None:
    """Name the files of a project, in all its folders, that are not as they were written."""
    for place in sorted(project.glob(f"*/{JOB_JSON}")):
        changed = changed_outputs(place.parent)
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            logger.warning(
                "%s%s: not as it was written; the command that made %s makes it again",
                changed[0],
                more,
                place.parent.name,
            )


def set_aside(folder: Path, record: Mapping[str, Any]) -> None:
    """Rename outputs that do not hold what was written to ``NAME.changed``."""
    records = [name for name in record.get("outputs", []) if Path(name).name == JOB_JSON]
    for name in [*record.get(CONTENTS, {}), *records]:
        path = folder / name
        if path.exists() and not is_intact(folder, record, name):
            path.replace(path.with_name(f"{path.name}.changed"))
            logger.warning("%s: not as it was written; kept as %s.changed", path, path.name)


def require_intact(paths: Iterable[Path]) -> None:
    """Refuse arrays and maps that do not hold what the stage of their folder wrote.

    A table that differs is named and taken: people edit tables.

    Raises
    ------
    InputError
        With the command that makes the file again.
    """
    records: dict[Path, dict[str, Any]] = {}
    for path in paths:
        folder = path.parent
        if folder not in records:
            records[folder] = _record_of(folder)
        record = records[folder]
        if not path.is_file() or is_intact(folder, record, path.name, read_again=True):
            continue
        if path.suffix in _EDITED_BY_PEOPLE:
            logger.warning(
                "%s: was edited after `%s` wrote it; it is taken as it is",
                path,
                record.get("stage"),
            )
        else:
            raise InputError(
                f"{path}: holds something else than `{record.get('stage')}` wrote there; its "
                f"command makes it again: {record.get('command')}"
            )


def _record_of(folder: Path) -> dict[str, Any]:
    """Record of a folder; empty without one.

    A ``job.json`` of another program (cryoSPARC writes one into every job) knows no contents.
    """
    try:
        record = json.loads((folder / JOB_JSON).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and _is_contents(record.get(CONTENTS)) else {}


def _is_contents(value: Any) -> bool:
    """Whether an entry of ``job.json`` is what :func:`record_contents` puts there."""
    return isinstance(value, dict) and all(
        isinstance(one, list)
        and len(one) == 3
        and all(isinstance(number, (int, float)) for number in one[:2])
        and isinstance(one[2], str)
        for one in value.values()
    )
