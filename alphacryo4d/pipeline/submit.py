"""``alphacryo4d run --submit``: folds as a job array, stages chained by dependency.

Every job runs the same command line again with ``--only``: a fold of the array, or a stage. So a
run that was interrupted on the cluster can be continued on a workstation, and the other way round.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.cluster.script import BatchJob
from alphacryo4d.cluster.slurm import (
    JOBS_JSON,
    folder_of,
    queue,
    read_jobs,
    script_texts,
    submit,
)
from alphacryo4d.core import files
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.files import write_text
from alphacryo4d.core.program import refuse_unsafe_name
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.settings import IMAGES_FROM

logger = logging.getLogger(__name__)

FOLD = "fold"
PARTS = (FOLD, files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE, files.VOTE)
"""What ``--only`` takes; the last one also closes the record of the whole run."""
_LIVE = {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED"}


def array_index(environment: Mapping[str, str] | None = None) -> int:
    """Number of this element in its job array.

    Raises
    ------
    UsageError
        This is no element of an array.
    """
    values = os.environ if environment is None else environment
    text = values.get("SLURM_ARRAY_TASK_ID", "")
    if not text.isdecimal():
        raise UsageError(
            "--only fold is for elements of a job array (SLURM_ARRAY_TASK_ID is empty)"
        )
    return int(text)


def repeat_words(context: click.Context, *, leave_out: frozenset[str]) -> list[str]:
    """Command line that means the same as the one a click command was called with.

    Only what differs from the defaults is written, with absolute paths where paths are meant.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if not isinstance(parameter, click.Option) or name in leave_out:
            continue
        value = context.params.get(name)
        if value is None or value == parameter.get_default(context):
            continue
        flag = parameter.opts[0]
        if parameter.is_flag:
            words.append(flag if value else parameter.secondary_opts[0])
        elif parameter.nargs != 1 or parameter.multiple:
            for group in value if parameter.multiple else (value,):
                words += [flag, *(str(item) for item in group)]
        else:
            words += [flag, str(value)]
    images_from = os.environ.get(IMAGES_FROM)
    return [*words, "--images-from", images_from] if images_from else words


def plan_jobs(
    words: list[str], project: Path, folds: list[int], cluster: ClusterOptions, *, gpus: int
) -> list[BatchJob]:
    """Jobs of a run in order: folds, then the stages.

    Parameters
    ----------
    words : list of str
        Command line of the run without what belongs to the cluster.
    project : Path
        Project folder.
    folds : list of int
        Folds that are to be classified.
    cluster : ClusterOptions
        Cores, template and so on.
    gpus : int
        GPUs of the training.
    """
    start = (sys.executable, "-P", "-m", "alphacryo4d", *words, "--j", str(cluster.cores))
    common = BatchJob(
        name=FOLD,
        command=(),
        folder=folder_of(project.absolute()),
        working_folder=Path.cwd(),
        cores=cluster.cores,
    )
    jobs = [
        replace(
            common,
            name=part,
            command=(*start, "--only", part, "--continue"),
            gpus=gpus if part == files.DEEPFEATURE else 0,
        )
        for part in PARTS[1:]
    ]
    if folds:
        command = (*start, "--only", FOLD)
        jobs.insert(0, replace(common, command=command, array=tuple(folds)))
    return jobs


def submit_run(
    table: Path,
    project: Path,
    options: Any,
    cluster: ClusterOptions,
    *,
    seed: int,
    words: list[str],
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
    dry_run: bool = False,
) -> dict[str, str]:
    """Split the particles here, then submit the folds and the stages.

    Folds that fail are tried again as an array of their own, which does nothing for those that are
    done; the stages wait for one of the arrays to succeed whole.

    Parameters
    ----------
    table, project : Path
        Particle table and project folder.
    options : PipelineOptions
    cluster : ClusterOptions
        Template, cores and so on.
    seed : int
    words : list of str
        Command line of the run without its paths and without what belongs to the cluster.
    gpu : str, optional
        GPU ids of the training; their number is asked from the cluster.
    flags : RunFlags, optional
    dry_run : bool
        Show the scripts; nothing is submitted.

    Returns
    -------
    dict
        Job ids by name, in order.

    Raises
    ------
    UsageError
        Jobs of this project still wait or run.
    """
    refuse_unsafe_name(project, program="a batch script")
    words = [*words, "--i", str(table), "--o", str(project)]
    if not dry_run:
        _refuse_twice(project)
    folds = _folds(table, project, options, seed, flags, dry_run)
    gpus = len(gpu.replace(":", ",").split(",")) if gpu else 0
    jobs = plan_jobs(words, project, folds, cluster, gpus=gpus)
    if dry_run:
        shown = [
            (job, f"afterok:<{before.name}>") for before, job in zip(jobs, jobs[1:], strict=False)
        ]
        click.echo(script_texts([(jobs[0], ""), *shown], cluster))
        return {}
    submitted, entries = _submit_all(jobs, cluster)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    known = json.dumps({"submitted": stamp, "jobs": entries}, indent=1)
    write_text(folder_of(project) / JOBS_JSON, known + "\n")
    return submitted


def _submit_all(
    jobs: Sequence[BatchJob], cluster: ClusterOptions
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Submit jobs that wait for each other; ids by name, and what is kept of each."""
    submitted: dict[str, str] = {}
    entries: list[dict[str, Any]] = []
    wait = ""
    for job in jobs:
        attempts = [job]
        if job.array:
            attempts += [
                replace(job, name=f"{job.name}_retry{number}")
                for number in range(1, cluster.retries + 1)
            ]
        alternatives: list[str] = []
        for attempt in attempts:
            dependency = f"afternotok:{alternatives[-1]}" if alternatives else wait
            number = submit(attempt, cluster, dependency=dependency)
            alternatives.append(number)
            submitted[attempt.name] = number
            entries.append({"name": attempt.name, "job": number, "array": list(attempt.array)})
        wait = "?".join(f"afterok:{number}" for number in alternatives)
    return submitted, entries


def _folds(
    table: Path,
    project: Path,
    options: Any,
    seed: int,
    flags: RunFlags,
    dry_run: bool,
) -> list[int]:
    """Folds that are to be classified; they are split here, where faults show at once."""
    resample = options.resample
    if dry_run:
        from alphacryo4d.particles.open import open_table
        from alphacryo4d.resample.subsets import require_classes

        rows = open_table(table).rows
        batches = -(-rows // resample.batch_size)
        least = rows // batches
        in_fold = least - -(-least // (resample.folds + 1))
        require_classes(in_fold, options.classify.levels, resample.minimum_class_size)
        return list(range(batches * (resample.folds + 1)))
    from alphacryo4d.resample.elements_stage import prepare_folds
    from alphacryo4d.resample.plan_stage import ResamplePlan

    plan = ResamplePlan(resample, options.classify, options.relion, seed)
    return prepare_folds(table, project / files.RESAMPLE, plan, flags=flags)


def _refuse_twice(project: Path) -> None:
    known = queue(entry["job"] for entry in read_jobs(project))
    live = [job.job for job in known or [] if job.state in _LIVE]
    if live:
        raise UsageError(
            f"{project}: jobs {', '.join(live[:5])} of this project still wait or run; "
            "wait for them, or stop them with scancel"
        )
