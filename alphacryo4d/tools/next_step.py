"""The command that goes on from where a project stands, as it was given."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.identity import absolute_path, located
from alphacryo4d.core.job import read_job
from alphacryo4d.report.ending import ending

MISSING, STALE, GONE = "missing", "stale", " (gone)"
STAGES = (files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE, files.VOTE)
_PROGRAM = "alphacryo4d"
_INPUT, _OUTPUT = ("--i", "--input"), ("--o", "--output")


def input_place(project: Path) -> str | None:
    """Where the particle table of a project is, or that it is gone; None before it was read.

    The table that was given, where its poses were found or refined first.
    """
    first = _first_input(project / files.RESAMPLE)
    if first is None or first.resolve() == _refined(project).resolve():
        first = _first_input(project / files.CONSENSUS) or first
    path = first or _first_input(project)
    if path is None:
        return None
    return str(path) if path.exists() else f"{path}{GONE}"


def _refined(project: Path) -> Path:
    """The table of a project with refined poses."""
    return project / files.CONSENSUS / files.PARTICLES_STAR


def _first_input(folder: Path) -> Path | None:
    record = read_job(folder) or {}
    inputs = record.get("inputs")
    return located(inputs[0], folder, record.get("folder")) if inputs else None


def planned_stages(project: Path) -> list[str]:
    """Stages of a project in order: poses first, where they were refined, and what `run` adds."""
    options = (read_job(project) or {}).get("options", {})
    more = [
        name
        for name, option in (
            (files.RECLASSIFY, "reclassify"),
            (files.PARTICLE_LANDSCAPE, "particle_landscape"),
        )
        if options.get(option) is not None or read_job(project / name) is not None
    ]
    first = [files.CONSENSUS] if _of_consensus(project) else []
    return [*first, *STAGES, *more]


def _of_consensus(project: Path) -> bool:
    """Whether the project classifies the poses of its consensus, or is about to."""
    if read_job(project / files.CONSENSUS) is None:
        return False
    table = _first_input(project / files.RESAMPLE)
    return table is None or table.resolve() == _refined(project).resolve()


def next_step(project: Path, run: str, stages: list[dict[str, Any]]) -> str | None:
    """The command that goes on: the one that was given, with its options, where one was.

    Parameters
    ----------
    project : Path
    run : str
        Status of the run of all stages.
    stages : list of dict
        ``stage``, ``status`` and ``results`` of every stage.
    """
    states = {stage["stage"]: stage["status"] for stage in stages}
    if "running" in (run, *states.values()):
        return shlex.join([_PROGRAM, "status", "--i", str(project)]) + " (work is running)"
    of_run = _run_again(project)
    table = input_place(project) or ""
    first = _first_input(project / files.RESAMPLE)
    if first is not None and not first.exists():
        return _relocated(project, first.name)
    if table.endswith(GONE) and not _refined(project).is_file():
        of_run = None
    if run not in ("done", MISSING) and of_run is not None:
        return of_run
    left = [name for name in planned_stages(project) if states.get(name) != "done"]
    if states.get(files.DEEPFEATURE) == MISSING != states.get(files.LANDSCAPE):
        left.remove(files.DEEPFEATURE)  # the landscape is of the volumes alone
    whole = next(iter(left), None)
    if whole is None:
        made = [one for one in stages if files.NO_RESULT not in one.get("results", {})]
        last = [one["stage"] for one in made if one["status"] == "done"][-1]
        lines = ending(last if last == files.PARTICLE_LANDSCAPE else files.VOTE, project / last)
        commands = [line[6:].strip() for line in lines[2:]]
        if _page_is_new(project, project / last):
            commands = [one for one in commands if " report " not in one or "--serve" in one]
        return next(iter(commands), None)
    return _again(project, project / whole) or of_run or _by_stage(project, whole)


def _page_is_new(project: Path, last: Path) -> bool:
    """Whether the page was made after the last stage."""
    page, record = project / "report.html", last / files.JOB_JSON
    return page.is_file() and page.stat().st_mtime >= record.stat().st_mtime


def _relocated(project: Path, name: str) -> str:
    """Command that says where the table and stacks of a project are now; FOLDER stands for it."""
    words = ["relocate", "--i", str(project), "--table", f"FOLDER/{name}"]
    return shlex.join([_PROGRAM, *words, "--images-from", "FOLDER"])


def _run_again(project: Path) -> str | None:
    """The `run` of a project, by the newest record that has its command."""
    folders = [project, project / files.CONSENSUS, project / files.RESAMPLE]
    records = [(str((read_job(one) or {}).get("started", "")), one) for one in folders]
    for _, folder in sorted(records, key=lambda one: one[0], reverse=True):
        words = _words(folder)
        if words[1:2] and (words[1] in ("run", "demo") or folder == project):
            return _again(project, folder)
    return None


def _words(folder: Path) -> list[str]:
    """Command that a folder's record holds, by words; empty where there is none of this program."""
    try:
        words = shlex.split(str((read_job(folder) or {}).get("command", "")))
    except ValueError:
        return []
    if words[:1] != [_PROGRAM]:
        return []
    # --o=project is two words, as --o project
    parts = (word.split("=", 1) if word.startswith("--") else [word] for word in words)
    return [part for word in parts for part in word]


def _again(project: Path, folder: Path) -> str | None:
    """Command of a folder's record, so that it can be given again from here.

    Where the table of a run is gone, that with its refined poses stands for it.
    """
    record, words = read_job(folder) or {}, _words(folder)
    if not words:
        return None
    words = [word for word in words if word != "--overwrite"]
    if "--only" in words:  # a part of a run, in a job of a cluster
        part = words.index("--only")
        words = words[:part] + words[part + 2 :]
    home = record.get("working_folder")
    place = Path(home) if home else Path()
    if home is not None and not _writes(words, place, folder):  # moved or copied since
        if words[1] != "run":
            return None
        words = _with(words, _OUTPUT, str(absolute_path(project)), add=True)
        table, given = input_place(project), _value(words, _INPUT)
        if table is not None and given is not None and not (place / given).exists():
            words = _with(words, _INPUT, str(Path(table).absolute()), add=False)
    given = _value(words, _INPUT)
    if words[1] == "run" and given and not (place / given).exists() and _refined(project).is_file():
        words = _with(words, _INPUT, str(absolute_path(_refined(project))), add=False)
    text = shlex.join(words)
    if home is None or not place.is_dir() or place.resolve() == Path.cwd().resolve():
        return text
    return f"cd {shlex.quote(os.fspath(place))} && {text}"


def _writes(words: Sequence[str], place: Path, folder: Path) -> bool:
    """Whether a command given in a place writes into a folder, or one above it."""
    output = (place / (_value(words, _OUTPUT) or ".")).resolve()
    return output == folder.resolve() or output in folder.resolve().parents


def _value(words: Sequence[str], names: Sequence[str]) -> str | None:
    pairs = zip(words, words[1:], strict=False)
    return next((value for name, value in pairs if name in names), None)


def _with(words: list[str], names: Sequence[str], value: str, *, add: bool) -> list[str]:
    """Words with another value of an option, which is added where it is not there."""
    place = next((n for n, word in enumerate(words[:-1]) if word in names), None)
    if place is None:
        return [*words, names[0], value] if add else words
    return [*words[: place + 1], value, *words[place + 2 :]]


def _by_stage(project: Path, stage: str) -> str | None:
    """The command of a stage with its defaults, where none is on record."""
    home, resample = str(project), str(project / files.RESAMPLE)
    landscape, features = f"{home}/{files.LANDSCAPE}", f"{home}/{files.DEEPFEATURE}"
    words = {
        files.RESAMPLE: ["resample", "--i", input_place(project) or "particles.star", "--o",
                         resample],
        files.DEEPFEATURE: ["train", "--i", resample, "--o", features],
        files.LANDSCAPE: ["landscape", "--i", resample, "--features", features, "--o", landscape],
        files.VOTE: ["vote", "--i", resample, "--landscape", landscape, "--o",
                     f"{home}/{files.VOTE}"],
        files.RECLASSIFY: ["vote", "reclassify", "--i", home, "--o", f"{home}/{files.RECLASSIFY}"],
        files.PARTICLE_LANDSCAPE: ["landscape", "particles", "--i", home, "--o",
                                   f"{home}/{files.PARTICLE_LANDSCAPE}"],
    }.get(stage)  # fmt: skip
    return None if words is None else shlex.join([_PROGRAM, *words])
