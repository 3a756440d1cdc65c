"""`vote --null`: the agreement that one conformation would reach in the same pipeline."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.job import read_job
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles import ParticleSet
from alphacryo4d.particles_samples import prepare_rows
from alphacryo4d.voting import evidence
from alphacryo4d.voting.report import number
from alphacryo4d.voting.votes import count_votes

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


def classify_options(resample: Path) -> ClassifyOptions:
    """Options with which the resample stage classified."""
    record = read_job(resample) or {}
    recorded = record.get("options", {}).get("classify", {})
    known = {field.name for field in dataclasses.fields(ClassifyOptions)}
    return ClassifyOptions(**{name: value for name, value in recorded.items() if name in known})


def run_null(
    resample: Path,
    particles: ParticleSet,
    groups: Array,
    state_count: int,
    needed: int,
    *,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, Any]:
    """Figures of the null for the report; one batch is simulated and classified.

    It costs as much as the classification of one batch. Volumes are put into as many states as
    the data have, by k-means, since the landscape of another stage is not run here.
    """
    from alphacryo4d.voting.null import classify_null, group_volumes, null_support, simulate_null

    options = classify_options(resample)
    rows = np.flatnonzero(groups[:, 0] == 1)
    own = groups[rows, 1]
    logger.info(
        "null model: %d particles of the consensus are simulated and classified; this takes as "
        "long as the first classification of a batch",
        len(rows),
    )
    finest = min(options.limit_resolution, options.sharpen_to or options.limit_resolution)
    images = prepare_rows(particles, rows, finest, threads=threads)
    images = simulate_null(
        images,
        np.random.default_rng([seed, 78]),
        mask_diameter=options.mask_diameter,
        threads=threads,
    )
    folds = classify_null(images, own, options, seed, threads=threads)
    states = group_volumes(folds.volumes, state_count, seed)
    classes = states.shape[1]
    base = np.arange(states.shape[0]) * classes
    assignments = np.where(folds.labels >= 0, folds.labels + base, folds.labels).astype(np.int32)
    votes = np.empty((len(rows), state_count), np.uint8)
    election = count_votes(assignments, states.ravel(), state_count, needed=needed, out=votes)
    left = base[own - 1] + folds.heldout
    agreement, chance = evidence.heldout_agreement(
        election.states, left, states.ravel(), state_count
    )
    members = np.bincount(election.states, minlength=state_count + 1)[1:]
    total = max(int(members.sum()), 1)
    gain, error = null_support(images, own, folds, threads=threads)
    return {
        "particles": len(rows),
        "share_kept": number(election.kept / len(rows)),
        "heldout_agreement": number(float(np.nansum(agreement * members)) / total),
        "heldout_chance": number(float((chance * members).sum()) / total),
        "gain_per_particle": number(gain),
        "error": number(error),
        "states_are_real": bool(gain > 2 * error and gain * len(rows) > 20),
    }
