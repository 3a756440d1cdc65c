"""The embedding in space (``--dimensions 3``): for looking, while the landscape is in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job
from alphacryo4d.landscape.embedding import embed
from alphacryo4d.landscape.options import EmbedOptions
from alphacryo4d.landscape.page_stage import write_page
from alphacryo4d.landscape.plots import save_figure, scatter_column, styled_figure
from alphacryo4d.landscape.tables_stage import write_csv

EMBEDDING3D = "embedding3d"


def space_step(
    job: Job,
    distances: Array,
    options: EmbedOptions,
    seed: int,
    names: Array,
    columns: Sequence[tuple[str, Array, str]],
) -> None:
    """Write ``embedding3d.npy``, its figure, its data as CSV, and a page to turn it.

    Parameters
    ----------
    distances : (V, V) array
        Squared distances.
    names : (V,) array
        Names of the volumes.
    columns : sequence of (title, values (V,), kind)
        What the points are coloured by; the figure shows the first.
    """
    if job.completed("space"):
        return
    points = embed(distances, options, seed=seed, dimensions=3)
    stem = job.folder / EMBEDDING3D
    written = [files.save_array(stem.with_suffix(".npy"), points)]
    figures = [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    written += draw_space(figures, points, columns[0])
    table = {"volume": names} | {f"rc{axis + 1}": points[:, axis] for axis in range(3)}
    table |= {columns[0][0].split(" (")[0].lower(): columns[0][1]}
    written.append(write_csv(stem.with_suffix(".csv"), table))
    written.append(write_page(stem.with_suffix(".html"), points, names, columns))
    job.complete("space", written)


def draw_space(paths: Sequence[Path], points: Array, column: tuple[str, Array, str]) -> list[Path]:
    """Three views of an embedding (V, 3) along its axes, coloured by one column."""
    half = 0.56 * float(np.ptp(points, axis=0).max())
    middle = (points.max(0) + points.min(0)) / 2
    title, values, kind = column
    with styled_figure(186, 68, ncols=3) as (figure, grid):
        for axes, (x, y) in zip(grid, ((0, 1), (0, 2), (1, 2)), strict=True):
            scatter_column(axes, points[:, [x, y]], values, kind, key=axes is grid[2])
            axes.set_xlim(middle[x] - half, middle[x] + half)
            axes.set_ylim(middle[y] - half, middle[y] + half)
            axes.set_aspect("equal")
            axes.set_xlabel(f"RC{x + 1} (a.u.)")
            axes.set_ylabel(f"RC{y + 1} (a.u.)")
        figure.suptitle(
            f"Embedding in space, coloured by {title[0].lower()}{title[1:]}", fontsize=8
        )
        return save_figure(figure, paths)
