"""Figures of curves and comparisons: energy along the path, class against density, stability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.colours import STATE_COLOURS
from alphacryo4d.landscape.barriers import Barrier, arc_lengths
from alphacryo4d.landscape.heights import Heights
from alphacryo4d.landscape.plots import (
    PATH_COLOUR,
    PSEUDO_ENERGY,
    VOLUME_ENERGY,
    axes_height,
    decorate,
    figure_limits,
    save_figure,
    styled_figure,
)
from alphacryo4d.landscape.stability import Variant
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.string_method import EnergyPath

DENSITY_ENERGY = r"Density energy ($k_\mathrm{B}T$)"
"""Label: -ln of the density of particles around a volume."""


def draw_path(
    paths: Sequence[Path],
    path: EnergyPath,
    *,
    error: Array | None = None,
    barriers: Sequence[tuple[Barrier, Heights]] = (),
    states: States | None = None,
) -> list[Path]:
    """Energy along the path, with its error band, its barriers with intervals, and the states.

    The bar at each barrier is the interval of its height above the minimum before it.
    """
    length = arc_lengths(path.images)
    with styled_figure(130, 70) as (figure, axes):
        if error is not None:
            axes.fill_between(
                length,
                path.energies - error,
                path.energies + error,
                color=STATE_COLOURS[0],
                alpha=0.25,
                lw=0,
                label="Standard error",
            )
        axes.plot(length, path.energies, color=STATE_COLOURS[0], lw=1.2, label="Pseudo-energy")
        _draw_barriers(axes, length, path.energies, barriers)
        if states is not None:
            _draw_states(axes, path, length, states)
        axes.margins(x=0.03, y=0.12)
        axes.set_xlabel("Length along the path (units of the embedding)")
        axes.set_ylabel(PSEUDO_ENERGY)
        figure.legend(fontsize=6, frameon=False, ncols=3, loc="outside upper center")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return save_figure(figure, paths)


def _draw_barriers(
    axes: Any, length: Array, energies: Array, barriers: Sequence[tuple[Barrier, Heights]]
) -> None:
    labels = set()
    for barrier, heights in barriers:
        foot = float(np.interp(barrier.start, length, energies))
        top = foot + barrier.forward
        colour, marker = ("0.55", "x") if heights.lost else (STATE_COLOURS[5], "^")
        label = (
            "Barrier not resolved (interval holds 0)" if heights.lost else "Barrier (95% interval)"
        )
        axes.plot(
            barrier.top, top, marker, ms=3.5, mfc="white", mec=colour, mew=0.8, zorder=4, ls="",
            label=f"_{label}" if label in labels else label,
        )  # fmt: skip
        labels.add(label)
        if heights.known:
            ends = [foot + heights.forward.low, foot + heights.forward.high]
            axes.plot([barrier.top] * 2, ends, color=colour, lw=0.8, zorder=3)
        axes.annotate(
            heights.label, (barrier.top, top), textcoords="offset points", xytext=(3, 3),
            fontsize=6, color=colour,
        )  # fmt: skip


def _draw_states(axes: Any, path: EnergyPath, length: Array, states: States) -> None:
    """States at the nearest point of the path; those at the same place share a label."""
    gaps = np.linalg.norm(path.images[None] - states.centers[:, None], axis=2)
    rows = gaps.argmin(axis=1)
    axes.plot(
        length[rows], path.energies[rows], "o", ms=3, color=PATH_COLOUR,
        label="State (nearest point)",
    )  # fmt: skip
    for near in labels_apart(length[rows] / length[-1]):
        place = rows[near[len(near) // 2]]
        axes.annotate(
            numbers_text(near + 1), (length[place], path.energies[place]),
            textcoords="offset points", xytext=(0, -9), ha="center", fontsize=7,
        )  # fmt: skip


_CHARACTER = 0.014
"""Part of the path that a character of a label takes."""


def labels_apart(places: Array) -> list[Array]:
    """States (from 0) that share a label along the path, so that no two labels overlap.

    Parameters
    ----------
    places : (K,) array
        From 0 to 1 along the path.
    """
    order = np.argsort(places, kind="stable")
    groups: list[Array] = []
    for one in order:
        near = np.array([one])
        while groups:
            last = groups[-1]
            gap = places[near[len(near) // 2]] - places[last[len(last) // 2]]
            text = numbers_text(last + 1) + numbers_text(near + 1)
            if gap > _CHARACTER * (len(text) + 1) / 2:
                break
            near = np.concatenate([groups.pop(), near])
        groups.append(near)
    return groups


def numbers_text(numbers: Array) -> str:
    """Numbers as people write them, such as ``1-4, 7``."""
    ordered = np.unique(numbers)
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return ", ".join(
        f"{part[0]}-{part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts
    )


def draw_energies(
    paths: Sequence[Path], embedding: Array, by_class: Array, by_density: Array
) -> list[Path]:
    """Energy of each volume's own share against that of the population density around it.

    Parameters
    ----------
    embedding : (V, 2) array
    by_class, by_density : (V,) arrays
        Energies in kT.
    """
    limits = figure_limits(embedding, None)
    low = min(by_class.min(), by_density.min())
    high = max(by_class.max(), by_density.max())
    with styled_figure(186, 16 + max(40.0, axes_height(40, limits)), ncols=3) as (figure, grid):
        names = (VOLUME_ENERGY, DENSITY_ENERGY)
        titles = ("Share of the class (eq. 6)", "Population density")
        panels = zip(grid, (by_class, by_density), titles, names, strict=False)
        for axes, values, title, name in panels:
            dots = axes.scatter(
                *embedding.T, s=6, c=values, cmap="viridis", linewidths=0, vmin=low, vmax=high
            )
            axes.set_title(title, fontsize=8)
            bar = figure.colorbar(
                dots, ax=axes, shrink=0.8, pad=0.02, aspect=15, use_gridspec=False
            )
            bar.set_label(name, fontsize=7)
            decorate(axes, limits, words="")
        axes = grid[2]
        axes.plot([low, high], [low, high], color="0.6", lw=0.8, zorder=1)
        axes.scatter(by_class, by_density, s=6, color=STATE_COLOURS[0], linewidths=0, zorder=2)
        axes.set_xlabel(VOLUME_ENERGY)
        axes.set_ylabel(DENSITY_ENERGY)
        axes.set_title("Grey line: both equal", fontsize=8)
        axes.set_aspect("equal")
        return save_figure(figure, paths)


def draw_stability(
    paths: Sequence[Path], reference: Array, variants: Sequence[Variant]
) -> list[Path]:
    """Each volume's place in the reference joined to its place in every other embedding."""
    from matplotlib.collections import LineCollection

    spread = np.vstack([reference, *(variant.embedding for variant in variants)])
    limits = figure_limits(spread, None)
    across = min(3, len(variants))
    down = -(-len(variants) // across)
    height = 20 + axes_height(48, limits)
    with styled_figure(62 * across, height * down, nrows=down, ncols=across, squeeze=False) as (
        figure,
        grid,
    ):
        for axes in grid.flat[len(variants) :]:
            axes.set_visible(False)
        for axes, variant in zip(grid.flat, variants, strict=False):
            lines = np.stack([reference, variant.embedding], axis=1)
            axes.add_collection(LineCollection(list(lines), colors="0.7", linewidths=0.4))
            axes.scatter(*reference.T, s=4, color=STATE_COLOURS[0], linewidths=0, label="landscape")
            axes.scatter(
                *variant.embedding.T,
                s=4,
                color=STATE_COLOURS[1],
                linewidths=0,
                label="variant, aligned",
            )
            axes.set_title(
                f"seed {variant.seed}, perplexity {variant.perplexity:.3g}\n"
                f"disparity {variant.disparity:.2f}, neighbours {variant.kept_neighbours:.2f}",
                fontsize=6,
            )
            decorate(axes, limits, words="")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, fontsize=6, frameon=False, ncols=2, loc="outside upper center",
            markerscale=2,
        )  # fmt: skip
        return save_figure(figure, paths)
