"""What the voting stage reads of the stages before it, and the count of the votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.contents import require_intact
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import read_table
from alphacryo4d.landscape.states import assign_volumes
from alphacryo4d.voting.nearest import assign_nearest
from alphacryo4d.voting.options import VoteOptions, votes_needed
from alphacryo4d.voting.report import make_report
from alphacryo4d.voting.votes import VoteResult, count_votes

MakeLandscape = Callable[[Path, Path, int], object]


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
    needed = ("ac4dCenterX", "ac4dCenterY", "ac4dRadius")
    table = read_table(path, "states", numbers=needed)
    centers = np.column_stack([table[name].to_numpy(float) for name in needed[:2]])
    radii = table["ac4dRadius"].to_numpy(float)
    points = files.load_array(_intact(landscape / files.EMBEDDING_NPY), dtype=np.floating, ndim=2)
    own = landscape / files.VOLUME_STATES_NPY
    if own.is_file():
        volume_states = files.load_array(_intact(own), dtype=np.integer, ndim=1).astype(np.int32)
        if len(volume_states) != len(points) or volume_states.max(initial=0) > len(centers):
            raise InputError(f"{own}: does not fit {path}; run the landscape stage again")
    else:
        volume_states = assign_volumes(points, centers, radii)
    return States(centers, radii, points.astype(np.float64), volume_states)


def elect(assignments: Array, states: States, options: VoteOptions, votes: Array) -> VoteResult:
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
    resample: Path, states: States, options: VoteOptions, election: VoteResult, votes: Array
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


def _intact(path: Path) -> Path:
    """An array, refused where it does not hold what its stage wrote.

    Its numbers are places in other arrays: a bit that flips names a volume that there is not.
    """
    require_intact([path])
    return path


def read_assignments(resample: Path) -> Array:
    """``assignments.npy``, memory-mapped."""
    return files.load_array(
        _intact(resample / files.ASSIGNMENTS_NPY), dtype=np.integer, ndim=2, memory_map=True
    )


def read_batches(resample: Path, particles: int) -> Array:
    """Batch of every particle from 1, (P,), from ``groups.npy``."""
    return read_groups(resample, particles)[:, 0]


def read_groups(resample: Path, particles: int) -> Array:
    """Batch and group of every particle, both from 1, (P, 2)."""
    path = resample / files.GROUPS_NPY
    groups = files.load_array(_intact(path), dtype=np.integer, ndim=2)
    if groups.shape != (particles, 2):
        raise InputError(
            f"{path}: has shape {groups.shape}, not ({particles}, 2); run the resample stage again"
        )
    return groups


def read_fold_groups(resample: Path, particles: int) -> Array:
    """:func:`read_groups` where every fold of a batch holds particles and leaves some out.

    Raises
    ------
    InputError
        A fold does not: its classification cannot be judged by particles that it has not seen.
    """
    groups = read_groups(resample, particles)
    for batch in np.unique(groups[:, 0]).tolist():
        own = groups[groups[:, 0] == batch, 1]
        left = np.bincount(own, minlength=int(groups[:, 1].max()) + 1)[1:]
        wrong = np.flatnonzero((left == 0) | (left == len(own)))
        if wrong.size:
            fold = int(wrong[0])
            what = "leaves no particle out" if left[fold] == 0 else "holds no particle"
            raise InputError(
                f"{resample / files.GROUPS_NPY}: batch {batch}, fold {fold + 1} {what}; states are "
                "judged by particles that a fold has not seen: make the folds with `alphacryo4d "
                "resample`, or give `resample collect` classifications that leave out one part of "
                "the particles each"
            )
    return groups


def read_outliers(resample: Path) -> Array:
    """Rows, from 0, of particles that took no part in the resampling and have no vote."""
    path = resample / files.OUTLIERS_NPY
    if not path.is_file():
        return np.empty(0, np.int64)
    return files.load_array(_intact(path), dtype=np.integer, ndim=1)


def read_signal(resample: Path, particles: int) -> Array | None:
    """Amplitude of the particle in every image, its error and whether it is junk, (P, 3).

    None where the resampling did not measure it.
    """
    path = resample / files.SIGNAL_NPY
    if not path.is_file():
        return None
    signal = files.load_array(_intact(path), dtype=np.floating, ndim=2)
    if signal.shape != (particles, 3):
        raise InputError(
            f"{path}: has shape {signal.shape}, not ({particles}, 3); run the resample stage again"
        )
    return signal


def read_heldout(resample: Path, particles: int) -> Array | None:
    """Best volume of the fold that left a particle out, (P,); None where it was not made."""
    path = resample / files.HELDOUT_NPY
    if not path.is_file():
        return None
    heldout = files.load_array(_intact(path), dtype=np.integer, ndim=1)
    if len(heldout) != particles:
        raise InputError(
            f"{path}: has {len(heldout)} particles, not {particles}; run the resample stage again"
        )
    return heldout
