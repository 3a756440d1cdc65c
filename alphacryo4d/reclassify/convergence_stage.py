"""Rounds of a reclassification until the states have converged, by held-out likelihood."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import NoResultError
from alphacryo4d.core.job import Job
from alphacryo4d.core.words import plural
from alphacryo4d.reclassify.changing import (
    Plan,
    apply_changes,
    log_line,
    plan_changes,
    renumbered,
    say_plan,
)
from alphacryo4d.reclassify.folds import changed_share
from alphacryo4d.reclassify.results_stage import Round, RoundInputs, elect
from alphacryo4d.reclassify.rounds_stage import Rounds
from alphacryo4d.reclassify.splitting import matched_sides
from alphacryo4d.voting.support import SIGNIFICANT, Support

logger = logging.getLogger(__name__)

LEAST_RISE = 0.1
"""Rise of the held-out log-likelihood (nats per particle) from which it counts, free poses."""
HARDLY_ANY = 0.01
"""Share of particles with another state up to which free poses need no further round: they are as
good as states need them."""
MORE_VOTED = 1.01
"""Factor between the particles voted in two rounds from which folds agree on more."""
_FALLEN = "fewer than two states have particles"
_DRIFT = "more particles change their state than in the round before, and the states drift"


def run_rounds(job: Job, inputs: RoundInputs, states: Array) -> tuple[Round, Array, list[str]]:
    """Run rounds until the states have converged, and with them poses that are free.

    Returns
    -------
    best : Round
        Last round.
    kept : (K,) int array
        Number of each remaining state in the first votes.
    log : list of str
        What happened and why.
    """
    rounds, options, batches = Rounds(job, inputs), inputs.options, inputs.groups[:, 0]
    kept = np.unique(states[states > 0])
    states = renumbered(states, kept)
    log: list[str] = []
    best, past = None, _Past(used=int(kept.max()))
    for turn in range(1, options.rounds + 1):
        began = time.monotonic()
        this_round = rounds.run_round(turn, states, len(kept))
        votes = np.empty((len(states), len(kept)), np.uint8)
        _, election = elect(inputs, this_round, len(kept), votes)
        changed = changed_share(states, election.states)
        support, split = this_round.support, this_round.split
        assert support is not None
        assert split is not None
        voted = f"{plural(len(kept), 'state')}, {election.kept} of {len(states)} particles voted"
        log_line(log, f"round {turn}: {voted}, {100 * changed:.1f}% changed; {_gain(support)}")
        log += this_round.log
        # how long it took is no result, and not in the report
        logger.info("round %d: took %.0f s", turn, time.monotonic() - began)
        fallen = len(kept) > 1 and len(np.unique(election.states[election.states > 0])) < 2
        why = past.objection(this_round, support.gain, changed, election.kept, options.converged)
        why = why or (_FALLEN if fallen and best is not None else "")
        if past.rise is not None:
            log_line(log, f"round {turn}: held-out log-likelihood {past.words}")
        if why:
            log_line(log, f"round {turn}: {why}; the round before stays")
            break
        past.take(this_round, support.gain, changed, election.kept)
        best, best_kept = this_round, kept
        if not support.real:
            log_line(log, f"round {turn}: states are not supported by held-out particles")
            break
        if fallen:
            raise NoResultError(_apart(turn, election.kept, len(states), inputs.fit.move))
        rounds.go_on_from(this_round)
        states = election.states
        plan = plan_changes(support, split, merge=options.merge, split_too=options.split)
        if plan.nothing and changed <= options.converged and past.settled:
            most = HARDLY_ANY if past.hardly_changed else options.converged
            log_line(log, f"round {turn}: {_few(changed, most)}: no further round")
            break
        if not plan.nothing:
            say_plan(log, turn, plan, kept, applied=turn < options.rounds)
            sides = matched_sides(this_round.sides, this_round.labels, states - 1, batches)
            states, kept = apply_changes(plan, states, kept, sides, past.used)
            past.expect(plan)
    assert best is not None
    _weigh(best, log)
    return best, best_kept, log


def _weigh(best: Round, log: list[str]) -> None:
    """Weigh states by their particles where a particle's held-out fold names its state.

    States of the rounds before must not shrink because they are small; the last word may say so.
    """
    moved = int(np.count_nonzero(best.weighted != best.heldout))
    if moved:
        log_line(
            log,
            "states weighed by their particles, for the last count of votes: "
            f"{plural(moved, 'particle')} with another state in the fold that left it out",
        )
    best.heldout = best.weighted


def _gain(support: Support) -> str:
    return (
        f"held-out log-likelihood gain per particle: {support.gain:.3f} +- {support.error:.3f} nats"
    )


def _few(changed: float, most: float) -> str:
    """That no more particles changed their states than may without another round."""
    return f"{100 * changed:.1f}% changed, not more than {100 * most:g}%"


def _apart(turn: int, voted: int, particles: int, moved: bool) -> str:
    """What is wrong where the folds of the first round find states that do not fit together."""
    why = (
        f"round {turn}: {_FALLEN} ({voted} of {particles} have the votes that a state needs): the "
        "folds found other states, "
    )
    if not moved:
        return (
            f"{why}with the poses of the table; votes of fewer states (`landscape --states`) leave "
            "more particles to each"
        )
    return (
        f"{why}most likely since poses moved until states were one; `alphacryo4d vote reclassify "
        "--no-refine-poses` keeps the poses of the table"
    )


@dataclass
class _Past:
    """What the rounds so far reached, and whether another one makes it better.

    Where poses were measured apart from the images, the held-out gain over one consensus has to
    rise, and fewer particles have to change their state each time; with fewer states it may fall as
    far as chance makes it. Free poses change the consensus
    too: there the likelihood of the images themselves has to rise, or hardly to fall where the gain
    rises or folds agree on more particles.
    """

    round: Round | None = None
    floor: float = -np.inf
    changed: float = 1.0
    voted: float = 0
    price: float = 0.0
    fewer: bool = False
    rise: tuple[float, float] | None = None
    used: int = 0
    """Largest number that a state has ever had."""

    def objection(
        self, this_round: Round, gain: float, changed: float, voted: int, converged: float
    ) -> str:
        """Why a round is not better than the one before; empty where it is."""
        if self.round is None:
            return ""
        if this_round.free_poses:
            self.rise = this_round.rise_since(self.round)
            rise = self.rise[0] + self.price
            better = gain > self.floor or voted > MORE_VOTED * self.voted
            larger = (better and rise > -LEAST_RISE) or rise > SIGNIFICANT * self.rise[1]
            return "" if larger else "held-out log-likelihood no larger"
        if gain <= self.floor and not (self.fewer and self._as_likely(this_round)):
            return "held-out gain no larger"
        return _DRIFT if changed > max(self.changed, converged) else ""

    def _as_likely(self, this_round: Round) -> bool:
        """Whether left-out particles are not significantly less likely than before."""
        assert self.round is not None
        rise, error = this_round.rise_since(self.round)
        return rise + self.price >= -SIGNIFICANT * error

    @property
    def words(self) -> str:
        """The rise of the likelihood."""
        assert self.rise is not None
        return f"rose by {self.rise[0]:.3f} +- {self.rise[1]:.3f} nats per particle"

    def take(self, this_round: Round, gain: float, changed: float, voted: int) -> None:
        """A round that is the best so far."""
        self.round, self.floor, self.changed, self.price = this_round, gain, changed, 0.0
        self.voted = voted
        self.fewer = False

    @property
    def hardly_changed(self) -> bool:
        """Whether poses are free, and next to no particles changed their state."""
        assert self.round is not None
        return self.round.free_poses and self.changed <= HARDLY_ANY

    @property
    def settled(self) -> bool:
        """Whether poses are; free ones are once states or the likelihood hardly change."""
        assert self.round is not None
        if not self.round.free_poses or self.hardly_changed:
            return True
        return self.rise is not None and self.rise[0] < LEAST_RISE

    def expect(self, plan: Plan) -> None:
        """States change before the next round: they may cost a little, and move particles."""
        self.changed = 1.0
        self.voted = np.inf  # folds agree on more particles, or fewer, where states are others
        self.used += len(plan.splitting)
        if not plan.splitting.size:
            self.floor -= plan.price
            self.price = plan.price
            self.fewer = bool(plan.leaving.size)
