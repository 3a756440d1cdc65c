"""Movies of maps: a scene of ChimeraX and an animated picture, written beside the maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.landscape.plots import styled_figure
from alphacryo4d.maths.contrast import level_of
from alphacryo4d.particle_landscape.movie import grey_ranges, morph_scene, views_of

FRAMES_PER_SECOND = 6
_DPI = 110
_TITLES = ("along z", "along y", "along x")


def write_movie(maps: Sequence[Path], folder: Path, name: str) -> list[Path]:
    """Write ``NAME.cxc``, which morphs from map to map, and ``NAME.gif``, to and fro.

    Parameters
    ----------
    maps : sequence of Path
        At least two maps of one grid, in order, in ``folder``.
    folder : Path
    name : str
        Of both files, without an ending.
    """
    views, levels = [], []
    for path in maps:
        volume, _ = read_volume(path)
        views.append(views_of(volume))
        levels.append(level_of(volume))
    level = float(np.median(levels))
    scene = morph_scene([path.name for path in maps], level, f"{name}.cxc")
    return [
        files.write_text(folder / f"{name}.cxc", scene),
        _write_animation(folder / f"{name}.gif", views),
    ]


def _write_animation(path: Path, views: Sequence[Array]) -> Path:
    """Slices above, projections below, frame by frame to the end and back."""
    from matplotlib.animation import PillowWriter

    ranges = grey_ranges(views)
    order = [*range(len(views)), *range(len(views) - 2, 0, -1)]
    with styled_figure(120, 88, nrows=2, ncols=3) as (figure, grid):
        pictures = []
        for place, axes in enumerate(grid.flat):
            low, high = ranges[place // 3]
            shown = views[0][place]
            pictures.append(axes.imshow(shown, cmap="gray", vmin=low, vmax=high, origin="lower"))
            axes.set_axis_off()
            axes.set_title(f"{('slice', 'projection')[place // 3]} {_TITLES[place % 3]}")
        figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.86, hspace=0.16)
        heading = figure.suptitle("")
        writer = PillowWriter(fps=FRAMES_PER_SECOND)
        with files.atomic_path(path) as temporary:
            writer.setup(figure, temporary, dpi=_DPI)
            for frame in order:
                heading.set_text(f"{frame + 1} of {len(views)}")
                for place, picture in enumerate(pictures):
                    picture.set_data(views[frame][place])
                writer.grab_frame()
            writer.finish()
    return path
