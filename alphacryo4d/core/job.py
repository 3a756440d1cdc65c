"""One output folder: its lock, its ``job.json``, and the rule of what is done again.

The rule (promises 1 and 2 of the contract): the same command on the same finished inputs does
nothing; other options need ``--overwrite``; unfinished work needs ``--continue``, which skips the
steps that are complete. ``job.json`` says ``done`` only after every output is in place.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alphacryo4d import __version__
from alphacryo4d.core.errors import InputError, InterruptedRun, TimeLimitReached, UsageError
from alphacryo4d.core.files import JOB_JSON, TEMPORARY, file_digest, write_text
from alphacryo4d.core.renamed import with_present_names

logger = logging.getLogger(__name__)

_LARGE_FILE = 64 << 20
_STACKS = {".mrcs", ".mrc", ".st"}


class Deadline:
    """Time at which a run must stop cleanly (``--max-time``)."""

    def __init__(self, hours: float | None = None) -> None:
        self.limit = None if hours is None else time.monotonic() + 3600 * hours

    def check(self) -> None:
        """Raise ``TimeLimitReached`` when the time is over."""
        if self.limit is not None and time.monotonic() >= self.limit:
            raise TimeLimitReached("--max-time is over; go on with --continue")


def plain(value: Any) -> Any:
    """Turn options (dataclasses, paths, tuples, numpy scalars) into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return value.item()
    return value


def describe_input(path: Path) -> dict[str, Any]:
    """Path, size and SHA-256 of an input; size and time of change for stacks and large arrays."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    state = path.stat()
    entry: dict[str, Any] = {"path": str(path.absolute()), "size": state.st_size}
    if path.is_dir():
        entry.pop("size")
    elif path.suffix in _STACKS or (path.suffix == ".npy" and state.st_size > _LARGE_FILE):
        entry["mtime"] = state.st_mtime
    else:
        entry["sha256"] = file_digest(path)
    return entry


class Job:
    """The record of one stage's work in one folder; made by :func:`start_job`."""

    def __init__(self, folder: Path, record: dict[str, Any], *, finished: bool) -> None:
        self.folder = folder
        self.record = record
        self.finished = finished

    @property
    def outputs(self) -> list[Path]:
        """Files that the job has written, absolute."""
        return [self.folder / name for name in self.record["outputs"]]

    def completed(self, step: str) -> bool:
        """Whether a step was completed (now or before a crash) and its outputs are there."""
        names = self.record["steps"].get(step)
        return names is not None and all((self.folder / name).exists() for name in names)

    def complete(self, step: str, outputs: Iterable[Path] = ()) -> None:
        """Record that a step is done and its outputs are in place."""
        names = [os.path.relpath(path, self.folder) for path in outputs]
        self.record["steps"][step] = names
        self.add_outputs(self.folder / name for name in names)
        self.save()

    def add_outputs(self, paths: Iterable[Path]) -> None:
        """Name files as outputs of this job."""
        for path in paths:
            name = os.path.relpath(path, self.folder)
            if name not in self.record["outputs"]:
                self.record["outputs"].append(name)

    def note(self, **values: Any) -> None:
        """Add results worth keeping (counts, choices made) to ``job.json``."""
        self.record["results"].update(plain(values))

    def save(self) -> None:
        """Write ``job.json``."""
        write_text(self.folder / JOB_JSON, json.dumps(self.record, indent=2) + "\n")


def read_job(folder: Path) -> dict[str, Any] | None:
    """Content of a folder's ``job.json``, or None where there is none."""
    path = folder / JOB_JSON
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); remove it to start again") from error
    if isinstance(record.get("options"), dict):
        record["options"] = with_present_names(record["options"])
    return record


def _new_record(
    stage: str, options: Mapping[str, Any], inputs: Iterable[Path], seed: int | None
) -> dict[str, Any]:
    return {
        "stage": stage,
        "status": "running",
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "version": __version__,
        "options": plain(options),
        "seed": seed,
        "inputs": [describe_input(Path(path)) for path in inputs],
        "image_root": str(Path.cwd()),
        "outputs": [],
        "steps": {},
        "results": {},
        "programs": {"python": platform.python_version()},
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What makes two jobs different work: options, seed, inputs (not threads)."""
    found = [
        f"{name} was {old['options'].get(name)!r}, is {new['options'].get(name)!r}"
        for name in sorted({*old["options"], *new["options"]})
        if old["options"].get(name) != new["options"].get(name)
    ]
    if old["seed"] != new["seed"]:
        found.append(f"seed was {old['seed']}, is {new['seed']}")
    if old["stage"] != new["stage"]:
        found.append(f"stage was {old['stage']}, is {new['stage']}")
    before = {entry["path"]: entry for entry in old["inputs"]}
    after = {entry["path"]: entry for entry in new["inputs"]}
    found += [f"input {path} changed" for path in after if before.get(path) != after[path]]
    found += [f"input {path} is no longer used" for path in before if path not in after]
    return found


def _remove_outputs(folder: Path, record: Mapping[str, Any]) -> None:
    root = folder.resolve()
    for name in record.get("outputs", []):
        path = folder / name
        if root in path.resolve().parents and path.is_file():
            path.unlink()


def _remove_remnants(folder: Path) -> None:
    """Remove what a killed run was writing, here and in subfolders without a job of their own."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and not (path / JOB_JSON).exists():
            _remove_remnants(path)
        elif path.name.startswith(TEMPORARY) and path.is_file():
            path.unlink()


@contextmanager
def start_job(
    folder: Path,
    *,
    stage: str,
    options: Mapping[str, Any],
    inputs: Iterable[Path],
    seed: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Iterator[Job]:
    """Own an output folder for one piece of work.

    Parameters
    ----------
    folder : Path
        Output folder, made where it is missing.
    stage : str
        Name of the work, such as ``resample``.
    options : mapping
        Everything that changes the result (dataclasses allowed), without threads or verbosity.
    inputs : iterable of Path
        Files that the result depends on.
    seed : int, optional
        Random seed.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.

    Yields
    ------
    Job
        With ``finished`` true where nothing is to be done.

    Raises
    ------
    UsageError
        The folder holds other or unfinished work and no flag says what to do, or is in use.
    """
    folder = Path(folder)
    new = _new_record(stage, options, inputs, seed)
    old = read_job(folder)
    if old is not None and not overwrite:
        differences = _differences(old, new)
        if differences:
            raise UsageError(
                f"{folder}: holds the results of other work ({'; '.join(differences[:3])}); "
                "take another --o, or --overwrite to replace them"
            )
        if old["status"] != "done" and not resume:
            raise UsageError(
                f"{folder}: holds unfinished work ({old['status']}); "
                "go on with --continue, or --overwrite to start again"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if old is not None and not overwrite and old["status"] == "done":
            missing = [name for name in old["outputs"] if not (folder / name).exists()]
            if missing and not resume:
                raise UsageError(f"{folder}: {missing[0]} is gone; --continue makes it again")
            if not missing:
                logger.info("%s: already done, nothing to do", folder)
                yield Job(folder, old, finished=True)
                return
        if old is not None:
            _remove_remnants(folder)
        if old is not None and overwrite:
            _remove_outputs(folder, old)
        elif old is not None:
            new["steps"], new["outputs"] = old["steps"], old["outputs"]
            new["results"] = old["results"]
        job = Job(folder, new, finished=False)
        yield from _run(job)


def _run(job: Job) -> Iterator[Job]:
    begun = time.monotonic()
    job.save()
    status = "failed"
    try:
        yield job
        status = "done"
    except (KeyboardInterrupt, InterruptedRun):
        status = "interrupted"
        raise
    except TimeLimitReached:
        status = "stopped"
        raise
    finally:
        job.record["status"] = status
        job.record["seconds"] = round(time.monotonic() - begun, 1)
        job.record["ended"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        if status == "done":
            job.save()
        else:
            with suppress(Exception):
                job.save()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / ".lock"
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"{folder}: another run is working in this folder") from error
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                path.unlink()
