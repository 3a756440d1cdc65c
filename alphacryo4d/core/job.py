"""One output folder: its lock, its ``job.json``, and the rule of what is done again.

The rule (promises 1 and 2 of the contract): the same command on the same finished inputs does
nothing; unfinished work goes on; where options or inputs changed, the steps that depend on them are
done again beside the old results, which stay until the new ones are whole. ``job.json`` says
``done`` only after every output is in place.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from alphacryo4d.core.contents import record_contents, require_intact, set_aside
from alphacryo4d.core.errors import InterruptedRun, TimeLimitReached
from alphacryo4d.core.files import JOB_JSON, TEMPORARY, TRIED, make_folder, write_text
from alphacryo4d.core.identity import plain
from alphacryo4d.core.lock import locked
from alphacryo4d.core.memory import peak_memory_gb
from alphacryo4d.core.plan import GO_ON, REDO, UNCHANGED, Plan, make_plan
from alphacryo4d.core.record import (
    new_record,
    read_job,
    recorded_inputs,
    require_unchanged,
)
from alphacryo4d.core.replacing import (
    next_folder,
    prepare_successor,
    remove_files,
    remove_remnants,
    take_over,
)
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.steps import Step, Work, changes_between, standing_steps
from alphacryo4d.core.stopping import asked_to_end

__all__ = [
    "Job",
    "Step",
    "Work",
    "foreseen_work",
    "plain",
    "plan_work",
    "read_job",
    "recorded_inputs",
    "start_job",
    "start_record",
    "start_work",
    "working_folder",
]

logger = logging.getLogger(__name__)

SAID = {REDO: logging.INFO, GO_ON: logging.INFO}
"""Plans that a user is told."""


class Job:
    """The record of one stage's work in one folder; made by :func:`start_work`.

    Attributes
    ----------
    folder : Path
        Where this run reads and writes: a hidden folder while old results are replaced.
    target : Path
        Where the results lie afterwards.
    record : dict
        What ``job.json`` holds.
    finished : bool
        Nothing is to be done.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], *, finished: bool, target: Path | None = None
    ) -> None:
        self.folder = folder
        self.target = target or folder
        self.record = record
        self.finished = finished

    @property
    def outputs(self) -> list[Path]:
        """Files that the job has written, where they lie when it is done."""
        return [self.target / name for name in self.record["outputs"]]

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


def plan_work(folder: Path, work: Work) -> Plan:
    """What :func:`start_work` would do in a folder; nothing is written."""
    old = read_job(folder)
    return make_plan(folder, work, old, new_record(folder, work, old))


def foreseen_work(folder: Path, work: Work) -> Plan:
    """The same, where a try beside the results, which had none, is not made again."""
    plan, beside = plan_work(folder, work), next_folder(folder)
    tried = plan.kind == REDO and TRIED in (read_job(beside) or {}).get("results", {})
    return Plan(UNCHANGED) if tried and working_folder(folder, work) == beside else plan


def working_folder(folder: Path, work: Work) -> Path:
    """Folder in which :func:`start_work` does a piece of work: the hidden one beside, or this."""
    new = new_record(folder, work, read_job(folder))
    for place in (folder, next_folder(folder)):
        record = read_job(place)
        same = record is not None and record.get("stage") == work.stage
        if same and not changes_between(record or {}, new, work):
            return place
    return folder


def start_job(
    folder: Path,
    *,
    stage: str,
    options: Mapping[str, Any],
    inputs: Iterable[Path],
    seed: int | None = None,
    flags: RunFlags = RunFlags(),
    in_place: bool = False,
    remnants: Iterable[str] = (),
) -> AbstractContextManager[Job]:
    """Own an output folder for work of which every step depends on everything.

    Parameters
    ----------
    folder, flags, in_place
        As for :func:`start_work`.
    stage, options, inputs, seed, remnants
        As for :class:`alphacryo4d.core.steps.Work`.

    Returns
    -------
    context manager of Job
    """
    work = Work(stage, options, tuple(inputs), seed, remnants=tuple(remnants))
    return start_work(folder, work, flags=flags, in_place=in_place)


@contextmanager
def start_work(
    folder: Path,
    work: Work,
    *,
    flags: RunFlags = RunFlags(),
    in_place: bool = False,
) -> Iterator[Job]:
    """Own an output folder for one piece of work.

    Parameters
    ----------
    folder : Path
        Output folder, made where it is missing.
    work : Work
        What decides the results.
    flags : RunFlags, optional
    in_place : bool
        Results that are done again are removed first: for programs whose files name their folder.

    Yields
    ------
    Job
        With ``finished`` true where nothing is to be done.

    Raises
    ------
    UsageError, InputError
        The folder holds results of another stage, or is in use; an input is missing.
    """
    folder = Path(folder)
    new = new_record(folder, work, read_job(folder))
    plan = make_plan(folder, work, read_job(folder), new, overwrite=flags.overwrite)
    if plan.kind == UNCHANGED and not (next_folder(folder) / JOB_JSON).is_file():
        logger.info("%s: already done, nothing to do", folder)
        yield Job(folder, read_job(folder) or new, finished=True)
        return
    make_folder(folder)
    with locked(folder):
        take_over(folder, work.remnants)
        old = read_job(folder)
        set_aside(folder, old or {})
        require_intact(Path(path) for path in work.inputs)
        plan = make_plan(folder, work, old, new, overwrite=flags.overwrite)
        if plan.kind == UNCHANGED:
            logger.info("%s: already done, nothing to do", folder)
            yield Job(folder, old or new, finished=True)
            return
        logger.log(SAID.get(plan.kind, logging.DEBUG), "%s: %s", folder.name, plan.text())
        if plan.kind == REDO and not in_place:
            yield from _run(_successor(folder, work, new, plan), work)
            return
        remove_remnants(folder, () if plan.kind == GO_ON else work.remnants)
        if flags.overwrite or plan.kind == REDO:
            remove_files(folder, (old or {}).get("outputs", []))
            shutil.rmtree(next_folder(folder), ignore_errors=True)
        elif old is not None and plan.kind == GO_ON:
            new |= {name: old[name] for name in ("steps", "outputs", "results") if name in old}
        yield from _run(Job(folder, new, finished=False), work)


@contextmanager
def start_record(folder: Path, work: Work) -> Iterator[Job]:
    """Own a folder whose results belong to jobs of their own inside it: a lock and a record."""
    new = new_record(folder, work, read_job(folder))
    make_folder(folder)
    with locked(folder):
        for path in folder.glob(f"{TEMPORARY}{Path(JOB_JSON).stem}.*"):  # of a run that was killed
            path.unlink(missing_ok=True)
        yield from _run(Job(folder, new, finished=False), work, seal=False)


def _successor(folder: Path, work: Work, new: dict[str, Any], plan: Plan) -> Job:
    """Job in the hidden folder beside; what was begun there goes on where it is the same work."""
    place = next_folder(folder)
    begun = read_job(place)
    sources = [(folder, plan.standing)]
    if begun is not None and begun.get("stage") == work.stage:
        changes = changes_between(begun, new, work)
        standing = standing_steps(begun, changes, work, lambda name: (place / name).exists())
        if not changes:
            remove_remnants(place)
            new |= {name: begun[name] for name in ("outputs", "results")} | {"steps": standing}
            return Job(place, new, finished=False, target=folder)
        sources.insert(0, (place, standing))
    new["results"] = dict((read_job(folder) or {}).get("results", {}))
    return Job(prepare_successor(folder, new, sources), new, finished=False, target=folder)


def _run(job: Job, work: Work, *, seal: bool = True) -> Iterator[Job]:
    begun = time.monotonic()
    status = "failed"
    try:
        job.save()  # in here, so that a signal meanwhile is put on record too
        yield job
        require_unchanged(job.record, job.target)
        status = "done"
    except (KeyboardInterrupt, InterruptedRun):
        status = "interrupted"
        raise
    except TimeLimitReached:
        status = "stopped"
        raise
    except Exception:
        if asked_to_end():  # a library has made an error of the signal
            status = "interrupted"
        raise
    finally:
        job.record["status"] = status
        job.record["seconds"] = round(time.monotonic() - begun, 1)
        job.record["peak_memory_gb"] = peak_memory_gb()
        job.record["ended"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        if status == "done":
            if seal:
                record_contents(job.folder, job.record, job.record["outputs"])
            job.save()
            if job.folder != job.target:
                take_over(job.target, work.remnants)
        else:
            with suppress(Exception):
                job.save()
