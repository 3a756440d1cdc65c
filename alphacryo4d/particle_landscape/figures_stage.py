"""Figures of the particle landscape and their data."""

from __future__ import annotations

from pathlib import Path

from alphacryo4d.landscape.tables_stage import write_csv
from alphacryo4d.particle_landscape.basins import DensityStates
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.paths import DensityPath
from alphacryo4d.particle_landscape.plots import draw_pairs, draw_profile

PAIRS, PROFILE = "energies", "path"


def draw(
    folder: Path, density: Density, states: DensityStates, path: DensityPath | None
) -> list[Path]:
    """Energies over pairs of coordinates (``energies.png``) and along the path (``path.png``)."""
    drawn = [folder / f"{PAIRS}.png", folder / f"{PAIRS}.pdf"]
    written, columns = draw_pairs(drawn, density, states, path)
    written.append(write_csv(folder / f"{PAIRS}.csv", columns))
    if path is not None:
        written += draw_profile([folder / f"{PROFILE}.png", folder / f"{PROFILE}.pdf"], path)
    return written
