"""Figures of the null model beside those of the data."""

from __future__ import annotations

from typing import Any

import numpy as np


def number(value: float) -> float | None:
    """Figure for a report: six decimals, None where there is none."""
    return round(float(value), 6) if np.isfinite(value) else None


def _shown(value: float | None, decimals: int = 3) -> str:
    return "-" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def add_null(report: dict[str, Any], null: dict[str, Any]) -> None:
    """Put the null model's figures into a report, beside the same figures of the data."""
    report["null"] = {
        "data": null_figures(report),
        "one_conformation": null_figures(null),
        "note": "Particles of one conformation, simulated with the poses, CTF and noise of the "
        "data, through the same folds, number of states and votes. Their landscape is of the "
        "volumes alone, without the network.",
    }


def null_figures(report: dict[str, Any]) -> dict[str, Any]:
    """Figures of a report that tell states from noise."""
    members = np.array([entry["particles"] for entry in report["per_state"]], np.float64)
    agreement = np.array([entry["fold_agreement"] for entry in report["per_state"]], np.float64)
    known = np.isfinite(agreement) & (members > 0)
    energies = -np.log(members[members > 0] / max(members.sum(), 1))
    support = report.get("support", {})
    return {
        "share_kept": number(report["voted"] / max(report["particles"], 1)),
        "fold_agreement": number(
            np.average(agreement[known], weights=members[known]) if known.any() else np.nan
        ),
        "heldout_agreement": report.get("heldout_agreement"),
        "heldout_chance": report.get("heldout_chance"),
        "energy_spread_kt": number(energies.std() if energies.size else np.nan),
        "gain_per_particle": support.get("gain_per_particle"),
        "error": support.get("error"),
        "states_supported": support.get("states_supported"),
    }


_NULL_ROWS = {
    "share_kept": "fraction of particles kept",
    "fold_agreement": "agreement of folds (they share particles)",
    "heldout_agreement": "agreement with the held-out fold",
    "heldout_chance": "  the same by chance",
    "energy_spread_kt": "spread of the states' energies (kT)",
    "gain_per_particle": "held-out gain (nats per particle)",
    "error": "  its standard error",
}


def null_table(null: dict[str, Any]) -> list[str]:
    """Lines that show the data and the null model side by side."""
    lines = [f"{'':42s} {'data':>9s}  one conformation, simulated"]
    for name, words in _NULL_ROWS.items():
        shown = [null[side][name] for side in ("data", "one_conformation")]
        a, b = (_shown(value) for value in shown)
        lines.append(f"{words:42s} {a:>9s}  {b:>9s}")
    return lines
