"""The table of the states that people read: ``summary.txt``. Its columns stand in the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alphacryo4d.core.words import plural
from alphacryo4d.voting.junk import JUNK, junk_lines, outliers_named
from alphacryo4d.voting.null_figures import _shown, null_table
from alphacryo4d.voting.support import LEAST_TOTAL, SIGNIFICANT

KEEP, TOO_FEW, ONE = "keep", "too few particles", "one conformation"
_BATCHES_SHOWN = 10
"""Batches in the summary: those that differ most."""
_BIASED, _BIASED_LEAST = 3.0, 0.05
"""Cramer's V from which batches are called biased: so many times chance, and at least this."""
EXPLAINED = "What the columns mean: Understand the results, in the documents (docs/results.md)."


def add_verdicts(report: dict[str, Any]) -> None:
    """Put a verdict on every state into a report whose states were tested.

    ``keep``: held-out particles need the state. ``merge with k``: they do without it. ``too few
    particles``: the test could not have seen a loss as large as the median of the states that are
    needed, so that it cannot tell. ``one conformation``: no other state has particles.

    Parameters
    ----------
    report : dict
        Figures with ``support_gain`` and ``support_error`` (nats a particle) by state.
    """
    tested = [one for one in report["per_state"] if one.get("support_gain") is not None]
    needed = [one["support_gain"] for one in tested if one["supported"]]
    usual = float(np.median(needed)) if needed else 0.0
    for entry in tested:
        seen = max(
            SIGNIFICANT * (entry["support_error"] or 0.0),
            LEAST_TOTAL / max(report["particles"], 1),
        )
        if entry["supported"]:
            entry["advice"] = KEEP
        elif sum(one["particles"] > 0 for one in tested) < 2:
            entry["advice"] = ONE
        elif needed and seen > usual:
            entry["advice"] = TOO_FEW
        else:
            entry["advice"] = f"merge with {entry['merges_with']}"


def add_maps(report: dict[str, Any], reconstruction: dict[str, Any]) -> None:
    """Put resolution (A) and map of every state into a report; take out those that are gone."""
    made = {one["state"]: one for one in reconstruction.get("states", [])}
    for entry in report["per_state"]:
        for name in ("resolution", "map", "at_pixel_limit"):
            entry.pop(name, None)
        if entry["state"] in made:
            one = made[entry["state"]]
            entry["resolution"] = one.get("resolution_masked") or one.get("resolution_unmasked")
            if one.get("at_pixel_limit"):
                entry["at_pixel_limit"] = True
            entry["map"] = f"class{entry['state']:03d}.mrc"


def summary(report: dict[str, Any]) -> str:
    """Table of the states as text; the documents say what its columns mean."""
    voted = report["voted"] / max(report["particles"], 1)
    lines = [
        f"{report['particles']} particles = {report['voted']} voted ({100 * voted:.1f}%) + "
        f"{outliers_named(report)}; {plural(report['states'], 'state')}; {_rule(report)}",
    ]
    lines += state_table(report)
    lines += junk_lines(report)
    lines += change_table(report)
    lines += batch_lines(report["batches"])
    if "null" in report:
        lines += null_table(report["null"])
    lines += [report[name] for name in ("copies", "verdict") if name in report]
    return "\n".join([*lines, EXPLAINED, ""])


def state_table(report: dict[str, Any]) -> list[str]:
    """Rows of the states that have particles, as wide as what is known of them."""
    states = [one for one in report["per_state"] if one["particles"]] or report["per_state"]
    columns = [
        ("", "state", [str(one["state"]) for one in states]),
        ("", "particles", [str(one["particles"]) for one in states]),
        ("energy", "(kT)", [_shown(one["energy_kt"], 2) for one in states]),
        ("", "volumes", [str(one["volumes"]) for one in states]),
    ]
    for name, above, title in (
        ("share_voted_out", "voted", "out"),
        ("fold_agreement", "folds", "agree"),
        ("heldout_agreement", "held-out", "agree"),
        ("heldout_chance", "by", "chance"),
    ):
        columns.append((above, title, [_shown(one.get(name)) for one in states]))
    if "support" in report:
        columns.append(("loss if merged", "(nats)", [_loss(one) for one in states]))
        columns.append(("", "with", [_partner(one) for one in states]))
    if any(one.get("signal") is not None for one in states):
        columns.append(("", "signal", [_shown(one.get("signal"), 2) for one in states]))
    if any(one.get("map") for one in states):
        columns.append(("resolution", "(A)", [_resolution(one) for one in states]))
        columns.append(("", "map", [one.get("map", "-") for one in states]))
    if "support" in report:
        junk = report.get("junk_states", [])
        verdicts = [JUNK if one["state"] in junk else one.get("advice") for one in states]
        columns.append(("", "verdict", [one or "not tested" for one in verdicts]))
    if any(one.get("name") for one in states):
        columns.append(("", "name", [one.get("name") or "" for one in states]))
    return text_table(columns)


def text_table(columns: Sequence[tuple[str, str, Sequence[str]]]) -> list[str]:
    """Columns of two lines of title and texts, aligned; words to the left, numbers to the right."""
    lines = [""] * (2 + len(columns[0][2]))
    for above, title, texts in columns:
        cells = [above, title, *texts]
        width = max(map(len, cells))
        left = title in ("verdict", "name")
        for row, cell in enumerate(cells):
            lines[row] += (cell.ljust(width) if left else cell.rjust(width)) + "  "
    return [line.rstrip() for line in lines]


def change_table(report: dict[str, Any]) -> list[str]:
    """What a reclassification changed, state by state; nothing for votes."""
    changes = report.get("changes_by_state")
    if not changes:
        return []
    names = ("before", "stayed", "moved_out", "voted_out", "moved_in", "newly_voted", "after")
    columns = [("", "state", [str(one["state"]) for one in changes])]
    columns += [("", name.replace("_", " "), [str(one[name]) for one in changes]) for name in names]
    lines = ["particles by state, before and after:", *text_table(columns)[1:]]
    gone = report.get("states_gone") or []
    if gone:
        named = ", ".join(
            f"{one['state']} ({plural(one['particles'], 'particle')})" for one in gone
        )
        lines.append(f"merged, under their number in the votes: {named}")
    return lines


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


def _rule(report: dict[str, Any]) -> str:
    """How particles got their states, in words."""
    if report.get("assign") == "nearest":
        return "assigned to the nearest centre"
    return f"{report['votes_needed']} of {report['folds'] - 1} votes needed"


def _loss(entry: dict[str, Any]) -> str:
    if entry.get("support_gain") is None or entry.get("advice") == ONE:
        return "-"
    return f"{entry['support_gain']:.3f} +- {entry['support_error']:.3f}"


def _partner(entry: dict[str, Any]) -> str:
    return "-" if _loss(entry) == "-" else str(entry["merges_with"])


def _resolution(entry: dict[str, Any]) -> str:
    return _shown(entry.get("resolution"), 1) + " or finer" * bool(entry.get("at_pixel_limit"))
