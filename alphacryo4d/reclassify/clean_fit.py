"""States of a fold, fitted without the junk that would be one of them.

Junk that was not named, some hundredths of the particles, is more unlike all states than two
neighbours are unlike each other: a search for the mixture of the best likelihood gives it a state
and makes one of two others. The signals of its images tell such a state, and it is fitted anew
without them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.state_fit import FormerFit, StateFit, fit_states
from alphacryo4d.voting.junk import states_of_junk

logger = logging.getLogger(__name__)

TIMES = 2
"""Fits without junk at most."""
MOST = 0.1
"""Share of the particles that are taken for junk at most."""


def fit_without_junk(
    poses: MovingPoses,
    rows: Array,
    start: Array,
    options: FitOptions,
    signal: Array | None,
    *,
    solvent: Array | None = None,
    before: FormerFit | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[StateFit, Array]:
    """Fit states as :func:`fit_states`, without images that make a state of junk.

    Parameters
    ----------
    poses, rows, start, options, solvent, before, check
        As :func:`fit_states` takes them. What was junk in the round before stays out.
    signal : (n, 3) array or None
        Signal of ``rows``, of which the first column is read; None fits all.

    Returns
    -------
    StateFit
    used : (m,) int array
        Places in ``rows`` that the fit is of.
    """
    used = np.arange(len(rows))
    if before is not None:
        used = np.setdiff1d(used, before.junk)
    rotations, shifts = poses.rotations[rows].copy(), poses.shifts[rows].copy()
    refits = 0 if signal is None else TIMES
    while True:
        fit = fit_states(
            poses, rows[used], start[used], options, solvent=solvent, before=before, check=check
        )
        if signal is None or not refits:
            return fit, used
        labels = fit.posteriors.argmax(axis=1).astype(np.int32) + 1
        junk = np.isin(labels, states_of_junk(signal[used], labels))
        if not junk.any() or len(used) - junk.sum() < (1 - MOST) * len(rows):
            return fit, used
        del fit  # its grid holds buffers of gigabytes
        logger.info("%d images without the particle made a state: fitted without them", junk.sum())
        used, refits = used[~junk], refits - 1
        # whether poses were fitted to their images is asked of those given, not of moved ones
        poses.put(rows, rotations, shifts)
