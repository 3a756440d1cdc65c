"""`vote density`: states are basins of the particles' density, voted over folds as states are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import Job, read_job, start_job
from alphacryo4d.core.reading import load_archive
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.particle_landscape.density_stage import BASINS_NPZ
from alphacryo4d.particle_landscape.fold_stage import fold_file, read_fold
from alphacryo4d.particle_landscape.frame import Frame, common_frame, likelihood_of, unpacked
from alphacryo4d.particle_landscape.frame_stage import COORDINATES, COVARIANCES
from alphacryo4d.particle_landscape.membership import likeliest_basins
from alphacryo4d.particles.copies import table_images
from alphacryo4d.voting.images import add_images
from alphacryo4d.voting.inputs_stage import read_groups, read_outliers, read_signal
from alphacryo4d.voting.junk import add_junk, signal_columns
from alphacryo4d.voting.options import votes_needed
from alphacryo4d.voting.output_stage import input_table, input_table_path
from alphacryo4d.voting.recorded_stage import resample_of
from alphacryo4d.voting.report import add_heldout, make_report, write_report
from alphacryo4d.voting.stage import main_outputs, write_vote_result
from alphacryo4d.voting.votes import count_votes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Basins:
    """States of the density: points that stand for it, their shares and states from 0."""

    points: Array
    shares: Array
    labels: Array

    @property
    def count(self) -> int:
        return int(self.labels.max()) + 1

    def of(self, mean: Array, covariance: Array) -> Array:
        """State (n,) from 0 of particles, from posteriors under a standard normal prior."""
        projected, information = likelihood_of(mean, covariance)
        return likeliest_basins(
            projected, information, self.points, self.shares, self.labels, self.count
        )


def run_density_votes(
    project: Path,
    output: Path,
    *,
    threshold: str = "1/2",
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Put every particle into the basin of the density that the folds which saw it vote for.

    Parameters
    ----------
    project : Path
        Project folder with ``particle_landscape``.
    output : Path
        Output folder; the same files as of `vote`.
    threshold : str
        Votes that a state needs, as for `vote`.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        Tables and report.
    """
    landscape = project / files.PARTICLE_LANDSCAPE
    resample = resample_of(landscape)
    if resample is None or not (landscape / BASINS_NPZ).is_file():
        raise InputError(
            f"{landscape / BASINS_NPZ}: missing; `alphacryo4d landscape particles --i {project}` "
            "writes it where there is a structure"
        )
    inputs = [
        input_table_path(resample), resample / files.GROUPS_NPY, landscape / BASINS_NPZ,
        landscape / COORDINATES, landscape / COVARIANCES,
    ]  # fmt: skip
    options = {"vote_density": {"threshold": threshold}}
    with start_job(output, stage="vote", options=options, inputs=inputs, flags=flags) as job:
        if not job.finished:
            _vote(job, landscape, resample, threshold)
        return main_outputs(job.target)


def _vote(job: Job, landscape: Path, resample: Path, threshold: str) -> None:
    table = input_table(resample)
    groups = read_groups(resample, table.rows)
    stored = load_archive(landscape / BASINS_NPZ)
    basins = _Basins(stored["points"], stored["shares"], stored["states"].astype(np.int64) - 1)
    count, folds = basins.count, int(groups[:, 1].max())
    outliers = read_outliers(resample)
    labels, heldout = _labels(landscape, groups, basins)
    base = ((groups[:, 0].astype(np.int64) - 1)[:, None] * folds + np.arange(folds)) * count
    assignments = np.where(labels >= 0, base + labels, -1).astype(np.int32)
    seen = labels >= 0
    seen[outliers] = False
    assignments[~seen] = files.DROPPED
    rows = np.arange(len(groups))
    assignments[rows, groups[:, 1] - 1] = files.LEFT_OUT
    heldout = (base[rows, groups[:, 1] - 1] + heldout).astype(np.int32)
    heldout[outliers] = files.DROPPED
    volume_states = np.tile(
        np.arange(1, count + 1, dtype=np.int32), int(groups[:, 0].max()) * folds
    )
    written = [
        files.save_array(job.folder / files.ASSIGNMENTS_NPY, assignments),
        files.save_array(job.folder / files.HELDOUT_NPY, heldout),
    ]
    needed = votes_needed(threshold, folds - 1)
    path = job.folder / files.VOTES_NPY
    with files.create_array(path, (len(groups), count), np.uint8) as votes:
        election = count_votes(assignments, volume_states, count, needed=needed, out=votes)
    signal = read_signal(resample, table.rows)
    more = signal_columns(signal, outliers)
    written += [path, *write_vote_result(job.folder, table, election, count, {}, more)]
    report: dict[str, Any] = make_report(
        assignments, volume_states, count, election, votes, batches=groups[:, 0]
    )
    add_heldout(report, heldout, election, volume_states, count)
    report["votes_needed"] = needed
    add_images(report, table_images(table), election.states)
    add_junk(report, signal, outliers, election.states)
    written += write_report(job.folder, report, show=True)
    job.note(voted=election.kept, states=count)
    job.complete("count", written)


def _labels(landscape: Path, groups: Array, basins: _Basins) -> tuple[Array, Array]:
    """State (P, M + 1) from 0 by every fold that saw a particle, else -1; and by the other one."""
    coordinates = files.load_array(landscape / COORDINATES, ndim=2)
    covariances = files.load_array(landscape / COVARIANCES, ndim=2, memory_map=True)
    kept, d = coordinates.shape[1], basins.points.shape[1]
    own = unpacked(np.asarray(covariances), kept)[:, :d, :d]
    folds = int(groups[:, 1].max())
    stored = [read_fold(landscape, 1, fold)["cubes"] for fold in range(1, folds + 1)]
    options = (read_job(landscape) or {}).get("options", {}).get("particles", {})
    frame = common_frame(stored, int(options.get("components", kept)))
    labels = np.full((len(groups), folds), -1, np.int64)
    for batch in range(1, int(groups[:, 0].max()) + 1):
        members = np.flatnonzero(groups[:, 0] == batch)
        for fold in range(1, folds + 1):
            rows = members[groups[members, 1] != fold]
            mean = _seen(landscape, frame, batch, fold)
            if len(mean) != len(rows):
                raise InputError(
                    f"{fold_file(landscape, batch, fold)}: has {len(mean)} particles, the groups "
                    f"have {len(rows)}; run `landscape particles` again"
                )
            labels[rows, fold - 1] = basins.of(mean[:, :d], own[rows])
    return labels, basins.of(coordinates[:, :d], own)


def _seen(landscape: Path, frame: Frame, batch: int, fold: int) -> Array:
    """Coordinates in the frame of the particles that a fold has seen."""
    stored = read_fold(landscape, batch, fold)
    offset, turn = frame.from_fold(stored["cubes"])
    return np.asarray((stored["seen"] - offset) @ np.linalg.pinv(turn).T)
