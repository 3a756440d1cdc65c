"""The voting stage: from volumes and states to the particles of every state."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d import files
from alphacryo4d.errors import InputError
from alphacryo4d.job import Job, start_job
from alphacryo4d.particles import read_particles
from alphacryo4d.settings import require_setting
from alphacryo4d.star import read_tables
from alphacryo4d.voting.nearest import assign_nearest
from alphacryo4d.voting.options import ReconstructOptions, VoteOptions, votes_needed
from alphacryo4d.voting.output_stage import input_table, input_table_path, write_particles
from alphacryo4d.voting.report import (
    REPORT_JSON,
    REPORT_TXT,
    add_null,
    add_support,
    make_report,
    write_report,
)
from alphacryo4d.voting.votes import Election, count_votes, states_of_volumes

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

VOLUME_STATES_NPY = "volume_states.npy"
MakeLandscape = Callable[[Path, Path, int], object]
_MEMORY = 8.0
"""GB for the images of a batch; more goes to disk."""


@dataclass(frozen=True)
class States:
    """States of a landscape.

    Attributes
    ----------
    centers : (K, 2) float64
    radii : (K,) float64
    points : (V, 2) float64
        Embedding of the volumes.
    volume_states : (V,) int32
        State of every volume from 1, 0 for none.
    """

    centers: Array
    radii: Array
    points: Array
    volume_states: Array

    @property
    def count(self) -> int:
        """K, the number of states."""
        return len(self.centers)


def read_states(landscape: Path) -> States:
    """States of a landscape folder.

    A volume belongs to the nearest centre whose radius it is strictly inside, unless the
    landscape says its state itself (``volume_states.npy``, for states that are no circles).
    """
    path = landscape / files.STATES_STAR
    if not path.is_file():
        raise InputError(f"{path}: no such file; run `alphacryo4d landscape states` first")
    table = read_tables(path).get("states")
    needed = ("ac4dCenterX", "ac4dCenterY", "ac4dRadius")
    missing = [name for name in needed if table is None or name not in table]
    if table is None or missing:
        raise InputError(f"{path}: the table states lacks {', '.join(missing)}")
    centers = np.column_stack([table[name].to_numpy(float) for name in needed[:2]])
    radii = table["ac4dRadius"].to_numpy(float)
    points = files.load_array(landscape / files.EMBEDDING_NPY, dtype=np.floating, ndim=2)
    own = landscape / VOLUME_STATES_NPY
    if own.is_file():
        volume_states = files.load_array(own, dtype=np.integer, ndim=1).astype(np.int32)
        if len(volume_states) != len(points) or volume_states.max(initial=0) > len(centers):
            raise InputError(f"{own}: does not fit {path}; run the landscape stage again")
    else:
        volume_states = states_of_volumes(points, centers, radii)
    return States(centers, radii, points.astype(np.float64), volume_states)


def run_vote(
    resample: Path,
    landscape: Path,
    output: Path,
    *,
    options: VoteOptions | None = None,
    make_landscape: MakeLandscape | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
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
    threads : int, optional
        Threads of the reconstructions.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.

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
    inputs = [
        input_table_path(resample),
        resample / files.ASSIGNMENTS_NPY,
        resample / files.GROUPS_NPY,
        landscape / files.STATES_STAR,
        landscape / files.EMBEDDING_NPY,
    ]
    inputs += [path for path in optional_inputs(resample, landscape) if path.is_file()]
    with start_job(
        output,
        stage="vote",
        options={"vote": options},
        inputs=inputs,
        overwrite=overwrite,
        resume=resume,
    ) as job:
        if not job.finished and not job.completed("count"):
            _count(job, resample, landscape, options, make_landscape, threads)
        if options.reconstruct and not job.finished and not job.completed("reconstruct"):
            from alphacryo4d.voting.reconstruct_stage import reconstruct_states

            made = reconstruct_states(
                job.folder,
                job.folder,
                options=ReconstructOptions(symmetry=options.symmetry),
                threads=threads,
            )
            job.complete("reconstruct", made)
    return main_outputs(output)


def optional_inputs(resample: Path, landscape: Path) -> list[Path]:
    """Inputs that the stage uses where they are present."""
    return [resample / files.HELDOUT_NPY, landscape / VOLUME_STATES_NPY]


def main_outputs(folder: Path) -> list[Path]:
    """Tables and report of a voting folder."""
    names = (files.PARTICLES_STAR, files.VOTES_NPY, REPORT_JSON, REPORT_TXT)
    found = [folder / name for name in names] + sorted(folder.glob("class[0-9]*.star"))
    return [path for path in found if path.is_file()]


def _count(
    job: Job,
    resample: Path,
    landscape: Path,
    options: VoteOptions,
    make_landscape: MakeLandscape | None,
    threads: int | None,
) -> None:
    states = read_states(landscape)
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
    written += write_election(job.folder, table, election, states.count)
    report = report_of(resample, states, options, election, votes)
    if options.test or options.null:
        written += _read_images(job, resample, states, options, make_landscape, threads, report)
    written += write_report(job.folder, report)
    job.note(**{name: report[name] for name in ("particles", "voted", "voted_out", "states")})
    job.complete("count", written)


def elect(assignments: Array, states: States, options: VoteOptions, votes: Array) -> Election:
    """State of every particle by the votes (P, K), which are filled in, or by the distances."""
    if options.assign == "vote":
        needed = votes_needed(options.threshold, assignments.shape[1] - 1)
        return count_votes(
            assignments, states.volume_states, states.count, needed=needed, out=votes
        )
    return assign_nearest(
        assignments, states.points, states.centers, cutoff=options.cutoff, out=votes
    )


def report_of(
    resample: Path, states: States, options: VoteOptions, election: Election, votes: Array
) -> dict[str, Any]:
    """Figures of an election on the assignments of a resample folder."""
    assignments = read_assignments(resample)
    report = make_report(
        assignments,
        states.volume_states,
        states.count,
        election,
        votes,
        batches=read_batches(resample, len(assignments)),
        heldout=read_heldout(resample, len(assignments)),
    )
    needed = votes_needed(options.threshold, assignments.shape[1] - 1)
    return report | {"assign": options.assign, "votes_needed": needed}


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
    from alphacryo4d.voting.reconstruct_stage import remove_scratch
    from alphacryo4d.voting.recorded_stage import BatchImages, read_recorded
    from alphacryo4d.voting.support_stage import support_of_votes

    table, scratch = input_table_path(resample), job.folder / ".scratch"
    particles = read_particles(table)
    groups = read_groups(resample, len(particles))
    recorded = read_recorded(resample).with_symmetry(options.symmetry)
    kept: dict[str, Any] = {"threads": threads, "memory": _MEMORY, "scratch": scratch}
    written: list[Path] = []
    if options.test:
        images = BatchImages(particles, groups, recorded, **kept)
        add_support(
            report,
            support_of_votes(resample, images, states.volume_states, states.count, threads=threads),
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


def write_election(folder: Path, table: Any, election: Election, state_count: int) -> list[Path]:
    """Write the tables of an election and say the counts, which must add up."""
    written = write_particles(table, folder, election, state_count)
    voted, total = election.kept, len(election.states)
    members = np.bincount(election.states, minlength=state_count + 1)
    if members[1:].sum() + members[0] != total or total != table.rows:
        raise InputError(f"{table.path}: {total} particles counted, {table.rows} in the table")
    logger.info(
        "%d particles: %d voted into %d states, %d voted out (%.1f%% kept)",
        total,
        voted,
        int((members[1:] > 0).sum()),
        total - voted,
        100 * voted / max(total, 1),
    )
    return written


def read_assignments(resample: Path) -> Array:
    """``assignments.npy``, memory-mapped."""
    return files.load_array(
        resample / files.ASSIGNMENTS_NPY, dtype=np.integer, ndim=2, memory_map=True
    )


def read_batches(resample: Path, particles: int) -> Array:
    """Batch of every particle from 1, (P,), from ``groups.npy``."""
    return read_groups(resample, particles)[:, 0]


def read_groups(resample: Path, particles: int) -> Array:
    """Batch and group of every particle, both from 1, (P, 2)."""
    path = resample / files.GROUPS_NPY
    groups = files.load_array(path, dtype=np.integer, ndim=2)
    if groups.shape != (particles, 2):
        raise InputError(
            f"{path}: has shape {groups.shape}, not ({particles}, 2); run the resample stage again"
        )
    return groups


def read_heldout(resample: Path, particles: int) -> Array | None:
    """Best volume of the fold that left a particle out, (P,); None where it was not made."""
    path = resample / files.HELDOUT_NPY
    if not path.is_file():
        return None
    heldout = files.load_array(path, dtype=np.integer, ndim=1)
    if len(heldout) != particles:
        raise InputError(
            f"{path}: has {len(heldout)} particles, not {particles}; run the resample stage again"
        )
    return heldout
