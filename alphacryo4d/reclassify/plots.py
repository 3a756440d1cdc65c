"""Figures of the states after a reclassification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.colours import STATE_COLOURS
from alphacryo4d.landscape.plots import (
    axes_height,
    decorate,
    figure_limits,
    save_figure,
    styled_figure,
)

STATE_ENERGY = r"State energy ($k_\mathrm{B}T$)"
"""Label: -ln of a state's fraction of the voted particles; that of a volume is another."""


def draw_populations(
    paths: Sequence[Path], before: Array, after: Array, energies: tuple[Array, Array]
) -> list[Path]:
    """Particles of every state before and after, and the energies after with their errors.

    Parameters
    ----------
    before, after : (K,) int arrays
        Particles.
    energies : tuple of (K,) arrays
        Energies after, and their standard errors, in kT.
    """
    states = np.arange(1, len(after) + 1)
    width = max(110.0, 30 + 7.0 * len(after))
    with styled_figure(width, 90, nrows=2, sharex=True) as (figure, (upper, lower)):
        upper.bar(states - 0.2, before, 0.4, color=STATE_COLOURS[4], label="Votes")
        upper.bar(states + 0.2, after, 0.4, color=STATE_COLOURS[0], label="Reclassified")
        upper.set_ylabel("Particles")
        lower.errorbar(
            states, *energies, fmt="o", ms=3.5, color=STATE_COLOURS[0], elinewidth=0.8,
            label="Standard error by counting",
        )  # fmt: skip
        lower.set_ylabel(STATE_ENERGY)
        lower.set_xlabel("State")
        lower.set_xticks(states)
        lower.margins(y=0.15)
        figure.legend(fontsize=6, frameon=False, ncols=3, loc="outside upper center")
        for axes in (upper, lower):
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        return save_figure(figure, paths)


def draw_states(
    paths: Sequence[Path], surface: Array, centres: Array, radii: Array, energies: Array
) -> list[Path]:
    """States on the surface of the volumes, coloured by the energies after reclassification.

    Parameters
    ----------
    surface : (n, 3) array
        RC1, RC2 and pseudo-energy, on a grid; contour lines only.
    centres : (K, 2) array
    radii : (K,) array
        In the units of the embedding.
    energies : (K,) array
        In kT.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, to_rgba
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    limits = figure_limits(np.vstack([surface[:, :2], centres - radii[:, None],
                                      centres + radii[:, None]]), None)  # fmt: skip
    x, y = np.unique(surface[:, 0]), np.unique(surface[:, 1])
    grid = np.full((len(y), len(x)), np.nan)
    grid[np.searchsorted(y, surface[:, 1]), np.searchsorted(x, surface[:, 0])] = surface[:, 2]
    known = energies[np.isfinite(energies)]
    spread = max(float(np.ptp(known)), 1.0)  # less is hardly more than the error of counting
    scale = Normalize(float(known.mean()) - spread / 2, float(known.mean()) + spread / 2)
    with styled_figure(110, 14 + axes_height(78, limits)) as (figure, axes):
        axes.contour(x, y, grid, levels=8, colors="0.6", linewidths=0.4, zorder=1)
        for row in np.argsort(-radii, kind="stable"):
            energy = energies[row]
            colour = "0.9" if np.isnan(energy) else axes_colour(scale, energy)
            for face, edge in ((to_rgba(colour, 0.6), "none"), ("none", "black")):
                axes.add_patch(Circle(centres[row], radii[row], fc=face, ec=edge, lw=0.6, zorder=3))
            axes.text(
                *centres[row], f"{row + 1}\n{energy:.2f}", color="white", fontsize=6,
                fontweight="bold", ha="center", va="center", zorder=4, clip_on=True,
                path_effects=[withStroke(linewidth=1.4, foreground="black")],
            )  # fmt: skip
        decorate(axes, limits)
        bar = figure.colorbar(
            ScalarMappable(scale, "viridis"), ax=axes, shrink=0.9, pad=0.02, use_gridspec=False
        )
        bar.set_label(STATE_ENERGY)
        bar.outline.set_linewidth(0.6)
        axes.set_title("States after reclassification; lines: pseudo-energy", fontsize=8)
        return save_figure(figure, paths)


def axes_colour(scale: Any, value: float) -> Any:
    """Colour of a value."""
    import matplotlib as mpl

    return mpl.colormaps["viridis"](scale(value))
