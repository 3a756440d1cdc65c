"""The likelihood test of the first votes on the particles that each fold left out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.contents import require_intact
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import show_progress
from alphacryo4d.io.star import read_table
from alphacryo4d.voting.losses import Losses
from alphacryo4d.voting.recorded_stage import BatchImages
from alphacryo4d.voting.support import (
    HeldOut,
    Support,
    heldout_evidence,
    measure_support,
)

logger = logging.getLogger(__name__)


def _volume_table(resample: Path, count: int) -> tuple[Array, Array, Array]:
    """Batch, fold and particles of every volume."""
    require_intact([resample / files.VOLUMES_NPY])
    needed = ("ac4dBatch", "ac4dFold", "ac4dParticleCount")
    table = read_table(resample / files.VOLUMES_STAR, "volumes", numbers=needed)
    if len(table) != count:
        raise InputError(
            f"{resample / files.VOLUMES_STAR}: does not hold the {count} volumes of "
            "the landscape; run the stages again"
        )
    batch, fold = (table[name].to_numpy(int) for name in needed[:2])
    return batch, fold, table[needed[2]].to_numpy(float)


def state_volumes(
    volumes: Array, states: Array, counts: Array, state_count: int
) -> tuple[Array, Array, Array]:
    """Volumes of the states of one fold: means of its classes, weighted by particles.

    Parameters
    ----------
    volumes : (v, m, m, m) array
        Classes of the fold.
    states : (v,) int array
        State of each class from 1, 0 for none.
    counts : (v,) int array
        Particles of each class.
    state_count : int

    Returns
    -------
    means : (k, m, m, m) float32
        Volumes of the states that the fold has.
    shares : (k,) float64
        Their shares of the particles that are in a state.
    present : (k,) int
        Which states these are, from 0.
    """
    present = np.array([k for k in range(state_count) if (states == k + 1).any()], np.int64)
    weight = np.stack([np.where(states == k + 1, counts, 0.0) for k in present])
    totals = weight.sum(axis=1)
    means = np.tensordot(weight / totals[:, None], np.asarray(volumes, np.float64), 1)
    return means.astype(np.float32), totals / totals.sum(), present


def _evidence(
    held_out: HeldOut, shares: Array, present: Array, count: int
) -> tuple[Array, Array, Array, Array]:
    """What a fold's left-out particles say, with columns for states that it lacks."""
    posteriors = np.zeros((len(held_out.posteriors), count), np.float32)
    posteriors[:, present] = held_out.posteriors
    prior = np.zeros(count)
    prior[present] = shares
    return (
        held_out.evidence,
        held_out.consensus,
        posteriors,
        np.broadcast_to(prior, posteriors.shape),
    )


def _tested_folds(
    batch: Array, fold: Array, images: BatchImages, volume_states: Array
) -> list[tuple[int, Array, Array]]:
    """Batch, volumes and left-out images of every fold that has states and such images."""
    folds = []
    for b in np.unique(batch).tolist():
        for f in np.unique(fold).tolist():
            members = np.flatnonzero((batch == b) & (fold == f))
            rows = np.flatnonzero(images.left_out(b, f))
            if (volume_states[members] > 0).any() and rows.size:
                folds.append((b, members, rows))
    return folds


def support_of_votes(
    resample: Path,
    images: BatchImages,
    volume_states: Array,
    state_count: int,
    *,
    copies: Array | None = None,
    threads: int | None = None,
) -> Support | None:
    """Test the states of the landscape on the particles that each fold left out.

    The volume of a state in a fold is the mean of the fold's classes in that state; it has not
    seen the left-out group.

    Parameters
    ----------
    resample : Path
        Folder with ``volumes.star`` and ``volumes.npy``.
    images : BatchImages
        Of all particles, at the resolution of the classification.
    volume_states, state_count : (V,) int array, int
        State of each volume from 1, 0 for none.
    copies : (P,) int array, optional
        Image of each particle, where some are copies of one (:func:`copied_images`).

    Returns
    -------
    Support or None
        None where no fold has two states.
    """
    batch, fold, counts = _volume_table(resample, len(volume_states))
    volumes = files.load_array(resample / files.VOLUMES_NPY, ndim=4, memory_map=True)
    losses = Losses.none(state_count)
    tests: list[tuple[Array, ...]] = []
    errors: list[tuple[float, float]] = []
    seen: list[Array] = []
    folds = _tested_folds(batch, fold, images, volume_states)
    with show_progress("held-out particles") as progress:
        for done, (b, members, rows) in enumerate(folds):
            progress(done, len(folds))
            *known, present = state_volumes(
                volumes[members], volume_states[members], counts[members], state_count
            )
            seen.append(images.rows(b)[rows])
            own = None if copies is None else copies[seen[-1]]
            held_out = heldout_evidence(
                images.of(b), rows, *known, resolution=images.recorded.resolution, copies=own,
                threads=threads,
            )  # fmt: skip
            errors.append(held_out.pose_sigma)
            losses.add(held_out.losses, present, len(rows), own)
            tests.append(_evidence(held_out, known[1], present, state_count))
        progress(1, 1)
    if not tests:
        return None
    turned, moved = np.mean(errors, axis=0)
    logger.info("pose sigma, estimated: %.2f degrees, %.2f A on each axis", turned, moved)
    joined = (np.concatenate(parts) for parts in zip(*tests, strict=True))
    own = None if copies is None else copies[np.concatenate(seen)]
    return measure_support(*joined, losses=losses, images=own)
