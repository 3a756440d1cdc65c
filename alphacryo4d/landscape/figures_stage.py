"""Figures of the stage, and the data behind each as CSV."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job
from alphacryo4d.landscape import curves_stage, plots
from alphacryo4d.landscape.inputs_stage import VolumeTable
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.path_stage import LandscapePath
from alphacryo4d.landscape.plane import Landscape
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.tables_stage import write_csv

_ENERGY, _ERROR = "Volume energy (kT)", "Error of the volume energy (kT)"
_RESOLUTION = "Resolution (\u00c5)"
_COLUMNS = {
    _ENERGY: "volume_energy_kt",
    _ERROR: "volume_energy_error_kt",
    _RESOLUTION: "resolution_angstrom",
}
"""Columns of ``embedding.csv`` by their titles in the figure, where they have units."""


def colourings(
    landscape: Landscape, table: VolumeTable | None, states: States | None
) -> list[tuple[str, Array, str]]:
    """What the embedding is coloured by: title, values, kind."""
    columns: list[tuple[str, Array, str]] = [
        (_ENERGY, landscape.energies, "number"),
        (_ERROR, landscape.errors, "number"),
        ("Particles", landscape.counts, "number"),
    ]
    if states is not None:
        columns.insert(0, ("State", states.volumes, "category"))
    if table is not None:
        columns.append(("Fold", table.fold, "category"))
        columns.append(("Batch", table.batch, "category"))
        if np.isfinite(table.resolution).all():
            columns.append((_RESOLUTION, table.resolution, "number"))
    return columns


def draw_energies(job: Job, landscape: Landscape) -> None:
    """Figure of the two energies of the volumes, which knows nothing of states."""
    drawn = curves_stage.draw_energies(
        [job.folder / "energies.png", job.folder / "energies.pdf"],
        landscape.embedding,
        landscape.energies,
        landscape.density,
    )
    job.complete("energies", drawn)


def draw(
    job: Job,
    landscape: Landscape,
    options: PathOptions,
    table: VolumeTable | None,
    landscape_path: LandscapePath | None,
    states: States | None,
) -> None:
    """Figures of the stage, and the data behind each as CSV."""
    folder, extent = job.folder, options.range
    path = None if landscape_path is None else landscape_path.path
    drawn = plots.draw_landscape(
        [folder / "landscape.png", folder / "landscape.pdf"],
        landscape.embedding,
        landscape.surface.values(landscape.surface.bring_back(landscape.embedding)[0]),
        landscape.surface,
        path=path,
        states=states,
        extent=extent,
    )
    columns = colourings(landscape, table, states)
    drawn += plots.draw_embedding(
        [folder / "embedding.png", folder / "embedding.pdf"],
        landscape.embedding,
        columns,
        extent=extent,
    )
    if landscape_path is not None:
        drawn += curves_stage.draw_path(
            [folder / "path.png", folder / "path.pdf"],
            landscape_path.path,
            error=landscape_path.error,
            barriers=landscape_path.barriers,
            states=states,
        )
    limits = plots.figure_limits(landscape.embedding, extent)
    x, y, values = plots.surface_grid(landscape.surface, limits, 120)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    shown = np.isfinite(values.ravel())
    drawn.append(
        write_csv(
            folder / "landscape.csv",
            {"rc1": grid[shown, 0], "rc2": grid[shown, 1], "energy_kt": values.ravel()[shown]},
        )
    )
    drawn.append(write_csv(folder / "embedding.csv", _embedding_table(landscape, table, columns)))
    job.complete("figures", drawn)


def _embedding_table(
    landscape: Landscape, table: VolumeTable | None, columns: list[tuple[str, Array, str]]
) -> dict[str, Array]:
    """Columns of ``embedding.csv``, the data of ``embedding.png`` and ``energies.png``."""
    numbers = np.arange(1, len(landscape.counts) + 1)
    data = {"volume": numbers if table is None else table.names}
    data |= {"rc1": landscape.embedding[:, 0], "rc2": landscape.embedding[:, 1]}
    for title, values, _ in columns:
        data[_COLUMNS.get(title, title.lower())] = values
    return data | {"density_energy_kt": landscape.density}
