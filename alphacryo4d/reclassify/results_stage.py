"""What a reclassification starts from, what a round finds, and the votes counted from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import NO_ROWS, Array
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.particles.copies import copied_images
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.reclassify.changing import (
    SplitGain,
)
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.folds import fold_assignments
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.voting.losses import mean_and_error
from alphacryo4d.voting.options import votes_needed
from alphacryo4d.voting.recorded_stage import Recorded
from alphacryo4d.voting.support import Support
from alphacryo4d.voting.votes import VoteResult, count_votes, require_heldout


@dataclass
class RoundInputs:
    """What all rounds share: the particles, their groups, the first states, the options."""

    particles: ParticleSet
    groups: Array
    options: ReclassifyOptions
    fit: FitOptions
    recorded: Recorded
    flags: RunFlags
    outliers: Array = field(default_factory=lambda: NO_ROWS)
    """Particles (rows of the table) that took no part in the resampling, and take none here."""
    signal: Array | None = None
    """(P, 3) of which the first column is the amplitude of the particle in its image."""

    @property
    def folds(self) -> int:
        """Number of folds, M + 1."""
        return int(self.groups[:, 1].max())

    @cached_property
    def copies(self) -> Array | None:
        """Image of every particle, (P,) int, where some are copies of one."""
        return copied_images(self.particles)


@dataclass(frozen=True)
class FoldFit:
    """What the next round of a fold goes on from; folds do not share it."""

    rotations: Array
    """(n, 3) changes of the poses of its batch (rotation vectors, degrees)."""
    shifts: Array
    """(n, 2) changes (A)."""
    from_images: bool
    """Whether the given poses were fitted to the images, and so are free."""
    archive: Path
    """File with its noise, mean and components."""


@dataclass
class Round:
    """Outcome of one round for all particles (P of them)."""

    labels: Array
    """(P, M+1) int32: state from 0 in every fold, -1 where left out."""
    confidence: Array
    """(P, M+1) float32: posterior of that state."""
    heldout: Array
    """(P,) int32: state from 0 of the fold that left the particle out, all equally frequent."""
    weighted: Array
    """(P,) int32: the same where it counts how frequent the states are."""
    sides: Array
    """(P, M+1) float32: log of the ratio of the two sides of its state, NaN where left out."""
    likelihood: Array
    """(P,) float64: log-likelihood by the fold that left the particle out, but for a constant."""
    support: Support | None = None
    split: SplitGain | None = None
    log: list[str] = field(default_factory=list)
    fits: dict[tuple[int, int], FoldFit] = field(default_factory=dict)
    """By batch and fold."""
    copies: Array | None = None
    """(P,) int: image of every particle, where some are copies of one."""

    @property
    def free_poses(self) -> bool:
        """Whether poses were fitted to the images, and so are free."""
        return any(fit.from_images for fit in self.fits.values())

    def rise_since(self, before: Round) -> tuple[float, float]:
        """Rise of the held-out log-likelihood (nats per particle), and its standard error."""
        return mean_and_error(self.likelihood - before.likelihood, self.copies)

    def heldout_pose_changes(self, groups: Array) -> tuple[Array, Array]:
        """Changes of the poses (P, 3) and (P, 2) by the fold that left each particle out."""
        rotations, shifts = np.zeros((len(groups), 3)), np.zeros((len(groups), 2))
        for (batch, fold), fit in self.fits.items():
            members = np.flatnonzero(groups[:, 0] == batch)
            left = np.flatnonzero(groups[members, 1] == fold + 1)
            rotations[members[left]], shifts[members[left]] = fit.rotations[left], fit.shifts[left]
        return rotations, shifts


def as_assignments(
    inputs: RoundInputs, this_round: Round, count: int
) -> tuple[Array, Array, Array]:
    """Assignments (P, M+1), state of every volume (V,), held-out volume (P,)."""
    folds = inputs.folds
    batch = inputs.groups[:, 0].astype(np.int64) - 1
    base = (batch[:, None] * folds + np.arange(folds)) * count
    assignments = fold_assignments(
        this_round.labels, this_round.confidence, base, inputs.options.minimum_posterior
    )
    own = base[np.arange(len(batch)), inputs.groups[:, 1] - 1]
    volumes = (int(batch.max()) + 1) * folds
    volume_states = np.tile(np.arange(1, count + 1, dtype=np.int32), volumes)
    return assignments, volume_states, (own + this_round.heldout).astype(np.int32)


def elect(
    inputs: RoundInputs, this_round: Round, count: int, votes: Array
) -> tuple[VoteResult, ...]:
    """Votes (P, K) of one round, and the result before and after the held-out folds are asked."""
    assignments, volume_states, _ = as_assignments(inputs, this_round, count)
    needed = votes_needed(inputs.options.threshold, inputs.folds - 1)
    first = count_votes(assignments, volume_states, count, needed=needed, out=votes)
    if not inputs.options.require_heldout:
        return first, first
    return first, require_heldout(first, this_round.heldout + 1)
