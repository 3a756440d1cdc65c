"""What the votes say about the states: figures for programs and a table for people."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.reading import read_object
from alphacryo4d.reclassify import evidence
from alphacryo4d.voting.null_figures import number
from alphacryo4d.voting.summary import add_maps, add_verdicts, summary
from alphacryo4d.voting.votes import VoteResult

if TYPE_CHECKING:
    from alphacryo4d.voting.support import Support

logger = logging.getLogger(__name__)


REPORT_JSON, REPORT_TXT = "report.json", "summary.txt"


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


def complete_report(folder: Path) -> None:
    """Put resolution and map of every state into the report of a folder, as its maps are now."""
    report = read_object(folder / REPORT_JSON)
    path = folder / files.RECONSTRUCTION_JSON
    made = read_object(path) if path.is_file() else {}
    before = json.dumps(report)
    add_maps(report, made)
    table = folder / REPORT_TXT
    # a run that was stopped between the two files has written the first alone
    known = table.read_text(encoding="utf-8", errors="replace") if table.is_file() else None
    if json.dumps(report) != before or summary(report) != known:
        write_report(folder, report)


def write_report(folder: Path, report: dict[str, Any], *, show: bool = True) -> list[Path]:
    """Write ``report.json`` and the table of it that people read; say the table."""
    as_json = files.write_text(folder / REPORT_JSON, json.dumps(report, indent=1) + "\n")
    text = summary(report)
    if show:
        logger.info("%s", text.rstrip())
    return [as_json, files.write_text(folder / REPORT_TXT, text)]


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
        if not np.isnan(gain):
            entry["supported"], entry["merges_with"] = bool(good), int(partner) + 1
    add_verdicts(report)
    report["verdict"] = verdict(support)


def verdict(support: Support) -> str:
    """One sentence on whether there are states."""
    figures = f"held-out gain per particle {support.gain:.4f} +- {support.error:.4f} nats"
    if not support.real:
        return (
            "States are not supported by held-out particles: these fit the states no better than "
            f"their mean ({figures}). The data are homogeneous, or too noisy to tell."
        )
    bad = np.flatnonzero(~support.supported & ~np.isnan(support.state_gain))
    text = f"States are supported by held-out particles ({figures})."
    if bad.size:
        named = ", ".join(f"{k + 1} (as one with {support.partner[k] + 1})" for k in bad)
        text += f" Not supported: state {named}."
    return text
