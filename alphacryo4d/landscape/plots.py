"""Figures of the stage, for a paper as they are: PNG and PDF, fonts embedded, colour-blind safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.colours import colour_of
from alphacryo4d.core.files import atomic_path
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.string_method import EnergyPath
from alphacryo4d.landscape.surface import Surface

_STYLE = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.labelsize": 8,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.dpi": 300,
}
PATH_COLOUR = "#ff7f0e"
VOLUME_ENERGY = r"Volume energy ($k_\mathrm{B}T$)"
"""Label: -ln of a volume's fraction of the particles (eq. 6)."""
PSEUDO_ENERGY = r"Pseudo-energy ($k_\mathrm{B}T$)"
"""Label: of a place in the plane, by the surface; neither a volume's energy nor a state's."""
MOST_IN_LEGEND = 8


@contextmanager
def styled_figure(width: float, height: float, **keywords: Any) -> Iterator[tuple[Any, Any]]:
    """Figure and axes in millimetres, closed at the end."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    laid_out_later = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=False)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width / 25.4, height / 25.4), layout=laid_out_later)
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(**keywords)


def save_figure(figure: Any, paths: Sequence[Path]) -> list[Path]:
    """Write a figure as PNG and PDF by the endings of the paths, without dates.

    Its parts are laid out once, here; an engine of the figure would draw it two times a format.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    ConstrainedLayoutEngine(compress=True).execute(figure)
    for path in paths:
        with atomic_path(path) as temporary:
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    return list(paths)


def figure_limits(embedding: Array, extent: float | None) -> tuple[float, float, float, float]:
    """Lowest and highest RC1, lowest and highest RC2 of a figure.

    A frame around the points, or a square of half width ``extent``; a narrow embedding gets a
    frame of at least 0.08 of the other side.
    """
    if extent is not None:
        return -extent, extent, -extent, extent
    low, high = embedding.min(0), embedding.max(0)
    half = 0.54 * (high - low)
    half = np.maximum(1.15 * half, 0.08 * half.max() + 1e-9) + 0.02 * half.max()
    middle = (low + high) / 2
    return (
        float(middle[0] - half[0]),
        float(middle[0] + half[0]),
        float(middle[1] - half[1]),
        float(middle[1] + half[1]),
    )


def axes_height(width: float, limits: tuple[float, float, float, float]) -> float:
    """Height of axes for their width, in millimetres; see :func:`_is_narrow`."""
    ratio = (limits[3] - limits[2]) / (limits[1] - limits[0])
    return width * (0.6 if _is_narrow(limits) else ratio)


def _is_narrow(limits: tuple[float, float, float, float]) -> bool:
    """Whether RC2 spans so little that its scale is stretched (boundaries become ellipses)."""
    return (limits[3] - limits[2]) < 0.4 * (limits[1] - limits[0])


def decorate(
    axes: Any, limits: tuple[float, float, float, float], words: str = "Reaction coordinate "
) -> None:
    """Limits, aspect and labels of axes that show the plane."""
    axes.set_xlim(*limits[:2])
    axes.set_ylim(*limits[2:])
    stretched = _is_narrow(limits)
    axes.set_aspect("auto" if stretched else "equal")
    axes.set_xlabel(f"{words}RC1 (a.u.)")
    axes.set_ylabel("RC2 stretched (a.u.)" if stretched else f"{words}RC2 (a.u.)")


def surface_grid(
    surface: Surface, limits: tuple[float, float, float, float], size: int = 240
) -> tuple[Array, Array, Array]:
    """Coordinates x (size,), y (size,) and energies (size, size), NaN off the surface."""
    x = np.linspace(limits[0], limits[1], size)
    y = np.linspace(limits[2], limits[3], size)
    mesh = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return x, y, surface.values(mesh).reshape(size, size)


def colour_range(energies: Array) -> tuple[float, float]:
    """Range (kT) of the colours of a surface, by its energies at the volumes: halves of kT."""
    low = float(np.floor(np.nanmin(energies) * 2) / 2)
    return low, max(float(np.ceil(np.nanmax(energies) * 2) / 2), low + 0.5)


def draw_landscape(
    paths: Sequence[Path],
    embedding: Array,
    energies: Array,
    surface: Surface,
    *,
    path: EnergyPath | None = None,
    states: States | None = None,
    extent: float | None = None,
) -> list[Path]:
    """Energy landscape with contours, path, states and their boundaries.

    ``energies`` (V,) in kT set the range of the colours; where the surface leaves it, the colour
    bar ends in an arrow.
    """
    limits = figure_limits(embedding, extent)
    x, y, values = surface_grid(surface, limits)
    low, high = colour_range(energies)
    levels = np.linspace(low, high, 25)
    with styled_figure(110, 14 + axes_height(78, limits)) as (figure, axes):
        shown = axes.contourf(
            x, y, values, levels=levels, cmap="viridis", zorder=1, extend=beyond(values, low, high)
        )
        shown.set_rasterized(True)
        axes.contour(
            x, y, values, levels=levels[::3], colors="white", linewidths=0.25, alpha=0.6, zorder=2
        )
        axes.scatter(*embedding.T, s=2.5, c="white", edgecolors="0.2", linewidths=0.2, zorder=3)
        if path is not None:
            axes.plot(*path.images.T, color="white", lw=2.2, zorder=4)
            axes.plot(*path.images.T, color=PATH_COLOUR, lw=1.3, zorder=5)
        if states is not None:
            _draw_states(axes, states)
        decorate(axes, limits)
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02, use_gridspec=False)
        bar.set_label(PSEUDO_ENERGY)
        bar.outline.set_linewidth(0.6)
        bar.set_ticks(energy_ticks(low, high))
        return save_figure(figure, paths)


def beyond(values: Array, low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    """Ends at which values (NaN left out) leave a colour bar, in the words of matplotlib."""
    known = values[np.isfinite(values)]
    if not known.size:
        return "neither"
    below, above = bool(known.min() < low), bool(known.max() > high)
    return "both" if below and above else "min" if below else "max" if above else "neither"


def energy_ticks(low: float, high: float) -> Array:
    """Round energies inside a colour bar; it would draw those beyond at its ends."""
    from matplotlib.ticker import MaxNLocator

    ticks: Array = np.asarray(MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high))
    inside: Array = ticks[(ticks > low - 1e-9) & (ticks < high + 1e-9)]
    return inside


def _draw_states(axes: Any, states: States) -> None:
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    for number, (center, radius) in enumerate(zip(states.centers, states.radii, strict=True), 1):
        for colour, width in (("black", 1.1), ("white", 0.6)):
            axes.add_patch(
                Circle(center, radius, fill=False, ls="--", lw=width, ec=colour, zorder=6)
            )
        axes.text(
            *center, str(number), color="white", fontsize=7, fontweight="bold", ha="center",
            va="center", zorder=8, clip_on=True,
            path_effects=[withStroke(linewidth=1.6, foreground="black")],
        )  # fmt: skip


def draw_embedding(
    paths: Sequence[Path],
    embedding: Array,
    columns: Sequence[tuple[str, Array, str]],
    *,
    extent: float | None = None,
) -> list[Path]:
    """Embedding coloured by several columns, side by side.

    Parameters
    ----------
    columns : sequence of (title, values (V,), kind)
        ``kind`` is ``number`` or ``category``.
    """
    limits = figure_limits(embedding, extent)
    across = min(3, len(columns))
    down = -(-len(columns) // across)
    height = 16 + axes_height(40, limits)
    with styled_figure(62 * across, height * down, nrows=down, ncols=across, squeeze=False) as (
        figure,
        grid,
    ):
        for axes in grid.flat[len(columns) :]:
            axes.set_visible(False)
        for axes, (title, values, kind) in zip(grid.flat, columns, strict=False):
            scatter_column(axes, embedding, values, kind, key=True)
            axes.set_title(title, fontsize=8)
            decorate(axes, limits, words="")
        return save_figure(figure, paths)


_MARKERS = "os^DvP*X"


def scatter_column(axes: Any, points: Array, values: Array, kind: str, *, key: bool) -> None:
    """Points (V, 2) coloured by values (V,), with a colour bar or legend where ``key`` is set.

    ``kind`` is ``number`` or ``category``; more than eight categories are named beside the points.
    """
    if kind == "category":
        _scatter_categories(axes, points, values, key)
        return
    dots = axes.scatter(*points.T, s=6, c=values, cmap="viridis", linewidths=0)
    if key:
        axes.figure.colorbar(dots, ax=axes, shrink=0.8, pad=0.02, aspect=15, use_gridspec=False)


def _scatter_categories(axes: Any, embedding: Array, values: Array, key: bool) -> None:
    labels = list(dict.fromkeys(values.tolist()))
    labels.sort(key=lambda label: (len(str(label)), str(label)))
    for number, label in enumerate(labels):
        inside = values == label
        axes.scatter(
            *embedding[inside].T,
            s=7,
            color=colour_of(label if isinstance(label, int) else number + 1),
            marker=_MARKERS[(number // 8 + number) % 8],
            linewidths=0,
            label=str(label),
        )
    if len(labels) <= MOST_IN_LEGEND:
        if key:
            axes.legend(
                fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
                handletextpad=0.1, borderpad=0.1, markerscale=1.4,
            )  # fmt: skip
        return
    for label in labels:
        place = np.median(embedding[values == label], axis=0)
        axes.annotate(
            str(label), place, xytext=(0, 5), textcoords="offset points", fontsize=5, ha="center"
        )
