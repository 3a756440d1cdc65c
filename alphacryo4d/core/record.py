"""``job.json``: what was done in a folder, from which inputs, with which options."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphacryo4d import __version__
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import JOB_JSON
from alphacryo4d.core.identity import (
    absolute_path,
    content_digest,
    describe_input,
    located,
    option_leaves,
    plain,
    same_content,
)
from alphacryo4d.core.reading import read_object
from alphacryo4d.core.renamed import with_present_names
from alphacryo4d.core.settings import IMAGES_FROM
from alphacryo4d.core.steps import Work

CHANGED = "changed while it was read"
"""In place of the digest of an input that changed while results were made of it."""


def read_job(folder: Path) -> dict[str, Any] | None:
    """Content of a folder's ``job.json``, or None where there is none."""
    path = folder / JOB_JSON
    if not path.is_file():
        return None
    record = read_object(path, "remove it to start again")
    wrong = next((name for name, fits in _FORMS.items() if not fits(record.get(name))), None)
    if wrong is not None:
        raise InputError(f"{path}: entry {wrong!r} is damaged; remove the file to start again")
    record = {name: value for name, value in record.items() if value is not None}
    if record.get("options"):
        record["options"] = with_present_names(record["options"])
    return record


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_input(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        return False
    texts = all(isinstance(value.get(name, ""), str) for name in ("near", "sha256", "given"))
    return texts and all(_number(value.get(name)) for name in ("size", "mtime"))


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_content(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and _number(value[0])
        and _number(value[1])
        and isinstance(value[2], str)
    )


def _inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _absent_or(kind: type, holds: Callable[[Any], bool] = bool) -> Callable[[Any], bool]:
    return lambda value: value is None or (isinstance(value, kind) and (not value or holds(value)))


_FORMS: dict[str, Callable[[Any], bool]] = {
    "stage": _absent_or(str),
    "status": _absent_or(str),
    "command": _absent_or(str),
    "host": _absent_or(str),
    "folder": _absent_or(str),
    "working_folder": _absent_or(str),
    "image_root": _absent_or(str),
    "image_root_near": _absent_or(str),
    "image_parts_left_out": _absent_or(int, lambda value: 0 <= value < 100),
    "pid": _absent_or(int, lambda value: 0 <= value < 1 << 31),
    "pid_started": _number,
    "seconds": _number,
    "seed": _number,
    "options": _absent_or(dict),
    "results": _absent_or(dict),
    "programs": _absent_or(dict),
    "inputs": _absent_or(list, lambda value: all(map(_is_input, value))),
    "outputs": _absent_or(list, _texts),
    "steps": _absent_or(
        dict, lambda value: all(_texts(o) and all(map(_inside, o)) for o in value.values())
    ),
    "contents": _absent_or(
        dict, lambda value: all(_is_content(o) and _inside(name) for name, o in value.items())
    ),
}
"""What entries of a record must look like; a record may have been edited or damaged."""


def process_start(pid: int) -> int | None:
    """When a process began, in ticks since this machine did; None where that cannot be told."""
    try:
        told = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(told.rpartition(b")")[2].split()[19])


def process_lives(record: dict[str, Any]) -> bool:
    """Whether the process of a record runs on this machine, and not another of the same number."""
    pid = int(record.get("pid", 0))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    began, now = record.get("pid_started"), process_start(pid)
    return began is None or now is None or began == now


def _program() -> str:
    """Name of the program that runs, also where it is called as ``python -m alphacryo4d``."""
    called = Path(sys.argv[0])
    return called.parent.name if called.name == "__main__.py" else called.name


def new_record(folder: Path, work: Work, old: dict[str, Any] | None) -> dict[str, Any]:
    """Record of work that begins; contents of inputs that did not change come from the old one."""
    options = plain(work.options)
    named = {value for value in option_leaves(options).values() if isinstance(value, str)}
    known = {}
    for entry in (old or {}).get("inputs", []):
        known[str(located(entry, folder, (old or {}).get("folder")).absolute())] = entry
    inputs = []
    for path in work.inputs:
        entry = describe_input(Path(path), folder, known)
        if str(path) in named:
            entry["given"] = str(path)
        inputs.append(entry)
    root = absolute_path(Path(os.environ.get(IMAGES_FROM) or "."))
    return {
        "stage": work.stage,
        "status": "running",
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "working_folder": str(Path.cwd()),
        "version": __version__,
        "options": options,
        "seed": work.seed,
        "folder": str(absolute_path(folder)),
        "inputs": inputs,
        "image_root": str(root),
        "image_root_near": os.path.relpath(root, absolute_path(folder)),
        "outputs": [],
        "steps": {},
        "results": {},
        "programs": {"python": platform.python_version()},
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": process_start(os.getpid()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def recorded_inputs(folder: Path) -> list[Path]:
    """Inputs of the work in a folder, where they are now; empty where nothing is recorded."""
    record = read_job(folder) or {}
    return [located(one, folder, record.get("folder")) for one in record.get("inputs", [])]


def recorded_image_root(folder: Path, table: Path) -> tuple[Path, int] | None:
    """Folder that relative image paths start from by a record, and parts of each to leave out.

    None where nothing is recorded, the record is of another table, or the folder is gone. Of a
    project that was moved or copied the folder that lies beside it comes before that of the
    original.
    """
    record = read_job(folder) or {}
    inputs = record.get("inputs", [])
    if "image_root" not in record or not inputs or not table.is_file():
        return None
    if not same_content(inputs[0], table):
        return None
    entry = {"path": record["image_root"]}
    if "image_root_near" in record:
        entry["near"] = record["image_root_near"]
    root = located(entry, folder, record.get("folder"))
    return (root, int(record.get("image_parts_left_out", 0))) if root.is_dir() else None


def stale_inputs(folder: Path, record: dict[str, Any]) -> list[str]:
    """Inputs of finished work that are not what they were, in words.

    An input of the same size and time is taken to be the same; else its content decides.
    """
    stale = []
    for entry in record.get("inputs", []):
        path = located(entry, folder, record.get("folder"))
        if not path.exists():
            stale.append(f"{path} is gone")
        elif path.is_file() and "sha256" in entry:
            now = path.stat()
            if (now.st_size, now.st_mtime) == (entry.get("size"), entry.get("mtime")):
                continue
            if content_digest(path) != entry["sha256"]:
                stale.append(f"{path} changed")
    return stale


def is_void(record: dict[str, Any]) -> bool:
    """Whether an input changed while results were made of it: nothing is taken from them."""
    return any(entry.get("sha256") == CHANGED for entry in record.get("inputs", []))


def require_unchanged(record: dict[str, Any], folder: Path) -> None:
    """Refuse results whose inputs changed while they were made.

    The record then says so of the input, so that nothing is taken from this work, whatever the
    input holds later.

    Raises
    ------
    InputError
        An input holds something else than when the work began.
    """
    changed = []
    for entry in record.get("inputs", []):
        path = located(entry, folder, record.get("folder"))
        if "sha256" in entry and path.is_file() and not same_content(entry, path):
            changed.append(str(path))
            entry |= {"mtime": None, "sha256": CHANGED}
    if changed:
        raise InputError(
            f"{', '.join(changed)}: changed while {folder.name} was made from it; give the same "
            "command once it is as it shall be, the work begins anew"
        )
