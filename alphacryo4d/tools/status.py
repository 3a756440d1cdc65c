"""The state of a project: stages that are done, stale or missing, states, folds, cluster jobs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from alphacryo4d.cluster.slurm import queue, read_jobs
from alphacryo4d.core import files
from alphacryo4d.core.contents import changed_outputs
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import read_job
from alphacryo4d.core.record import process_lives, stale_inputs
from alphacryo4d.core.words import plural
from alphacryo4d.report.project_files import read_json, read_table, state_sets
from alphacryo4d.tools.next_step import (
    MISSING,
    STAGES,
    STALE,
    input_place,
    next_step,
    planned_stages,
)


def job_state(folder: Path) -> dict[str, Any]:
    """Status, times and results of the work in one folder.

    A job whose process is gone from this machine is ``killed``, whatever its record says; one that
    is done is ``stale`` where an input changed since, or is gone, and ``stale`` says which.
    """
    record = read_job(folder)
    if record is None:
        return {"status": MISSING}
    status = str(record.get("status", "unknown"))
    here = record.get("host") == socket.gethostname()
    if status == "running" and here and not process_lives(record):
        status = "killed"
    kept = ("started", "ended", "seconds", "host", "results")
    told = {"status": status, **{name: record[name] for name in kept if name in record}}
    changed = stale_inputs(folder, record) if status == "done" else []
    changed += [f"{path.name} is not as it was written" for path in changed_outputs(folder, record)]
    return told | ({"status": STALE, "stale": changed} if changed else {})


def run_state(project: Path) -> dict[str, Any]:
    """Status of the run of all stages.

    It runs also between the refinement of its poses and its first stage, where it has no record.
    """
    run, first = job_state(project), read_job(project / files.CONSENSUS) or {}
    of_run = str(first.get("command", "")).startswith("alphacryo4d run ")
    begins = of_run and read_job(project / files.RESAMPLE) is None
    here = first.get("host") == socket.gethostname() and "pid" in first
    alive = begins and here and process_lives(first)
    return run | ({"status": "running"} if alive else {})


def stage_names(project: Path) -> list[str]:
    """Stages, what a run adds to them, and selections, in order; the particles last."""
    planned = planned_stages(project)
    last = [name for name in planned if name == files.PARTICLE_LANDSCAPE]
    names = [name for name in planned if name not in last]
    more = [one.folder.name for one in state_sets(project) if one.folder.name not in names]
    return [*names, *more, *last]


def mark_stale(stages: list[dict[str, Any]]) -> None:
    """Call stages stale that rest on a stale one; a selection rests on the votes.

    Refined poses stay as they are where the table that they were refined from is gone.
    """
    for stage in stages:
        gone = all(text.endswith(" is gone") for text in stage.get("stale", []))
        if stage["stage"] == files.CONSENSUS and stage["status"] == STALE and gone:
            stage["status"] = "done"
    of_votes = [stage["stage"] for stage in stages].index(files.VOTE)
    for number, stage in enumerate(stages):
        before = stages[: min(number, of_votes + 1)]
        first = next((one["stage"] for one in before if one["status"] == STALE), None)
        if stage["status"] == "done" and first is not None:
            stage |= {"status": STALE, "stale": [f"rests on {first}"]}


def states_of(folder: Path) -> dict[str, int]:
    """Number of states in a folder, how many are supported where that was tested, and junk.

    States of junk are counted apart, and so are particles that were voted out as junk.
    """
    report = read_json(folder / "report.json")
    rows = [one for one in report.get("per_state", []) if one.get("particles")]
    junk = sum(bool(one.get("junk")) for one in rows)
    rows = [one for one in rows if not one.get("junk")]
    if rows:
        tested = [one["supported"] for one in rows if one.get("supported") is not None]
        told = {"states": len(rows)} | ({"supported": sum(map(bool, tested))} if tested else {})
        counts = {"junk_states": junk, "no_signal": int(report.get("no_signal", 0))}
        return told | {name: count for name, count in counts.items() if count}
    table = read_table(folder / files.STATES_STAR, "states")
    return {"states": len(table["ac4dState"])} if "ac4dState" in table else {}


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
    stages = [{"stage": name, **job_state(project / name)} for name in stage_names(project)]
    mark_stale(stages)
    for stage in stages:
        stage |= states_of(project / stage["stage"])
    jobs, run = cluster_states(project), run_state(project)
    if not jobs and all(stage["status"] == MISSING for stage in stages):
        raise InputError(
            f"{project}: no project folder (none of {', '.join(STAGES)} was started in it)"
        )
    return {
        "project": str(project),
        "input": input_place(project),
        "next": next_step(project, run["status"], stages),
        "run": run,
        "stages": stages,
        "folds": fold_states(project / files.RESAMPLE),
        "jobs": jobs,
    }


def format_status(told: dict[str, Any]) -> str:
    """Status as lines for a terminal."""
    lines = [f"input        {told['input']}"] if told["input"] else []
    for stage in told["stages"]:
        line = f"{stage['stage']:<12} {stage['status']}"
        noted = stage.get("results", {})
        if "components" in noted:
            count = noted["components"]
            line += f", {plural(count, 'component')}" if count else ", no structure"
            if noted.get("density_states"):
                line += f", {plural(noted['density_states'], 'state')} of the density"
        if files.NO_RESULT in noted:
            line += f", no result: {noted[files.NO_RESULT]}"
        if stage.get("states"):
            line += f", {plural(stage['states'], 'state')}"
            if stage.get("supported") is not None:
                line += f", {stage['supported']} supported"
            if stage.get("junk_states"):
                line += f", {stage['junk_states']} of junk beside them"
            if stage.get("no_signal"):
                line += f", {plural(stage['no_signal'], 'particle')} voted out as junk"
        if stage.get("stale"):
            line += f" ({', '.join(stage['stale'])})"
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
    return "\n".join([*lines, *([f"next         {told['next']}"] if told["next"] else [])])
