"""Rounds of a reclassification until the states have converged, by held-out likelihood."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job
from alphacryo4d.reclassify.changing import (
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

_DRIFT = "more particles change their state than in the round before, and the states drift"


def run_rounds(job: Job, inputs: RoundInputs, states: Array) -> tuple[Round, Array, list[str]]:
    """Run rounds until the states have converged.

    Returns
    -------
    found : Round
        Last round.
    kept : (K,) int array
        Number of each remaining state in the first votes.
    log : list of str
        What happened and why.
    """
    rounds, options = Rounds(job, inputs), inputs.options
    kept = np.unique(states[states > 0])
    states = renumbered(states, kept)
    log: list[str] = []
    best, floor, before = None, -np.inf, 1.0
    for turn in range(1, options.rounds + 1):
        found = rounds.run_round(turn, states, len(kept))
        votes = np.empty((len(states), len(kept)), np.uint8)
        _, election = elect(inputs, found, len(kept), votes)
        changed = changed_share(states, election.states)
        support, split = found.support, found.split
        assert support is not None
        assert split is not None
        log_line(
            log,
            f"round {turn}: {len(kept)} states, {election.kept} of {len(states)} particles voted, "
            f"{100 * changed:.1f}% changed; held-out log-likelihood gain per particle: "
            f"{support.gain:.3f} +- {support.error:.3f} nats",
        )
        log += found.log
        drift = best is not None and changed > max(before, options.converged)
        if support.gain <= floor or drift:
            why = _DRIFT if support.gain > floor else "held-out gain no larger"
            log_line(log, f"round {turn}: {why}; the round before stays")
            break
        best, best_kept, before, floor = found, kept, changed, support.gain
        if not support.real:
            log_line(log, f"round {turn}: states are not supported by held-out particles")
            break
        rounds.take_poses(found)
        states = election.states
        plan = plan_changes(support, split, merge=options.merge, split_too=options.split)
        if plan.nothing and changed <= options.converged:
            log_line(log, f"round {turn}: converged")
            break
        if not plan.nothing:
            say_plan(log, turn, plan, kept, applied=turn < options.rounds)
            sides = matched_sides(found.sides, found.labels, states - 1, inputs.groups[:, 0])
            states, kept = apply_changes(plan, states, kept, sides)
            before = 1.0
            if not plan.splitting.size:
                floor -= plan.price
    assert best is not None
    # states of the rounds before must not shrink because they are small; the last word may say so
    best.heldout = best.weighted
    return best, best_kept, log
