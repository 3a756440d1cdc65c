"""Submitting to Slurm and asking it what became of jobs."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.cluster.script import BatchJob, array_specification, render_script
from alphacryo4d.core.errors import InputError, ProgramError
from alphacryo4d.core.files import write_text
from alphacryo4d.core.program import extra_arguments, find_program, program_output

logger = logging.getLogger(__name__)

JOBS_JSON = "jobs.json"
"""List of the jobs that were submitted last, in the folder of scripts."""


@dataclass(frozen=True)
class QueuedJob:
    """A job, or an element of an array, that Slurm still knows."""

    job: str
    state: str
    reason: str


def submit_command(job: BatchJob, options: ClusterOptions, *, dependency: str = "") -> list[str]:
    """Arguments of ``sbatch``; array and dependency stand here, so that any template serves."""
    command = shlex.split(
        options.qsub_command or os.environ.get("RELION_QSUB_COMMAND", "") or "sbatch"
    )
    command += ["--parsable", "--requeue", f"--chdir={job.working_folder}"]
    if job.array:
        command.append(f"--array={array_specification(job.array, options.array_limit)}")
    if dependency:
        command += [f"--dependency={dependency}", "--kill-on-invalid-dep=yes"]
    return [*command, *extra_arguments(options.sbatch_args), str(job.script)]


def submit(job: BatchJob, options: ClusterOptions, *, dependency: str = "") -> str:
    """Write the script of a job and submit it.

    Returns
    -------
    str
        Id of the job.

    Raises
    ------
    MissingProgramError
        There is no ``sbatch``.
    ProgramError
        It refuses the job, or prints no id.
    """
    command = submit_command(job, options, dependency=dependency)
    find_program(command[0], hint="log in where jobs can be submitted, or leave out --submit")
    write_text(job.script, render_script(job, options))
    text = program_output(command)
    match = re.search(r"^(\d+)(;\S+)?$", text, flags=re.MULTILINE) or re.search(
        r"batch job (\d+)", text
    )
    if match is None:
        raise ProgramError(f"{shlex.join(command)}: prints no job id: {text.strip()[:200]!r}")
    logger.info("submitted %s as job %s", job.name, match[1])
    return match[1]


def queue(ids: Iterable[str]) -> list[QueuedJob] | None:
    """Jobs of these ids that wait or run; None where Slurm cannot be asked."""
    wanted = {str(job) for job in ids}
    if not wanted or shutil.which("squeue") is None:
        return None
    try:
        text = program_output(
            ["squeue", "--noheader", "--array", "--format=%A|%F|%K|%T|%r", "--states=all"]
        )
    except ProgramError as error:
        logger.info("%s", error)
        return None
    jobs = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) == 5 and parts[1] in wanted:
            name = parts[1] if parts[2] == "N/A" else f"{parts[1]}_{parts[2]}"
            jobs.append(QueuedJob(name, parts[3], parts[4]))
    return jobs


def script_texts(jobs: Iterable[tuple[BatchJob, str]], options: ClusterOptions) -> str:
    """Scripts and their submission as text for ``--dry-run``."""
    texts = []
    for job, dependency in jobs:
        command = submit_command(job, options, dependency=dependency)
        texts.append(
            f"# {job.script}\n{render_script(job, options).rstrip()}\n\n# {shlex.join(command)}\n"
        )
    return "\n".join(texts)


def folder_of(project: Path) -> Path:
    """Folder of a project's scripts, logs and list of jobs."""
    return project / "cluster"


def read_jobs(project: Path) -> list[dict[str, Any]]:
    """Jobs that were submitted last for a project: name, job id, array."""
    path = folder_of(project) / JOBS_JSON
    if not path.is_file():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["jobs"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a list of jobs ({error}); remove it") from error
