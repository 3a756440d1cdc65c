"""``job.json``: what was done in a folder, from which inputs, with which options."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import sys
import time
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
from alphacryo4d.core.renamed import with_present_names
from alphacryo4d.core.settings import IMAGES_FROM
from alphacryo4d.core.steps import Work


def read_job(folder: Path) -> dict[str, Any] | None:
    """Content of a folder's ``job.json``, or None where there is none."""
    path = folder / JOB_JSON
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); remove it to start again") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: not a record of work; remove it to start again")
    if isinstance(record.get("options"), dict):
        record["options"] = with_present_names(record["options"])
    return record


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
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
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
    found = []
    for entry in record.get("inputs", []):
        path = located(entry, folder, record.get("folder"))
        if not path.exists():
            found.append(f"{path} is gone")
        elif path.is_file() and "sha256" in entry:
            now = path.stat()
            if (now.st_size, now.st_mtime) == (entry.get("size"), entry.get("mtime")):
                continue
            if content_digest(path) != entry["sha256"]:
                found.append(f"{path} changed")
    return found
