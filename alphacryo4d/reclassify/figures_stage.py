"""Figures of a reclassification: its populations and energies, on the landscape of the volumes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job
from alphacryo4d.core.reading import read_numbers, read_object
from alphacryo4d.io.tables.small import read_table
from alphacryo4d.reclassify.plots import draw_populations, draw_states
from alphacryo4d.reclassify.populations import voted_energies
from alphacryo4d.selection.sets_stage import landscape_folder, states_table

LANDSCAPE_CSV = "landscape.csv"
POPULATIONS_CSV = "populations.csv"
FIGURE_INPUTS = (LANDSCAPE_CSV, files.STATES_STAR)
"""Names of the inputs that only the figures depend on."""


def figure_inputs(first: Path) -> list[Path]:
    """Surface and centres that the figures show, where they are there: of the first states."""
    surface, centres = landscape_folder(first) / LANDSCAPE_CSV, states_table(first)
    return [path for path in (surface, centres) if path is not None and path.is_file()]


def draw_changes(job: Job, first: Path) -> None:
    """Write ``populations.csv`` and the figures of the states after the reclassification.

    Parameters
    ----------
    job : Job
        The reclassification, whose report is written.
    first : Path
        Folder of the states that it started from.
    """
    report = read_object(job.folder / "report.json")
    changes = report["changes_by_state"]
    counts = [np.array([one[name] for one in changes]) for name in ("before", "after")]
    energies = [voted_energies(each) for each in counts]
    written = [_write_table(job.folder / POPULATIONS_CSV, report["first_states"], counts, energies)]
    drawn = [job.folder / "populations.png", job.folder / "populations.pdf"]
    written += draw_populations(drawn, counts[0], counts[1], energies[1])
    inputs = figure_inputs(first)
    if len(inputs) == 2:
        needed = ("ac4dCenterX", "ac4dCenterY", "ac4dRadius")
        table = read_table(inputs[1], "states", numbers=needed)
        rows = np.array(report["first_states"]) - 1
        if rows.max() < len(table):
            centres = table[["ac4dCenterX", "ac4dCenterY"]].to_numpy(np.float64)[rows]
            radii = table["ac4dRadius"].to_numpy(np.float64)[rows]
            surface = read_numbers(inputs[0], delimiter=",", skiprows=1, ndmin=2)
            written += draw_states(
                [job.folder / "landscape.png", job.folder / "landscape.pdf"],
                surface,
                centres,
                radii,
                energies[1][0],
            )
    job.complete("figures", written)


def _write_table(
    path: Path, first: list[int], counts: list[Array], energies: list[tuple[Array, Array]]
) -> Path:
    """One row a state: particles and energies (kT) before and after."""
    names = ["state", "state_of_votes"]
    for when in ("before", "after"):
        names += [f"{what}_{when}" for what in ("particles", "energy_kt", "energy_error_kt")]
    with files.atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(names)
        for k, number in enumerate(first):
            row: list[Any] = [k + 1, number]
            for count, (energy, error) in zip(counts, energies, strict=True):
                row += [int(count[k]), f"{energy[k]:.4f}", f"{error[k]:.4f}"]
            rows.writerow(row)
    return path
