"""The last lines of a command: what it found, what to open first, and what to do next."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import AlphaCryo4DError
from alphacryo4d.core.job import read_job
from alphacryo4d.core.record import stale_inputs
from alphacryo4d.core.words import plural
from alphacryo4d.report.advice import ORIGINAL, ORIGINAL_SAID, refine_words
from alphacryo4d.report.checks import null_said, stability_of, stability_said
from alphacryo4d.report.ending_after import (
    Lines,
    first_input,
    made_said,
    of_converted,
    of_particles,
    of_refine,
    of_selected,
    of_volumes,
    of_zoom,
    range_said,
)
from alphacryo4d.report.project_files import LABELS, read_columns, read_json, read_table

logger = logging.getLogger(__name__)

RUN = "run"


def say_ending(stage: str, folder: Path) -> None:
    """Log the last lines of a stage; what cannot be read is left out.

    Parameters
    ----------
    stage : str
        ``run``, ``resample``, ``deepfeature``, ``landscape``, ``vote``, ``reclassify``,
        ``reconstruct``, ``refine``, ``zoom``, ``particle_landscape``, ``volume``, ``select``,
        ``convert`` or ``report``.
    folder : Path
        Where its results lie; of ``convert`` the table, of ``report`` the states that the page
        opens with.
    """
    for line in ending(stage, folder):
        logger.info("%s", line)


def say_next(stage: str, folder: Path) -> None:
    """Log the commands that go on from a stage alone."""
    for line in ending(stage, folder)[2:]:
        logger.info("%s", line)


def ending(stage: str, folder: Path) -> list[str]:
    """The last lines of a stage: result, file to open first, two commands."""
    try:
        result, opened, commands = _OF[stage](folder)
    except (AlphaCryo4DError, OSError, KeyError, ValueError) as error:
        logger.debug("no last lines: %s", error)
        return []
    lines = [f"result: {result}", f"open first: {opened}"]
    words = [shlex.join(["alphacryo4d", *map(str, command)]) for command in commands]
    return [*lines, *(f"{('next:', '  or:')[n > 0]} {text}" for n, text in enumerate(words))]


def states_said(report: dict[str, Any]) -> str:
    """States, how many are supported, particles and resolution of a report, in a line.

    States of junk are counted apart.
    """
    states = [one for one in report["per_state"] if one["particles"] and not one.get("junk")]
    junk = [one["state"] for one in report["per_state"] if one["particles"] and one.get("junk")]
    text = plural(len(states), "state")
    tested = [one for one in states if one.get("supported") is not None]
    if tested and len(states) == 1 and not tested[0]["supported"]:
        text += ", one conformation as far as held-out particles tell"
    elif tested:
        good = sum(bool(one["supported"]) for one in tested)
        text += f", {good} supported by held-out particles"
    else:
        text += ", not tested on held-out particles"
    if junk:
        text += f", and state {', '.join(map(str, junk))} of junk"
    text += f"; {report['voted']:,} of {report['particles']:,} particles kept"
    limited = any(one.get("at_pixel_limit") for one in states)
    return text + range_said([one.get("resolution") for one in states], limited)


def _of_run(project: Path) -> Lines:
    again = project / files.RECLASSIFY
    record = read_job(again) or {}
    # its votes decide; a landscape that was drawn again changes its figures alone
    votes = [
        one for one in record.get("inputs", []) if Path(one["path"]).name == files.PARTICLES_STAR
    ]
    standing = not stale_inputs(again, record | {"inputs": votes})
    standing &= (again / "report.json").is_file()
    result, _, commands = _of_states(again if standing else project / files.VOTE)
    page = next(one for one in commands if one[0] == "report")
    page = page if "--serve" in page else [*page, "--serve"]
    others = [one for one in commands if one[0] != "report"]
    return result, project / "report.html", [*others, page]


def _of_states(folder: Path) -> Lines:
    report = read_json(folder / "report.json")
    project, result = folder.parent, states_said(report)
    if report.get("null"):
        result += f"; null model: {null_said(report['null'])}"
    if folder.name == files.VOTE_NULL:  # the votes themselves are those of `vote`
        commands = [["report", "--i", project], ["status", "--i", project]]
        return result, folder / "summary.txt", commands
    words = refine_words(folder)
    refine: list[list[Any]] = [] if words is None else [words]
    if words is not None and ORIGINAL in words:
        result += f"; {ORIGINAL_SAID}"
    if (folder / files.PARTICLES_CS).is_file():
        result += f"; {folder}/class001.cs ... for Import Particle Stack of cryoSPARC"
    if not (project / files.RESAMPLE / files.JOB_JSON).is_file():
        maps = ["vote", "reconstruct", "--i", folder, "--o", f"{folder}-maps"]
        return result, folder / "summary.txt", [*refine, maps]
    page: list[Any] = ["report", "--i", project, *_set(folder)]
    if any(one.get("supported") is False for one in report["per_state"]):
        page += ["--serve", "--allow-edits"]
    commands = [page, *refine]
    if folder.name == files.VOTE and not (project / files.RECLASSIFY).is_dir():
        again = ["vote", "reclassify", "--i", project, "--o", project / files.RECLASSIFY]
        commands = [again, page]
    return result, folder / "summary.txt", commands


def _of_page(folder: Path) -> Lines:
    """What goes on from the states that a page opens with."""
    result, opened, commands = _of_states(folder)
    return result, opened, [one for one in commands if one[0] != "report"]


def _of_resample(folder: Path) -> Lines:
    table = read_table(folder / files.VOLUMES_STAR, "volumes")
    noted = (read_job(folder) or {})["results"]
    result = (
        f"{len(table['ac4dVolumeName'])} volumes of {noted['batches'] * noted['folds']} folds; "
        f"{noted['particles']:,} particles, each in {noted['folds'] - 1} of {noted['folds']} folds"
    )
    resolutions = [float(value) for value in table.get("rlnEstimatedResolution", [])]
    home = folder.parent
    features, landscape = home / files.DEEPFEATURE, home / files.LANDSCAPE
    return (
        result + range_said(resolutions),
        folder / files.VOLUMES_STAR,
        [
            ["train", "--i", folder, "--o", features],
            ["landscape", "--i", folder, "--o", landscape],
        ],
    )


def _of_deepfeature(folder: Path) -> Lines:
    noted = (read_job(folder) or {})["results"]
    result = f"features after {plural(noted['epochs'], 'epoch')}"
    if noted.get("mean_volume_error"):
        ratio = noted["held_out_error"] / noted["mean_volume_error"]
        result += f"; held-out error {ratio:.2f} of that of predicting the mean volume"
    home = _home(folder)
    resample, landscape = home / files.RESAMPLE, home / files.LANDSCAPE
    return (
        result,
        folder / "loss.png",
        [
            ["landscape", "--i", resample, "--features", folder, "--o", landscape],
            ["status", "--i", home],
        ],
    )


def _of_landscape(folder: Path) -> Lines:
    states = read_table(folder / files.STATES_STAR, "states")
    volumes = files.load_array(folder / "volume_states.npy", dtype=np.integer, ndim=1)
    result = plural(len(states["ac4dState"]), "state")
    result += f"; {(volumes > 0).sum()} of {len(volumes)} volumes in a state;"
    result += " `vote` tests them on held-out particles"
    barriers = read_columns(folder / "barriers.csv")
    if {"barrier", "resolved"} <= set(barriers):
        along = [
            str(said)
            for name, said in zip(barriers["barrier"], barriers["resolved"], strict=True)
            if str(name)[0].isdigit() and str(name).endswith("forward")
        ]
        result += f"; {along.count('yes')} of {plural(len(along), 'barrier')} of the path resolved"
    home = _home(folder)
    stability = stability_of(folder)
    if stability is not None:
        result += f"; embedding {('unstable', 'stable')[stability['stable']]}: "
        result += stability_said(stability)
    vote = home / files.VOTE
    if folder.resolve() != (home / files.LANDSCAPE).resolve():  # of this project beside its own
        vote = home / f"{files.VOTE}-{folder.name}"
    if folder.name.endswith("-stability"):
        commands = [["report", "--i", home], ["status", "--i", home]]
        return result, folder / "stability.png", commands
    return (
        result,
        folder / "landscape.png",
        [
            ["vote", "--i", home / files.RESAMPLE, "--landscape", folder, "--o", vote],
            ["status", "--i", home],
        ],
    )


def _home(folder: Path) -> Path:
    """Project whose volumes a stage worked on; the folder above it where that is not on record."""
    volumes = first_input(folder)
    if volumes is not None and volumes.parent.name == files.RESAMPLE:
        return volumes.parent.parent
    return folder.parent


def _set(folder: Path) -> list[str]:
    """Words that name a set of states to the page, where it has no name of its own."""
    return [] if folder.name in LABELS else ["--selection", folder.name]


def _of_reconstruct(folder: Path) -> Lines:
    made = read_json(folder / "reconstruction.json")["states"]
    table = first_input(folder)
    source = folder.parent / files.VOTE if table is None else table.parent
    refine = refine_words(source)
    return (
        f"maps of {plural(len(made), 'state')}{made_said(made)}",
        folder / f"class{made[0]['state']:03d}.mrc",
        [*([] if refine is None else [refine]), ["report", "--i", source.parent, *_set(source)]],
    )


_OF = {
    RUN: _of_run,
    files.RESAMPLE: _of_resample,
    files.DEEPFEATURE: _of_deepfeature,
    files.LANDSCAPE: _of_landscape,
    files.VOTE: _of_states,
    files.RECLASSIFY: _of_states,
    "reconstruct": _of_reconstruct,
    "refine": of_refine,
    "zoom": of_zoom,
    files.PARTICLE_LANDSCAPE: of_particles,
    "volume": of_volumes,
    "select": of_selected,
    "convert": of_converted,
    "report": _of_page,
}
