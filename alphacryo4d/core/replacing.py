"""New results beside the old ones: a hidden folder that takes their place when it is whole.

``project/landscape`` stays as it is while ``project/.landscape.next`` is worked in. What still
stands is there as hard links. When the work is done its files move into ``landscape`` one by one,
``job.json`` last; a kill in between is made good by the next run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alphacryo4d.core.files import JOB_JSON, TEMPORARY, write_text
from alphacryo4d.core.identity import absolute_path
from alphacryo4d.core.lock import LOCK
from alphacryo4d.core.record import read_job


def next_folder(folder: Path) -> Path:
    """Hidden folder in which the successor of a folder's results is made."""
    return folder.parent / f".{folder.name}.next"


def prepare_successor(
    folder: Path, record: dict[str, Any], sources: Iterable[tuple[Path, Mapping[str, list[str]]]]
) -> Path:
    """Make the successor's folder with the steps that stand.

    Parameters
    ----------
    folder : Path
        Folder whose results are to be replaced.
    record : dict
        Record of the new work; gets the steps and their outputs.
    sources : iterable of (Path, steps)
        Folders and the steps that stand in them; the first that has a step gives it.
    """
    successor = next_folder(folder)
    made = successor.with_name(f"{successor.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for source, steps in sources:
        for step, outputs in steps.items():
            if step in record["steps"]:
                continue
            for name in outputs:
                _link(source / name, made / name)
            record["steps"][step] = list(outputs)
            record["outputs"] += [name for name in outputs if name not in record["outputs"]]
    write_text(made / JOB_JSON, json.dumps(record, indent=2) + "\n")
    shutil.rmtree(successor, ignore_errors=True)
    made.rename(successor)
    return successor


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def take_over(folder: Path, remnants: Iterable[str] = ()) -> bool:
    """Put a successor that is whole in the place of the old results; whether there was one."""
    successor = next_folder(folder)
    record = read_job(successor)
    if record is None or record.get("status") != "done":
        return False
    old = read_job(folder)
    if old is not None and old.get("status") != "being replaced":
        old["status"] = "being replaced"
        write_text(folder / JOB_JSON, json.dumps(old, indent=2) + "\n")
    for place in (folder, successor):
        remove_remnants(place, remnants)
    kept = set(record["outputs"])
    remove_files(folder, [name for name in (old or {}).get("outputs", []) if name not in kept])
    for path in sorted(successor.rglob("*")):
        name = path.relative_to(successor)
        if path.is_dir() or str(name) == JOB_JSON or path.name == LOCK:
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        path.replace(folder / name)
    record["folder"] = str(absolute_path(folder))
    write_text(folder / JOB_JSON, json.dumps(record, indent=2) + "\n")
    shutil.rmtree(successor, ignore_errors=True)
    return True


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files below a folder, and folders that are empty then; never what lies elsewhere."""
    root, parents = folder.resolve(), set()
    for name in names:
        path = folder / name
        if root in path.resolve().parents and path.is_file():
            path.unlink()
            parents |= {p for p in path.parents if p != folder and folder in p.parents}
    for parent in sorted(parents, key=lambda p: len(p.parts), reverse=True):
        if {p.name for p in parent.iterdir()} <= {LOCK}:
            shutil.rmtree(parent)


def remove_remnants(folder: Path, patterns: Iterable[str] = ()) -> None:
    """Remove what a killed run was writing, in subfolders without a job of their own too."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and not (path / JOB_JSON).exists():
            remove_remnants(path)
        elif path.name.startswith(TEMPORARY) and path.is_file():
            path.unlink()
