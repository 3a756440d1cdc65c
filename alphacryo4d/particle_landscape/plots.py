"""Figures of the particle landscape, with the data behind each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.colours import colour_of
from alphacryo4d.landscape.barriers import arc_lengths
from alphacryo4d.landscape.plots import PATH_COLOUR, save_figure, styled_figure
from alphacryo4d.particle_landscape.basins import DensityStates
from alphacryo4d.particle_landscape.density import Density
from alphacryo4d.particle_landscape.mixture import GaussianMixture
from alphacryo4d.particle_landscape.paths import DensityPath
from alphacryo4d.particle_landscape.surface import DensitySurface, energy_of_share, marginal

GRID = 81
WITH_DATA = 0.99
"""Share of the particles within the region that is shown."""
_BINS = 60
MOST = 5000
"""Particles that are drawn one by one."""
_PANELS = {
    "state": ("State", ""),
    "defocus_angstrom": ("Defocus (\u00c5)", "viridis"),
    "rot_degrees": ("Rot (degrees)", "twilight"),
    "tilt_degrees": ("Tilt (degrees)", "viridis"),
}


def draw_pairs(
    paths: Sequence[Path], density: Density, states: DensityStates, path: DensityPath | None
) -> tuple[list[Path], dict[str, Array]]:
    """Energy over every pair of coordinates, with states and the path; the data of the figure.

    Grey where less than 1% of the particles lie.
    """
    d = density.mixture.means.shape[1]
    pairs = list(itertools.combinations(range(d), 2)) if d > 1 else [(0,)]
    columns: dict[str, list[Array]] = {name: [] for name in _NAMES}
    with styled_figure(75 * len(pairs), 62, nrows=1, ncols=len(pairs), squeeze=False) as (
        figure,
        grid,
    ):
        for axes, axes_of in zip(grid.flat, pairs, strict=True):
            if d == 1:
                _draw_line(axes, density, states, columns)
            else:
                _draw_pair(figure, axes, density, axes_of, columns)
                _draw_marks(axes, states, path, axes_of)
        written = save_figure(figure, paths)
    return written, {name: np.concatenate(parts) for name, parts in columns.items()}


_NAMES = ("component_x", "component_y", "x", "y", "energy_kt", "error_kt", "with_data")


def _limits(density: Density, axis: int) -> tuple[float, float]:
    """Range of a coordinate that holds all but a thousandth of the particles, and a margin."""
    points = density.mixture.drawn(20_000, np.random.default_rng(0))[:, axis]
    low, high = np.quantile(points, (0.0005, 0.9995))
    margin = 0.1 * (high - low)
    return float(low - margin), float(high + margin)


def _energies(density: Density, axes_of: tuple[int, ...], mesh: Array) -> tuple[Array, ...]:
    """Energies above the lowest, their errors, and where there are data, at points (N, 1 or 2)."""
    whole = marginal(density.mixture, axes_of)
    values = DensitySurface(whole).values(mesh)
    lowest = int(values.argmin())

    def above_lowest(mixture: GaussianMixture) -> Array:
        heights = DensitySurface(marginal(mixture, axes_of)).values(mesh)
        return np.asarray(heights - heights[lowest])

    inside = values <= energy_of_share(whole, WITH_DATA)
    return values - values[lowest], density.error(above_lowest), inside


def _add(columns: dict[str, list[Array]], values: tuple[Array, ...]) -> None:
    for name, column in zip(_NAMES, values, strict=True):
        columns[name].append(np.asarray(column))


def _draw_pair(
    figure: Any,
    axes: Any,
    density: Density,
    axes_of: tuple[int, ...],
    columns: dict[str, list[Array]],
) -> None:
    x, y = (np.linspace(*_limits(density, axis), GRID) for axis in axes_of)
    mesh = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values, errors, inside = _energies(density, axes_of, mesh)
    ones = np.ones(len(mesh), int)
    _add(columns, (ones * (axes_of[0] + 1), ones * (axes_of[1] + 1), *mesh.T, values, errors,
                   inside.astype(int)))  # fmt: skip
    high = max(1.0, float(np.ceil(values[inside].max())))
    shown = np.where(inside, values, np.nan).reshape(GRID, GRID)
    axes.set_facecolor("0.85")
    filled = axes.contourf(x, y, shown, levels=np.linspace(0, high, 25), cmap="viridis")
    filled.set_rasterized(True)
    axes.contour(
        x, y, values.reshape(GRID, GRID), levels=np.arange(0, high + 1e-9, 1.0), colors="white",
        linewidths=0.25, alpha=0.6,
    )  # fmt: skip
    axes.set_xlabel(f"Component {axes_of[0] + 1}")
    axes.set_ylabel(f"Component {axes_of[1] + 1}")
    bar = figure.colorbar(filled, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label(r"Energy ($k_\mathrm{B}T$)")
    bar.outline.set_linewidth(0.6)
    bar.set_ticks(np.arange(0, high + 1e-9, max(1.0, np.ceil(high / 6))))


def _draw_marks(
    axes: Any, states: DensityStates, path: DensityPath | None, axes_of: tuple[int, ...]
) -> None:
    if path is not None:
        line = path.path.images[:, list(axes_of)].T
        axes.plot(*line, color="white", lw=2.2, zorder=4)
        axes.plot(*line, color=PATH_COLOUR, lw=1.3, zorder=5)
    for number, place in enumerate(states.minima[:, list(axes_of)], 1):
        axes.annotate(
            str(number), place, color="white", fontsize=7, fontweight="bold", ha="center",
            va="center", zorder=8, bbox={"boxstyle": "circle,pad=0.15", "fc": "0.2", "lw": 0},
        )  # fmt: skip


def _draw_line(
    axes: Any, density: Density, states: DensityStates, columns: dict[str, list[Array]]
) -> None:
    x = np.linspace(*_limits(density, 0), 4 * GRID)
    values, errors, inside = _energies(density, (0,), x[:, None])
    ones = np.ones(len(x), int)
    _add(columns, (ones, 0 * ones, x, np.full(len(x), np.nan), values, errors, inside.astype(int)))
    _draw_band(axes, x[inside], values[inside], errors[inside])
    for number, place in enumerate(states.minima[:, 0], 1):
        axes.annotate(str(number), (place, 0), ha="center", va="top", fontsize=7)
    axes.set_xlabel("Component 1")
    axes.set_ylabel(r"Energy ($k_\mathrm{B}T$)")


def _draw_band(axes: Any, x: Array, values: Array, errors: Array) -> None:
    axes.fill_between(x, values - errors, values + errors, color=PATH_COLOUR, alpha=0.25, lw=0)
    axes.plot(x, values, color=PATH_COLOUR, lw=1.2)


_ON_PATH = 0.2
"""Distance from the path (deviations of the prior) up to which a state is named along it."""


def draw_profile(
    paths: Sequence[Path], whole_path: DensityPath, states: DensityStates
) -> list[Path]:
    """Energy along the path with a band of one standard error, barriers with intervals, states."""
    lengths = arc_lengths(whole_path.path.images)
    with styled_figure(88, 60) as (figure, axes):
        _draw_band(axes, lengths, whole_path.path.energies, whole_path.errors)
        for barrier, forward, _ in whole_path.barriers:
            top = float(np.interp(barrier.top, lengths, whole_path.path.energies))
            low = top - forward.value
            axes.errorbar(
                barrier.top, top, yerr=[[max(0.0, top - low - forward.low)],
                                        [max(0.0, low + forward.high - top)]],
                color="0.2", capsize=2, lw=0.8,
            )  # fmt: skip
        for number, place in enumerate(states.minima, 1):
            away = np.linalg.norm(whole_path.path.images - place, axis=1)
            if away.min() < _ON_PATH:
                axes.annotate(
                    str(number), (lengths[away.argmin()], 1.01), fontsize=7, ha="center",
                    xycoords=("data", "axes fraction"), annotation_clip=False,
                )  # fmt: skip
        axes.set_xlim(0, lengths[-1])
        axes.set_xlabel("Length along the path (deviations of the prior)")
        axes.set_ylabel("Energy of the particles\n" r"beside the path ($k_\mathrm{B}T$)")
        return save_figure(figure, paths)


def draw_particles(
    paths: Sequence[Path],
    columns: Mapping[str, Array],
    variances: Array | None = None,
    *,
    states_of: str = "",
) -> list[Path]:
    """Particles over the first two components, a panel for each colour.

    Over one component they are a histogram by state, and points against what else colours them.

    Parameters
    ----------
    paths : sequence of Path
        PNG and PDF to write.
    columns : mapping
        ``z1``, ``z2`` where there are two, and the columns of the panels.
    variances : (n,) array, optional
        Squared errors of ``z1``, for the density over a single component.
    states_of : str
        Set that the states are of, for the title of their panel.
    """
    x, y, colours = columns["z1"], columns.get("z2"), _state_colours(columns["state"])
    with styled_figure(150, 120, nrows=2, ncols=2) as (figure, grid):
        for axes, (name, (title, scale)) in zip(grid.flat, _PANELS.items(), strict=True):
            axes.set_xlabel("Component 1")
            if name == "state" or y is not None:
                of = f" of {states_of}" if name == "state" and states_of else ""
                axes.set_title(title + of)
            if name == "state" and y is None:
                _draw_histogram(axes, x, columns[name], colours["cmap"], variances)
            elif y is None:
                axes.scatter(x, columns[name], s=1.2, lw=0, color=PATH_COLOUR, rasterized=True)
                axes.set_ylabel(title)
                continue
            else:
                how = colours if name == "state" else {"cmap": scale}
                shown = axes.scatter(x, y, c=columns[name], s=1.2, lw=0, rasterized=True, **how)
                axes.set_ylabel("Component 2")
            mappable = _mappable(colours) if name == "state" else shown
            bar = figure.colorbar(mappable, ax=axes, shrink=0.9, pad=0.02)
            bar.outline.set_linewidth(0.6)
            if name == "state":
                _name_states(bar, colours["cmap"].N)
        return save_figure(figure, paths)


def _state_colours(states: Array) -> dict[str, Any]:
    """Colour map and scale with one colour a state, grey for 0."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    most = max(1, int(states.max(initial=1)))
    shown = ListedColormap([colour_of(k) for k in range(most + 1)])
    return {"cmap": shown, "norm": BoundaryNorm(np.arange(most + 2) - 0.5, most + 1)}


def _mappable(colours: dict[str, Any]) -> Any:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(**colours)


def _name_states(bar: Any, colours: int) -> None:
    """Whole numbers beside a colour bar of states, and what 0 is."""
    ticks = np.arange(0, colours, -(-colours // 21))
    bar.set_ticks(ticks, labels=["voted out", *map(str, ticks[1:])])
    bar.minorticks_off()
    bar.ax.tick_params(length=0, labelsize=6)


def _draw_histogram(
    axes: Any, x: Array, states: Array, colours: Any, variances: Array | None
) -> None:
    """Coordinates by state as a histogram, and the mean of the particles' posteriors."""
    numbers = [k for k in range(colours.N) if (states == k).any()]
    width = np.ptp(x) / _BINS or 1.0
    axes.hist(
        [x[states == k] for k in numbers], bins=_BINS, stacked=True,
        color=[colours(k) for k in numbers],
    )  # fmt: skip
    if variances is not None:
        left, right = axes.get_xlim()
        places = np.linspace(left, right, 400)
        sigma = np.sqrt(np.maximum(variances, 1e-12))
        away = (places[:, None] - x) / sigma
        each = np.exp(-0.5 * away**2) / (np.sqrt(2 * np.pi) * sigma)
        axes.plot(
            places, width * each.sum(axis=1), color="black", lw=1, label="Density (mean posterior)"
        )
        axes.legend(fontsize=6, frameon=False)
    axes.set_ylabel("Particles")
