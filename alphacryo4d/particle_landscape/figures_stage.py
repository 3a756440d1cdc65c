"""Figures of the particle landscape and their data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.tables_stage import write_csv
from alphacryo4d.particle_landscape.basins import DensityStates
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.paths import DensityPath
from alphacryo4d.particle_landscape.plots import MOST, draw_pairs, draw_particles, draw_profile
from alphacryo4d.particles.particle_set import ParticleSet

PAIRS, PROFILE, PARTICLES = "energies", "path", "particles"


def draw(
    folder: Path, density: Density, states: DensityStates, path: DensityPath | None
) -> list[Path]:
    """Energies over pairs of coordinates (``energies.png``) and along the path (``path.png``)."""
    drawn = [folder / f"{PAIRS}.png", folder / f"{PAIRS}.pdf"]
    written, columns = draw_pairs(drawn, density, states, path)
    written.append(write_csv(folder / f"{PAIRS}.csv", columns))
    if path is not None:
        drawn = [folder / f"{PROFILE}.png", folder / f"{PROFILE}.pdf"]
        written += draw_profile(drawn, path, states)
    return written


def draw_imaging(
    folder: Path,
    particles: ParticleSet,
    coordinates: Array,
    covariances: Array,
    states: Array,
    states_of: str,
) -> list[Path]:
    """Some particles by state, defocus and viewing direction (``particles.png``), and their table.

    Parameters
    ----------
    folder : Path
    particles : ParticleSet
    coordinates, covariances : (P, q), (P, q (q + 1) / 2) arrays
    states : (P,) int array
        That the components started from, 0 for none.
    states_of : str
        Set that they are of.
    """
    step = -(-len(coordinates) // MOST)
    rows = np.arange(0, len(coordinates), step)
    columns = {"row": rows + 1}
    for axis in range(min(2, coordinates.shape[1])):
        columns[f"z{axis + 1}"] = np.asarray(coordinates[rows, axis], np.float64)
    columns |= {
        "state": states[rows],
        "defocus_angstrom": particles.defocus[rows, :2].mean(axis=1),
        "rot_degrees": np.mod(particles.angles[rows, 0] + 180, 360) - 180,
        "tilt_degrees": particles.angles[rows, 1],
    }
    drawn = draw_particles(
        [folder / f"{PARTICLES}.png", folder / f"{PARTICLES}.pdf"],
        columns,
        np.asarray(covariances[rows, 0], np.float64),
        states_of=states_of,
    )
    return [*drawn, write_csv(folder / f"{PARTICLES}.csv", columns)]
