"""The likelihood test of the first votes on the particles that each fold left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import show_progress
from alphacryo4d.io.star import read_tables
from alphacryo4d.voting.recorded_stage import BatchImages
from alphacryo4d.voting.support import (
    NEVER,
    Support,
    heldout_evidence,
    measure_support,
    state_volumes,
)

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


def support_of_votes(
    resample: Path,
    images: BatchImages,
    volume_states: Array,
    state_count: int,
    *,
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
    volume_states : (V,) int array
        State of each volume from 1, 0 for none.
    state_count : int
    threads : int, optional

    Returns
    -------
    Support or None
        None where no fold has two states.
    """
    table = read_tables(resample / files.VOLUMES_STAR).get("volumes")
    if table is None or len(table) != len(volume_states):
        raise InputError(
            f"{resample / files.VOLUMES_STAR}: does not hold the {len(volume_states)} volumes of "
            "the landscape; run the stages again"
        )
    volumes = files.load_array(resample / files.VOLUMES_NPY, ndim=4, memory_map=True)
    batch, fold = (table[name].to_numpy(int) for name in ("ac4dBatch", "ac4dFold"))
    counts = table["ac4dParticleCount"].to_numpy(float)
    tests: list[tuple[Array, ...]] = []
    losses = np.zeros((2, state_count, state_count))
    together = np.zeros((state_count, state_count), bool)
    errors: list[tuple[float, float]] = []
    whole = [(b, f) for b in np.unique(batch).tolist() for f in np.unique(fold).tolist()]
    with show_progress("held-out particles") as progress:
        for done, (b, f) in enumerate(whole):
            progress(done, len(whole))
            members = np.flatnonzero((batch == b) & (fold == f))
            rows = np.flatnonzero(images.left_out(b, f))
            if not (volume_states[members] > 0).any() or rows.size == 0:
                continue
            means, shares, present = state_volumes(
                volumes[members], volume_states[members], counts[members], state_count
            )
            found = heldout_evidence(
                images.of(b),
                rows,
                means,
                shares,
                resolution=images.recorded.resolution,
                threads=threads,
            )
            errors.append(found.errors)
            pairs = np.ix_(present, present)
            together[pairs] = True
            for total, more in zip(losses, found.losses, strict=True):
                total[pairs] += more
            posteriors = np.zeros((len(rows), state_count), np.float32)
            posteriors[:, present] = found.posteriors
            weights = np.zeros(state_count)
            weights[present] = shares
            shown = np.broadcast_to(weights, posteriors.shape)
            tests.append((found.evidence, found.consensus, posteriors, shown))
        progress(1, 1)
    if not tests:
        return None
    turned, moved = np.mean(errors, axis=0)
    logger.info("pose sigma, estimated: %.2f degrees, %.2f A on each axis", turned, moved)
    losses[0][~together] = NEVER
    return measure_support(
        *(np.concatenate(parts) for parts in zip(*tests, strict=True)),
        losses=(losses[0], losses[1]),
    )
