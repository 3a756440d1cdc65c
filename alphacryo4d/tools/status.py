"""The state of a project: its stages, its folds, its jobs on the cluster."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from alphacryo4d.cluster.slurm import queue, read_jobs
from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import read_job

STAGES = (files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE, files.VOTE)


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def job_state(folder: Path) -> dict[str, Any]:
    """Status, times and results of the work in one folder.

    A job whose process is gone from this machine is ``killed``, whatever its record says.
    """
    record = read_job(folder)
    if record is None:
        return {"status": "not started"}
    status = str(record.get("status", "unknown"))
    here = record.get("host") == socket.gethostname()
    if status == "running" and here and not _process_lives(int(record.get("pid", 0))):
        status = "killed"
    kept = ("started", "ended", "seconds", "host", "results")
    return {"status": status, **{name: record[name] for name in kept if name in record}}


def fold_states(resample: Path) -> dict[str, Any]:
    """How many folds are done, and which are not."""
    tables = sorted(resample.glob("batch*/union*.star"))
    unfinished = []
    for table in tables:
        folder = table.parent / f"u{table.stem.removeprefix('union')}"
        status = job_state(folder)["status"]
        if status != "done":
            unfinished.append({"fold": str(folder.relative_to(resample)), "status": status})
    return {"done": len(tables) - len(unfinished), "of": len(tables), "unfinished": unfinished}


def cluster_states(project: Path) -> list[dict[str, Any]]:
    """Jobs of the last submission with what Slurm says of them.

    Slurm forgets jobs that are over; these are ``gone``, and the stages tell what became of them.
    """
    jobs = read_jobs(project)
    known = queue(entry["job"] for entry in jobs)
    told = []
    for entry in jobs:
        mine = [job for job in known or [] if job.job.split("_")[0] == entry["job"]]
        states: dict[str, int] = {}
        for job in mine:
            states[job.state] = states.get(job.state, 0) + 1
        reasons = sorted({job.reason for job in mine if job.state == "PENDING"})
        unknown = "unknown" if known is None else "gone"
        told.append({**entry, "states": states or {unknown: 1}, "reasons": reasons})
    return told


def project_status(project: Path) -> dict[str, Any]:
    """Everything that is known about a project folder.

    Raises
    ------
    InputError
        It is no project.
    """
    if not project.is_dir():
        raise InputError(f"{project}: no such folder")
    extra = [files.RECLASSIFY] if (project / files.RECLASSIFY).is_dir() else []
    stages = [{"stage": name, **job_state(project / name)} for name in (*STAGES, *extra)]
    jobs = cluster_states(project)
    if not jobs and all(stage["status"] == "not started" for stage in stages):
        raise InputError(
            f"{project}: no project folder (none of {', '.join(STAGES)} was started in it)"
        )
    return {
        "project": str(project),
        "run": job_state(project),
        "stages": stages,
        "folds": fold_states(project / files.RESAMPLE),
        "jobs": jobs,
    }


def format_status(told: dict[str, Any]) -> str:
    """Status as lines for a terminal."""
    lines = []
    for stage in told["stages"]:
        line = f"{stage['stage']:<12} {stage['status']}"
        if "seconds" in stage:
            line += f", {stage['seconds']:.0f} s"
        if stage["stage"] == files.RESAMPLE and told["folds"]["of"]:
            line += f", {told['folds']['done']} of {told['folds']['of']} folds classified"
        lines.append(line)
    lines += [f"  {fold['fold']}: {fold['status']}" for fold in told["folds"]["unfinished"]]
    for job in told["jobs"]:
        states = ", ".join(f"{count} {state.lower()}" for state, count in job["states"].items())
        reasons = f" ({', '.join(job['reasons'])})" if job["reasons"] else ""
        lines.append(f"job {job['job']} {job['name']:<12} {states}{reasons}")
    return "\n".join(lines)
