"""The voting stage: from volumes and states to the particles of every state."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.foresight import where_to_find
from alphacryo4d.core.job import Job, Step, Work, start_work
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.settings import require_setting
from alphacryo4d.core.words import plural
from alphacryo4d.particles.copies import copied_images, table_images
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.voting.edits_stage import base_of, edited_states, write_edited
from alphacryo4d.voting.images import add_images
from alphacryo4d.voting.inputs_stage import (
    MakeLandscape,
    States,
    elect,
    read_assignments,
    read_groups,
    read_outliers,
    read_signal,
    read_states,
    report_of,
)
from alphacryo4d.voting.junk import add_junk, signal_columns
from alphacryo4d.voting.null_figures import add_null
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.output_stage import (
    input_particles,
    input_table,
    input_table_path,
    write_particles,
)
from alphacryo4d.voting.recorded_stage import read_recorded
from alphacryo4d.voting.report import (
    REPORT_JSON,
    REPORT_TXT,
    add_support,
    complete_report,
    write_report,
)
from alphacryo4d.voting.votes import VoteResult

logger = logging.getLogger(__name__)


_STEPS = (
    Step("count", ("*", "!vote.reconstruct")),
    Step("reconstruct", ("vote.reconstruct",), (), after=("count",)),
)
_MEMORY = 8.0
"""GB for the images of a batch; more goes to disk."""


def run_vote(
    resample: Path,
    landscape: Path,
    output: Path,
    *,
    options: VoteOptions | None = None,
    make_landscape: MakeLandscape | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Put every particle into the state that its volumes vote for.

    Parameters
    ----------
    resample, landscape : Path
        Folders of the stages before.
    output : Path
        Output folder.
    options : VoteOptions, optional
        How particles are assigned.
    make_landscape : callable, optional
        ``make_landscape(resample, output, states)`` makes the landscape of the null model's
        volumes, with so many states, as that of the data was made; ``options.null`` needs it.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        ``particles.star``, the table of every state, ``votes.npy`` and the report.
    """
    options = options or VoteOptions()
    require_setting(
        make_landscape is not None or not options.null,
        "--null: needs the landscape stage for the null model's volumes (make_landscape)",
    )
    states = landscape / files.STATES_STAR
    if options.edits is None and not states.is_file():
        raise InputError(f"{states}: no such file; {where_to_find(states)}")
    work = vote_work(input_table_path(resample), resample, landscape, options)
    with start_work(output, work, flags=flags) as job:
        if not job.finished and not job.completed("count"):
            _count(job, resample, landscape, options, make_landscape, flags.threads)
        if options.reconstruct and not job.finished and not job.completed("reconstruct"):
            from alphacryo4d.reconstruction.stage import reconstruct_states

            made = reconstruct_states(
                job.folder,
                job.folder,
                options=ReconstructOptions(symmetry=options.symmetry),
                threads=flags.threads,
            )
            job.complete("reconstruct", made)
        if not job.finished:
            complete_report(job.folder)
    return main_outputs(output)


def vote_work(table: Path, resample: Path, landscape: Path, options: VoteOptions) -> Work:
    """Graph of the stage: the count of the votes, and the maps of the states."""
    inputs = [
        table,
        resample / files.ASSIGNMENTS_NPY,
        resample / files.GROUPS_NPY,
        landscape / files.STATES_STAR,
        landscape / files.EMBEDDING_NPY,
    ]
    inputs += [path for path in optional_inputs(resample, landscape) if path.is_file()]
    if options.edits is not None:
        base = base_of(options.edits, landscape)[0]
        inputs += [options.edits, base / files.STATES_STAR, base / files.VOLUME_STATES_NPY]
        inputs = [path for path in dict.fromkeys(inputs) if path.is_file()]
    wanted = {"vote": options, "resample": read_recorded(resample)}
    return Work(files.VOTE, wanted, tuple(inputs), steps=_STEPS, remnants=(".scratch",))


def optional_inputs(resample: Path, landscape: Path) -> list[Path]:
    """Inputs that the stage uses where they are present."""
    names = (files.HELDOUT_NPY, files.OUTLIERS_NPY, files.SIGNAL_NPY)
    return [*(resample / name for name in names), landscape / files.VOLUME_STATES_NPY]


def main_outputs(folder: Path) -> list[Path]:
    """Tables and report of a voting folder."""
    names = (files.PARTICLES_STAR, files.VOTES_NPY, REPORT_JSON, REPORT_TXT)
    outputs = [folder / name for name in names] + sorted(folder.glob("class[0-9]*.star"))
    return [path for path in outputs if path.is_file()]


def _count(
    job: Job,
    resample: Path,
    landscape: Path,
    options: VoteOptions,
    make_landscape: MakeLandscape | None,
    threads: int | None,
) -> None:
    edited = None
    if options.edits is not None:
        edited = edited_states(options.edits, resample, landscape, options)
    states = read_states(landscape) if edited is None else edited.states
    assignments = read_assignments(resample)
    table = input_table(resample)
    if table.rows != len(assignments):
        raise InputError(
            f"{table.path}: has {table.rows} particles, but {resample / files.ASSIGNMENTS_NPY} "
            f"has {len(assignments)}; run the resample stage again"
        )
    votes_path = job.folder / files.VOTES_NPY
    with files.create_array(votes_path, (len(assignments), states.count), np.uint8) as votes:
        election = elect(assignments, states, options, votes)
    written = [votes_path]
    names = {} if edited is None else named_states(edited.names)
    signal, outliers = read_signal(resample, table.rows), read_outliers(resample)
    more = signal_columns(signal, outliers)
    written += write_vote_result(job.folder, table, election, states.count, names, more)
    report = report_of(resample, states, options, election, votes)
    add_images(report, table_images(table), election.states)
    add_junk(report, signal, outliers, election.states)
    if edited is not None:
        written += write_edited(job.folder, edited)
        for entry, name in zip(report["per_state"], edited.names, strict=True):
            entry["name"] = name
    if options.test or options.null:
        written += _read_images(job, resample, states, options, make_landscape, threads, report)
    written += write_report(job.folder, report, show=not options.reconstruct)
    job.note(**{name: report[name] for name in ("particles", "voted", "voted_out", "states")})
    job.complete("count", written)


def _read_images(
    job: Job,
    resample: Path,
    states: States,
    options: VoteOptions,
    make_landscape: MakeLandscape | None,
    threads: int | None,
    report: dict[str, Any],
) -> list[Path]:
    """Add to a report what only the images tell: the held-out test, and the null model."""
    from alphacryo4d.reconstruction.map_stage import remove_scratch
    from alphacryo4d.voting.recorded_stage import BatchImages
    from alphacryo4d.voting.support_stage import support_of_votes

    scratch = job.folder / ".scratch"
    recorded = read_recorded(resample).with_symmetry(options.symmetry)
    particles = recorded.on_grid(input_particles(resample))
    groups = read_groups(resample, len(particles))
    kept: dict[str, Any] = {"threads": threads, "memory": _MEMORY, "scratch": scratch}
    written: list[Path] = []
    if options.test:
        outliers = read_outliers(resample)
        images = BatchImages(particles, groups, recorded, outliers=outliers, **kept)
        add_support(
            report,
            support_of_votes(
                resample,
                images,
                states.volume_states,
                states.count,
                copies=copied_images(particles),
                threads=threads,
            ),
        )
    if options.null:
        from alphacryo4d.voting.null_stage import null_images, vote_of_null

        assert make_landscape is not None
        images = null_images(particles, groups, recorded, **kept)
        null, made = vote_of_null(job, resample, images, states.count, options, make_landscape)
        add_null(report, null)
        written += made
    remove_scratch(scratch)
    return written


def named_states(names: list[str]) -> dict[int, str]:
    """Names of states by their numbers from 1; those without a name are left out."""
    return {number: name for number, name in enumerate(names, 1) if name}


def write_vote_result(
    folder: Path,
    table: Any,
    election: VoteResult,
    state_count: int,
    names: dict[int, str] | None = None,
    more: dict[str, Array] | None = None,
) -> list[Path]:
    """Write the tables of an election and say the counts, which must add up."""
    written = write_particles(table, folder, election, state_count, names, more)
    voted, total = election.kept, len(election.states)
    members = np.bincount(election.states, minlength=state_count + 1)
    if members[1:].sum() + members[0] != total or total != table.rows:
        raise InputError(f"{table.path}: {total} particles counted, {table.rows} in the table")
    logger.info(
        "%d particles: %d voted into %s, %d voted out (%.1f%% kept)",
        total,
        voted,
        plural(int((members[1:] > 0).sum()), "state"),
        total - voted,
        100 * voted / max(total, 1),
    )
    return written
