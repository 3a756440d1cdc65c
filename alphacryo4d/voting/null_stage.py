"""`vote --null`: what one conformation would look like after the same stages.

The null particles of every batch are classified fold by fold. Their volumes and assignments are
left in ``null/resample`` as the resample stage leaves those of the data, so that the landscape
stage and the votes take them like any others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import DROPPED, LEFT_OUT
from alphacryo4d.core.job import Job, read_job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.reading import load_archive
from alphacryo4d.core.words import plural
from alphacryo4d.io.star import read_table, write_tables
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.voting.inputs_stage import (
    MakeLandscape,
    elect,
    read_assignments,
    read_states,
    report_of,
)
from alphacryo4d.voting.null import NullFold, classify_null, simulate_null
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.recorded_stage import BatchImages, Recorded, read_mask
from alphacryo4d.voting.report import REPORT_JSON, add_support
from alphacryo4d.voting.support_stage import support_of_votes

logger = logging.getLogger(__name__)


NULL = "null"
"""Folder of the null model in a voting folder."""
_SEED = 78


def null_images(
    particles: ParticleSet,
    groups: Array,
    recorded: Recorded,
    *,
    threads: int | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
) -> BatchImages:
    """Null particles of every batch: its consensus at its poses, with its CTF and noise."""
    solvent = None if recorded.mask is None else read_mask(recorded.mask, particles)

    def simulated(images: PreparedImages, batch: int) -> PreparedImages:
        return simulate_null(
            images,
            np.random.default_rng([_SEED, batch]),
            mask_diameter=recorded.classify.mask_diameter,
            solvent=solvent,
            threads=threads,
        )

    return BatchImages(
        particles, groups, recorded, change=simulated, threads=threads, memory=memory,
        scratch=scratch,
    )  # fmt: skip


def say_cost(resample: Path, images: BatchImages) -> None:
    """Say what the null model will take, before it starts."""
    seconds = (read_job(resample) or {}).get("seconds")
    took = "" if seconds is None else f" (which took {seconds / 60:.0f} min there)"
    logger.info(
        "null model: %d particles of the consensus in %s are simulated, and their %d folds "
        "classified, which takes about as long as `resample`%s",
        len(images.groups),
        plural(images.batches, "batch", "batches"),
        images.batches * images.folds,
        took,
    )


def vote_of_null(
    job: Job,
    resample: Path,
    images: BatchImages,
    state_count: int,
    options: VoteOptions,
    make_landscape: MakeLandscape,
) -> tuple[dict[str, Any], list[Path]]:
    """Take the null particles through folds, landscape, votes and the held-out test.

    Parameters
    ----------
    job : Job
        Of the voting folder.
    resample : Path
        Folder of the resample stage.
    images : BatchImages
        Of :func:`null_images`.
    state_count : int
        States of the data: the null gets as many.
    options : VoteOptions
        Rule of the votes.
    make_landscape : callable
        As :func:`alphacryo4d.voting.stage.run_vote` takes it.

    Returns
    -------
    dict, list of Path
        Report of the null's votes, and the files written.
    """
    say_cost(resample, images)
    folder = make_null(job, resample, images)
    landscape = job.folder / NULL / files.LANDSCAPE
    make_landscape(folder, landscape, state_count)
    states = read_states(landscape)
    votes = np.empty((len(images.groups), states.count), np.uint8)
    election = elect(read_assignments(folder), states, options, votes)
    report = report_of(folder, states, options, election, votes)
    support = support_of_votes(
        folder, images, states.volume_states, states.count, threads=images.threads
    )
    add_support(report, support)
    path = job.folder / NULL / REPORT_JSON
    return report, [files.write_text(path, json.dumps(report, indent=1) + "\n")]


def make_null(job: Job, resample: Path, images: BatchImages) -> Path:
    """Classify the null particles of all batches as the resample stage did the data.

    Parameters
    ----------
    job : Job
        Of the voting folder; finished folds are not done again.
    resample : Path
        Folder of the resample stage.
    images : BatchImages
        Of :func:`null_images`.

    Returns
    -------
    Path
        Folder with ``volumes.star``, ``volumes.npy``, ``assignments.npy``, ``heldout.npy`` and
        ``groups.npy``.
    """
    folder = job.folder / NULL / files.RESAMPLE
    needed = ("rlnImageSize", "rlnPixelSize")
    like = read_table(resample / files.VOLUMES_STAR, "volumes", numbers=needed)
    box, voxel = int(like["rlnImageSize"].iloc[0]), float(like["rlnPixelSize"].iloc[0])
    places = [(b, f) for b in range(1, images.batches + 1) for f in range(1, images.folds + 1)]
    with show_progress("null model") as progress:
        for done, (batch, fold) in enumerate(places):
            progress(done, len(places), f"batch {batch} fold {fold}")
            _classify(job, _fold_path(folder, batch, fold), images, batch, fold, box)
        progress(len(places), len(places))
    written = [
        *_gather(folder, images, places, box, voxel),
        files.save_array(folder / files.GROUPS_NPY, images.groups),
    ]
    job.complete("null", written)
    return folder


def _fold_path(folder: Path, batch: int, fold: int) -> Path:
    return folder / f"batch{batch}_fold{fold}.npz"


def _classify(job: Job, path: Path, images: BatchImages, batch: int, fold: int, box: int) -> None:
    """Classify one fold and keep the result, unless that is there."""
    step = f"null {path.stem}"
    if job.completed(step):
        return
    recorded, particles = images.recorded, images.particles
    solvent, focus = (
        None if mask is None else read_mask(mask, particles)
        for mask in (recorded.mask, recorded.classify.focus_mask)
    )
    null_fold = classify_null(
        images.of(batch),
        images.left_out(batch, fold),
        recorded.classify,
        np.random.default_rng([_SEED, batch, fold]),
        minimum_class_size=recorded.minimum_class_size,
        box=box,
        solvent=solvent,
        focus=focus,
        threads=images.threads,
    )
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **vars(null_fold))
    job.complete(step, [path])


def _read_folds(folder: Path, places: list[tuple[int, int]]) -> Iterator[NullFold]:
    for batch, fold in places:
        stored: dict[str, Any] = load_archive(_fold_path(folder, batch, fold))
        yield NullFold(**stored)


def _gather(
    folder: Path, images: BatchImages, places: list[tuple[int, int]], box: int, voxel: float
) -> list[Path]:
    """Join the folds as the resample stage joins those of the data."""
    least, folds = images.recorded.minimum_class_size, images.folds
    assignments = np.full((len(images.groups), folds), LEFT_OUT, np.int32)
    heldout = np.full(len(images.groups), LEFT_OUT, np.int32)
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "ac4dVolumeName", "ac4dBatch", "ac4dFold", "rlnClassNumber", "ac4dParticleCount",
            "rlnEstimatedResolution",
        )
    }  # fmt: skip
    count = sum(int((null_fold.counts >= least).sum()) for null_fold in _read_folds(folder, places))
    if count == 0:
        raise InputError(f"{folder}: no class of the null model has {least} particles")
    shape = (count, box, box, box)
    with files.create_array(folder / files.VOLUMES_NPY, shape, np.float32) as volumes:
        for (batch, fold), null_fold in zip(places, _read_folds(folder, places), strict=True):
            kept = np.flatnonzero(null_fold.counts >= least)
            first = len(columns["ac4dBatch"])
            row_of_class = np.full(len(null_fold.counts) + 1, DROPPED, np.int32)
            row_of_class[kept] = np.arange(first, first + len(kept))
            volumes[first : first + len(kept)] = null_fold.volumes[kept]
            rows, left = images.rows(batch), images.left_out(batch, fold)
            assignments[rows[~left], fold - 1] = row_of_class[null_fold.labels]
            heldout[rows[left]] = row_of_class[null_fold.heldout]
            columns["ac4dVolumeName"] += [
                files.volume_name(batch, fold, folds, k + 1) for k in kept.tolist()
            ]
            columns["ac4dBatch"] += [batch] * len(kept)
            columns["ac4dFold"] += [fold] * len(kept)
            columns["rlnClassNumber"] += (kept + 1).tolist()
            columns["ac4dParticleCount"] += null_fold.counts[kept].tolist()
            columns["rlnEstimatedResolution"] += [float(null_fold.resolution)] * len(kept)
    columns |= {"rlnPixelSize": [voxel] * count, "rlnImageSize": [box] * count}
    return [
        write_tables(folder / files.VOLUMES_STAR, {"volumes": columns}),
        folder / files.VOLUMES_NPY,
        files.save_array(folder / files.ASSIGNMENTS_NPY, assignments),
        files.save_array(folder / files.HELDOUT_NPY, heldout),
    ]
