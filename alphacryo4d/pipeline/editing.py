"""Edited states of a project: which number they get, and the short way to the common edits."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.job import plan_work, read_job
from alphacryo4d.core.lock import LOCK
from alphacryo4d.core.plan import REDO
from alphacryo4d.core.record import is_void
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.pipeline.landscape import landscape_like
from alphacryo4d.selection.sets_stage import known_selections
from alphacryo4d.voting.edits import parse_edits
from alphacryo4d.voting.edits_stage import apply_edits, base_folders, require_possible
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.output_stage import input_table_path
from alphacryo4d.voting.stage import run_vote, vote_work

logger = logging.getLogger(__name__)


def selection_for(project: Path, landscape: Path, options: VoteOptions) -> Path:
    """Folder for edited states: ``vote-2``, ``vote-3`` ..., the first that is free.

    The folder that holds the same edits of the same states already, finished or not, is taken
    again, so that the same command goes on or has nothing to do.
    """
    for number in itertools.count(2):
        folder = project / f"{files.VOTE}-{number}"
        if _is_free(folder) or _same_work(project, landscape, folder, options):
            return folder
    raise AssertionError


def _is_free(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but what a run left that hardly began."""
    if not folder.is_dir():
        return not folder.exists()
    return all(one.name == LOCK or one.name.startswith(files.TEMPORARY) for one in folder.iterdir())


def _same_work(project: Path, landscape: Path, folder: Path, options: VoteOptions) -> bool:
    record = read_job(folder)
    if record is None or record.get("stage") != files.VOTE:
        return False
    resample = project / files.RESAMPLE
    work = vote_work(input_table_path(resample), resample, landscape, options)
    return is_void(record) or plan_work(folder, work).kind != REDO


def edit_states(
    project: Path,
    edits: list[Any],
    *,
    selection: str = files.VOTE,
    threads: int | None = None,
    dry_run: bool = False,
) -> list[Path]:
    """Judge edits of a project's states by held-out particles, then make them.

    Particles are assigned as the states that are edited were. The edits are kept as
    ``edits-2.json`` beside the result ``vote-2``, as for ``vote --edits``.

    Parameters
    ----------
    project : Path
    edits : list of dict
        As in ``edits.json``.
    selection : str
        Folder with the states to begin with.
    threads : int, optional
    dry_run : bool
        Judge alone; nothing is written.

    Returns
    -------
    list of Path
        Tables and report, as of the voting stage; empty with ``dry_run``.
    """
    resample, landscape = project / files.RESAMPLE, project / files.LANDSCAPE
    text = json.dumps({"version": 1, "base": selection, "edits": edits}, indent=1) + "\n"
    options = _options_of(project / selection)
    base, wanted = parse_edits(text, "edits")
    place, votes = base_folders(base, landscape, "edits")
    require_possible(wanted, place, resample)
    _say_states(project, base)
    if dry_run:
        apply_edits(wanted, place, votes, resample, options)
        return []
    for number in itertools.count(2):
        path, output = project / f"edits-{number}.json", project / f"{files.VOTE}-{number}"
        options = dataclasses.replace(options, edits=path)
        if not path.exists() and _is_free(output):
            files.write_text(path, text)
            break
        mine = path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text
        if mine and (_is_free(output) or _same_work(project, landscape, output, options)):
            break
    return run_vote(
        resample,
        landscape,
        output,
        options=options,
        make_landscape=landscape_like(landscape, threads=threads),
        flags=RunFlags(threads=threads),
    )


def _say_states(project: Path, base: str) -> None:
    """Say which states are edited, and which cannot be."""
    fitted = [
        name
        for name in known_selections(project)
        if name != files.VOTE and not (project / name / files.STATES_STAR).is_file()
    ]
    more = f"; those of {', '.join(fitted)} stay as they are" if fitted else ""
    logger.info("edits of the states of %s%s", base, more)


def _options_of(folder: Path) -> VoteOptions:
    """How the particles of a set of states were assigned; the defaults for what is not recorded."""
    recorded = (read_job(folder) or {}).get("options", {}).get("vote", {})
    known = {field.name for field in dataclasses.fields(VoteOptions)} - {"edits"}
    return VoteOptions(**{name: recorded[name] for name in known & recorded.keys()})
