"""`vote reclassify`: states of a project seed a second classification; its votes are counted."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import NoResultError
from alphacryo4d.core.job import Job, Step, Work, plan_work, read_job, start_work
from alphacryo4d.core.plan import make_plan
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.words import plural
from alphacryo4d.particles.copies import particle_images
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.recorded import stacks_on_record
from alphacryo4d.particles.refined import write_refined_cs, write_refined_poses
from alphacryo4d.reclassify.convergence_stage import run_rounds
from alphacryo4d.reclassify.figures_stage import FIGURE_INPUTS, draw_changes, figure_inputs
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.folds import describe_changes, read_first_states
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.reclassify.populations import changes_by_state, states_gone
from alphacryo4d.reclassify.results_stage import Round, RoundInputs, as_assignments, elect
from alphacryo4d.reconstruction.map_stage import remove_scratch
from alphacryo4d.selection.sets_stage import state_names
from alphacryo4d.voting.images import add_images
from alphacryo4d.voting.inputs_stage import read_fold_groups, read_outliers, read_signal
from alphacryo4d.voting.junk import add_junk, escaped_junk, signal_columns, without_states_of_junk
from alphacryo4d.voting.null_figures import number
from alphacryo4d.voting.options import votes_needed
from alphacryo4d.voting.output_stage import input_particles, input_table_path
from alphacryo4d.voting.recorded_stage import read_recorded
from alphacryo4d.voting.report import (
    add_heldout,
    add_support,
    complete_report,
    make_report,
    write_report,
)
from alphacryo4d.voting.stage import main_outputs, write_vote_result
from alphacryo4d.voting.votes import VoteResult

logger = logging.getLogger(__name__)

_AFTERWARDS = ("rounds", "reconstruct", "write_poses")
"""Options that the classification of a fold does not depend on."""
_INPUTS = ("*", *(f"!{name}" for name in FIGURE_INPUTS))
_STEPS = (
    Step("round*", ("*", *(f"!reclassify.{name}" for name in _AFTERWARDS)), _INPUTS),
    Step("count", ("*", "!reclassify.reconstruct"), _INPUTS, after=("round*",)),
    Step("reconstruct", ("reclassify.reconstruct",), (), after=("count",)),
    Step("figures", (), FIGURE_INPUTS, after=("count",)),
)

_AGAIN = "`vote reclassify` with another --seed, or to another --o, tries again"
REFINED_STAR, REFINED_CS = "refined.star", "refined.cs"
"""The input with refined poses, where they are asked for."""


def run_reclassify(
    project: Path,
    output: Path,
    *,
    selection: str = files.VOTE,
    options: ReclassifyOptions | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Classify every fold again from the voted states, and count the votes again.

    Parameters
    ----------
    project : Path
        Project folder with ``resample`` and ``vote``.
    output : Path
        Output folder.
    selection : str
        Folder of the project with the states to begin with: vote, vote-2, reclassify ...
    options : ReclassifyOptions, optional
    seed : int
        Random seed.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        The tables and the report, as of the voting stage.

    Raises
    ------
    NoResultError
        The states fall together in the first round. The folder keeps the result of the same votes
        that is there, and the same try is not made again; else its record says why there is none.
    """
    options = options or ReclassifyOptions()
    resample, first = project / files.RESAMPLE, project / selection
    work = reclassify_work(input_table_path(resample), resample, first, options, seed)
    with start_work(output, work, flags=flags) as job:
        if not job.finished:
            job.record["results"].pop(files.NO_RESULT, None)
            try:
                if files.TRIED in job.record["results"]:
                    raise NoResultError(job.record["results"][files.TRIED])
                _make(job, project, first, options, seed, flags)
            except NoResultError as why:
                remove_scratch(job.folder / ".scratch")
                if _has_result(output, job, work):
                    job.record["results"][files.TRIED] = str(why)
                    other = ", ".join(plan_work(output, work).why)
                    kept = f"{output} stays as it is ({other}); {_AGAIN}"
                    raise NoResultError(f"{why}; {kept}") from why
                job.record["results"] = {files.NO_RESULT: str(why)}
        reason = job.record["results"].get(files.NO_RESULT)
    if reason is not None:
        raise NoResultError(reason)
    return main_outputs(output)


def _has_result(folder: Path, job: Job, work: Work) -> bool:
    """Whether a folder holds finished states of the same votes, by whatever options."""
    old = read_job(folder) or {}
    same = job.record | {name: old.get(name) for name in ("options", "seed")}
    return old.get("status") == "done" and "count" in make_plan(folder, work, old, same).standing


def _make(
    job: Job, project: Path, first: Path, options: ReclassifyOptions, seed: int, flags: RunFlags
) -> None:
    """The steps of the stage that are not done."""
    if not job.completed("count"):
        _reclassify(job, project / files.RESAMPLE, first, options, seed, flags)
    if options.reconstruct and not job.completed("reconstruct"):
        from alphacryo4d.reconstruction.stage import reconstruct_states

        made = reconstruct_states(job.folder, job.folder, threads=flags.threads)
        job.complete("reconstruct", made)
    if not job.completed("figures"):
        draw_changes(job, first)
    complete_report(job.folder)


def reclassify_work(
    table: Path, resample: Path, vote: Path, options: ReclassifyOptions, seed: int = 0
) -> Work:
    """Graph of the stage: folds of every round, the count of the votes, the maps of the states."""
    inputs = (table, resample / files.GROUPS_NPY, vote / files.PARTICLES_STAR)
    recorded, shown = read_recorded(resample), figure_inputs(vote)
    wanted = {"reclassify": options, "resample": recorded}
    further = [path for path in (recorded.mask, recorded.classify.focus_mask) if path is not None]
    read = (*dict.fromkeys((*inputs, *shown, *further, *stacks_on_record(resample))),)
    return Work(files.RECLASSIFY, wanted, read, seed, _STEPS, (".scratch",))


def _reclassify(
    job: Job,
    resample: Path,
    first: Path,
    options: ReclassifyOptions,
    seed: int,
    flags: RunFlags,
) -> None:
    particles = read_recorded(resample).on_grid(input_particles(resample))
    groups = read_fold_groups(resample, len(particles))
    signal = read_signal(resample, len(particles))
    states = read_first_states(first, len(particles))
    outliers = read_outliers(resample)
    if options.keep_outliers:
        outliers, measured = outliers[:0], None
    else:
        states, signal, outliers = without_states_of_junk(states, signal, outliers)
        measured = signal
    recorded = read_recorded(resample)
    finest = max(min(options.final_resolution, recorded.resolution), 2.2 * particles.pixel_size)
    move = options.refine_poses
    if move and recorded.classify.focus_mask is not None:
        logger.info("the classification was focused: poses stay as they are")
        move = False
    inputs = RoundInputs(
        particles,
        groups,
        options,
        FitOptions(
            resolution=finest,
            components=options.components,
            initial_resolution=max(options.initial_resolution, finest),
            iterations=options.iterations,
            move=move,
            pose_sigma=options.pose_sigma,
            split_merge=options.split_merge,
            latent=options.split,
            mask_diameter=recorded.mask_diameter(options.mask_diameter),
            seed=seed,
        ),
        recorded,
        flags,
        outliers,
        measured,
    )
    logger.info("reclassification of %s at %.1f A", plural(int(states.max()), "state"), finest)
    last_round, kept, log = run_rounds(job, inputs, states)
    if last_round.free_poses and not (particles.table.path.parent / files.CONSENSUS_JSON).exists():
        logger.info(
            "the poses of %s were fitted to their images; where that was to a coarser map than the "
            "images allow, `alphacryo4d run --realign` makes first votes and states better",
            particles.table.path,
        )
    remove_scratch(job.folder / ".scratch")
    _write(job, inputs, last_round, kept, states, log, first, signal)


def _without_escaped_junk(
    inputs: RoundInputs, election: VoteResult, signal: Array | None, count: int
) -> tuple[VoteResult, Array | None, Array]:
    """The election, the signals and the outliers, junk that gathers in a small state voted out."""
    escaped = escaped_junk(signal, election.states, count, inputs.copies)
    if signal is None or inputs.options.keep_outliers or not escaped.any():
        return election, signal, inputs.outliers
    logger.info(
        "%d particles with weak signals gather in states where such signals are too many: junk",
        escaped.sum(),
    )
    signal = signal.copy()
    signal[escaped, 2] = 1
    states = np.where(escaped, 0, election.states).astype(np.int32)
    outliers = np.union1d(inputs.outliers, np.flatnonzero(escaped))
    return replace(election, states=states), signal, outliers


def _write(
    job: Job,
    inputs: RoundInputs,
    last_round: Round,
    kept: Array,
    before: Array,
    log: list[str],
    first: Path,
    signal: Array | None,
) -> None:
    """Tables, votes and report of the last round, beside the figures of the first votes."""
    count = len(kept)
    assignments, volume_states, heldout = as_assignments(inputs, last_round, count)
    outputs = [
        files.save_array(job.folder / files.ASSIGNMENTS_NPY, assignments),
        files.save_array(job.folder / files.HELDOUT_NPY, heldout),
    ]
    path = job.folder / files.VOTES_NPY
    with files.create_array(path, (len(before), count), np.uint8) as votes:
        before_heldout, election = elect(inputs, last_round, count, votes)
    outputs.append(path)
    election, signal, outliers = _without_escaped_junk(inputs, election, signal, count)
    table = inputs.particles.table
    if inputs.options.write_poses:
        changes = last_round.heldout_pose_changes(inputs.groups)
        refined = write_refined_poses(inputs.particles, *changes, job.folder / REFINED_STAR)
        outputs.append(refined)
        if table.path.suffix.lower() == ".cs":
            refined = write_refined_cs(table.path, refined, job.folder / REFINED_CS)
            outputs.append(refined)
        table = open_table(refined)
    called = state_names(first)
    names = {k: called[old] for k, old in enumerate(kept.tolist(), 1) if old in called}
    more = signal_columns(signal, outliers)
    outputs += write_vote_result(job.folder, table, election, count, names, more)
    report = make_report(
        assignments, volume_states, count, election, votes, batches=inputs.groups[:, 0]
    )
    renamed = np.zeros(int(max(before.max(), kept.max())) + 1, np.int32)
    renamed[kept] = np.arange(1, count + 1)
    add_heldout(report, heldout, before_heldout, volume_states, count)
    report |= {
        "votes_needed": votes_needed(inputs.options.threshold, inputs.folds - 1),
        "voted_before_heldout": before_heldout.kept,
        "resolution": number(inputs.fit.resolution),
        "first_states": [int(k) for k in kept],
        "first_selection": first.name,
        "changes": describe_changes(renamed[before], election.states),
        "changes_by_state": changes_by_state(renamed[before], election.states, count),
        "states_gone": states_gone(before, kept),
        "log": log,
    }
    for entry in report["per_state"]:
        entry["name"] = names.get(entry["state"], "")
    add_junk(report, signal, outliers, election.states)
    add_support(report, last_round.support)
    add_images(report, particle_images(inputs.particles), election.states)
    outputs += write_report(job.folder, report, show=not inputs.options.reconstruct)
    job.note(voted=election.kept, states=count, changes=report["changes"])
    job.complete("count", outputs)
