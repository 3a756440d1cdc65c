"""What the votes say about the states: figures for programs and a table for people."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.reclassify import evidence
from alphacryo4d.voting.null_figures import _shown, null_table, number
from alphacryo4d.voting.votes import VoteResult, outliers_named

if TYPE_CHECKING:
    from alphacryo4d.voting.support import Support

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

REPORT_JSON, REPORT_TXT = "report.json", "summary.txt"
_BATCHES_SHOWN = 10
"""Batches in the summary: those that differ most."""
_BIASED, _BIASED_LEAST = 3.0, 0.05
"""Cramer's V from which batches are called biased: so many times chance, and at least this."""


def make_report(
    assignments: Array,
    volume_states: Array,
    state_count: int,
    election: VoteResult,
    votes: Array,
    *,
    batches: Array,
    heldout: Array | None = None,
) -> dict[str, Any]:
    """Figures of an election: particles, share voted out, agreement, held-out, batches.

    Parameters
    ----------
    assignments : (P, M+1) int32 array
    volume_states : (V,) int32 array
    state_count : int
    election : VoteResult
    votes : (P, K) uint8 array
    batches : (P,) int array
        Batch of every particle, from 1.
    heldout : (P,) int array, optional
        Best volume of the fold that left the particle out.
    """
    members = np.bincount(election.states, minlength=state_count + 1)
    agreement = evidence.fold_agreement(assignments, volume_states, state_count)
    off = ~np.eye(assignments.shape[1], dtype=bool)
    lost = evidence.voted_out_share(votes, election.states)
    report: dict[str, Any] = {
        "particles": len(election.states),
        "voted": int(members[1:].sum()),
        "voted_out": int(members[0]),
        "states": int((members[1:] > 0).sum()),
        "folds": assignments.shape[1],
        "per_state": [
            {
                "state": k + 1,
                "particles": int(members[k + 1]),
                "energy_kt": number(_energy(members[k + 1], members[1:].sum())),
                "volumes": int((volume_states == k + 1).sum()),
                "share_voted_out": number(lost[k]),
                "fold_agreement": number(_mean(agreement[k][off])),
                "agreement_matrix": [[number(x) for x in row] for row in agreement[k]],
            }
            for k in range(state_count)
        ],
    }
    if heldout is not None:
        add_heldout(report, heldout, election, volume_states, state_count)
    report["batches"] = batch_figures(election.states, batches, state_count)
    return report


def batch_figures(states: Array, batches: Array, state_count: int) -> dict[str, Any]:
    """Populations batch by batch, and how far they differ."""
    shares, cramer = evidence.batch_bias(states, batches, state_count)
    outcomes = int((shares.sum(axis=0) > 0).sum())
    chance = evidence.bias_by_chance(len(states), len(shares), outcomes)
    return {
        "cramer_v": number(cramer),
        "cramer_v_by_chance": number(chance),
        "particles": np.bincount(batches, minlength=len(shares) + 1)[1:].tolist(),
        "shares": [[number(x) for x in row] for row in shares],
        "columns": "voted out, then the states",
    }


def batch_lines(batches: dict[str, Any]) -> list[str]:
    """Lines on the bias of batches; none for one batch."""
    shares = np.array(batches["shares"], np.float64)
    if len(shares) < 2:
        return []
    cramer, chance = batches["cramer_v"], batches["cramer_v_by_chance"]
    whole = np.average(shares, axis=0, weights=batches["particles"])
    lines = [
        f"populations of {len(shares)} batches: Cramer's V {cramer:.3f} "
        f"(0 equal, 1 each batch a state of its own; {chance:.3f} by chance)"
    ]
    farthest = np.abs(shares - whole).argmax(axis=1)
    for batch in np.argsort(-np.abs(shares - whole).max(axis=1), kind="stable")[:_BATCHES_SHOWN]:
        k = int(farthest[batch])
        name = "voted out" if k == 0 else f"in state {k}"
        lines.append(
            f"  batch {batch + 1}: differs most in the fraction {name}, "
            f"{shares[batch, k]:.3f} (all batches {whole[k]:.3f})"
        )
    if cramer > max(_BIASED * chance, _BIASED_LEAST):
        lines.append(
            "  BIAS: batches differ far beyond chance; states may be an artefact of the batches"
        )
    return lines


def add_heldout(
    report: dict[str, Any], heldout: Array, election: VoteResult, volume_states: Array, count: int
) -> None:
    """Put the agreement of the held-out folds with the votes into a report."""
    agreement, chance = evidence.heldout_agreement(election.states, heldout, volume_states, count)
    for entry, agreed, by_chance in zip(report["per_state"], agreement, chance, strict=True):
        entry["heldout_agreement"] = number(agreed)
        entry["heldout_chance"] = number(by_chance)
    members = np.bincount(election.states, minlength=count + 1)[1:].astype(np.float64)
    good = np.isfinite(agreement)
    total = max(float(members[good].sum()), 1.0)
    report["heldout_agreement"] = number((agreement[good] * members[good]).sum() / total)
    report["heldout_chance"] = number((chance[good] * members[good]).sum() / total)


def _energy(members: int, voted: int) -> float:
    """Energy -ln of a share in kT; NaN for none."""
    return float(-np.log(members / voted)) if members > 0 else float("nan")


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def write_report(folder: Path, report: dict[str, Any]) -> list[Path]:
    """Write ``report.json`` and the table of it that people read."""
    as_json = files.write_text(folder / REPORT_JSON, json.dumps(report, indent=1) + "\n")
    text = summary(report)
    logger.info("%s", text.rstrip())
    return [as_json, files.write_text(folder / REPORT_TXT, text)]


def summary(report: dict[str, Any]) -> str:
    """Table of the states as text, with what its columns mean."""
    tested = "support" in report
    voted = report["voted"] / max(report["particles"], 1)
    lines = [
        f"{report['particles']} particles = {report['voted']} voted ({100 * voted:.1f}%) + "
        f"{outliers_named(report)}; {report['states']} states; {_rule(report)}",
        "                                 voted   folds held-out     by"
        + ("    loss if merged" if tested else ""),
        "state particles energy volumes     out   agree    agree chance"
        + ("  (nats)       with" if tested else ""),
    ]
    lines += [_state_line(entry) for entry in report["per_state"]]
    lines += batch_lines(report["batches"])
    if "null" in report:
        lines += null_table(report["null"])
    lines += [report[name] for name in ("copies", "verdict") if name in report]
    return "\n".join([*lines, *_LEGEND, *(_LEGEND_TESTED if tested else ()), ""])


_LEGEND = (
    "energy (kT): -ln of the state's fraction of the voted particles. voted out: of the",
    "particles with a vote for the state, the fraction voted out. folds agree: how often another",
    "fold puts a particle of the state there too; folds share particles, so this is stability, not",
    "evidence. held-out agree: how often the fold that has not seen the particle puts it there;",
    "by chance: how often it puts any voted particle there. Particles of one conformation exceed",
    "chance as well, since both folds see the same image: --null shows by how much.",
)
_LEGEND_TESTED = (
    "loss if merged: held-out log likelihood (nats per particle) lost, with its",
    "standard error, if the state and the one that it can best be merged with became their mean.",
)


def _rule(report: dict[str, Any]) -> str:
    """How particles got their states, in words."""
    if report.get("assign") == "nearest":
        return "assigned to the nearest centre"
    return f"{report['votes_needed']} of {report['folds'] - 1} votes needed"


def _state_line(entry: dict[str, Any]) -> str:
    names = ("share_voted_out", "fold_agreement", "heldout_agreement", "heldout_chance")
    lost, folds, left, chance = (_shown(entry.get(name)) for name in names)
    line = (
        f"{entry['state']:5d} {entry['particles']:9d} {_shown(entry['energy_kt'], 2):>6s} "
        f"{entry['volumes']:7d} {lost:>7s} {folds:>7s} {left:>8s} {chance:>6s}"
    )
    if entry.get("support_gain") is not None:
        line += f"  {entry['support_gain']:.3f} +- {entry['support_error']:.3f}"
        line += f" {entry['merges_with']:3d}" + ("" if entry["supported"] else "  not supported")
    return f"{line}  {entry['name']}" if entry.get("name") else line


def add_support(report: dict[str, Any], support: Support | None) -> None:
    """Put the likelihood test into a report, in words too."""
    if support is None:
        return
    report["support"] = {
        "gain_per_particle": number(support.gain),
        "error": number(support.error),
        "states_supported": support.real,
    }
    report |= support.merging_figures()
    columns = (support.state_gain, support.state_error, support.supported, support.partner)
    gains = zip(*columns, strict=True)
    for entry, (gain, error, good, partner) in zip(report["per_state"], gains, strict=True):
        entry["support_gain"], entry["support_error"] = number(gain), number(error)
        entry["supported"], entry["merges_with"] = bool(good), int(partner) + 1
    report["verdict"] = verdict(support)


def verdict(support: Support) -> str:
    """One sentence on whether there are states."""
    figures = f"held-out gain per particle {support.gain:.4f} +- {support.error:.4f} nats"
    if not support.real:
        return (
            "States are not supported by held-out particles: these fit the states no better than "
            f"their mean ({figures}). The data are homogeneous, or too noisy to tell."
        )
    bad = np.flatnonzero(~support.supported)
    text = f"States are supported by held-out particles ({figures})."
    if bad.size:
        named = ", ".join(f"{k + 1} (as one with {support.partner[k] + 1})" for k in bad)
        text += f" Not supported: state {named}."
    return text
