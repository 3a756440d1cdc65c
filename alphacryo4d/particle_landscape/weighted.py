"""Volumes at points: all particles projected back, each with its weight near the point.

All points are served in one pass over the images: a block of images is projected back for every
point and half-set before the next is touched. First in rings around the point, on a grid without
padding: weighted sums of rings stand for every width, which is enough to choose that of every
shell. Then once more, every shell with the weights of its own width, on the padded grid of the
reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.threads import in_tasks
from alphacryo4d.ml3d.compiled.classes import backproject_class
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid, aligned_zeros
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.particle_landscape.width_choice import (
    RINGS,
    chosen_widths,
    explained_by_width,
    rings_of,
)

_BLOCK = 2048
_NOISE_IMAGES = 512


@dataclass(frozen=True)
class PointWeights:
    """Particles near a point.

    Attributes
    ----------
    weights : (P, K) float32
        Weight of every image of the prepared ones for every width, the narrowest first.
    """

    weights: Array


def memory_of_point(box: int) -> float:
    """Memory (GB) that one point takes while the images are projected back."""
    grid = Grid(box // 2 - 1)
    plain = grid.cube**2 * (grid.cube // 2 + 1)
    return 2 * 4 * 4 * max(grid.voxels, RINGS * plain) / 2**30


def noise_power(images: PreparedImages) -> Array:
    """Power per sample of every shell, (radius + 1,): nearly all of it noise."""
    rows = np.unique(np.linspace(0, len(images) - 1, _NOISE_IMAGES).astype(np.int64))
    power = np.square(images.data[rows]).sum(axis=(0, 2), dtype=np.float64)
    return np.asarray(
        np.bincount(images.shell, power) / (np.bincount(images.shell) * max(1, len(rows)))
    )


def choose_widths(
    images: PreparedImages,
    points: list[PointWeights],
    halves: Array,
    *,
    workers: int = 1,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
) -> list[Array]:
    """Width (its column) of every shell for every point, by half-sets that judge each other.

    Parameters
    ----------
    images : PreparedImages
        Of all shells.
    points : list of PointWeights
    halves : (P,) int array
        Half-set of every image, 0 or 1.
    workers : int
    progress, check : callable

    Returns
    -------
    list of (shells,) int arrays
    """
    grid = Grid(images.radius)
    voxels = grid.cube**2 * (grid.cube // 2 + 1)
    rings = [rings_of(point.weights) for point in points]
    sums = [aligned_zeros((2, RINGS, voxels, 4)) for _ in points]
    view = View(images, np.arange(0), grid)
    positions, last = view.positions, view.last
    turns = [np.ascontiguousarray(turn * np.float32(0.5)) for turn in view.turns]
    ones = np.ones((1, last), np.float32)
    group = np.zeros(len(images), np.int32)

    def work(point: int, half: int, rows: Array) -> None:
        of = rings[point][0][rows]
        for ring in np.unique(of):
            some = rows[of == ring]
            for turn in turns:
                backproject_class(
                    np.arange(len(some)), np.ones(len(some), np.float32), images.data, images.ctf,
                    turn, some, *positions, last, group, ones, grid.cube,
                    sums[point][half, ring].reshape(-1),
                )  # fmt: skip

    near = [np.asarray(point.weights.any(axis=1)) for point in points]
    _one_pass(images, near, halves, work, workers, progress, check)
    noise = noise_power(images)
    widths: list[Array] = [np.empty(0)] * len(points)

    def judge(point: int) -> None:
        explained = explained_by_width(sums[point], rings[point][1], grid.shell_map)
        widths[point] = chosen_widths(explained, noise)
        sums[point] = np.empty(0)

    in_tasks(judge, range(len(points)), workers)
    return widths


def weighted_sums(
    images: PreparedImages,
    points: list[PointWeights],
    choices: list[Array],
    halves: Array,
    *,
    workers: int = 1,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
) -> list[Array]:
    """Images projected back for every point and half-set, each shell with the weights of its width.

    Parameters
    ----------
    images, points, halves, workers, progress, check
        As for :func:`choose_widths`.
    choices : list of (shells,) int arrays
        What :func:`choose_widths` gives.

    Returns
    -------
    list of (2, voxels, 4) float32 arrays
        As :func:`alphacryo4d.ml3d.reconstruct.finished` takes them.
    """
    grid = Grid(images.radius)
    sums = [aligned_zeros((2, grid.voxels, 4)) for _ in points]
    view = View(images, np.arange(0), grid)
    positions, last, turns = view.positions, view.last, view.turns
    of_sample = [choice[images.shell[:last]] for choice in choices]
    place = np.empty(len(images), np.int32)
    place[images.order] = np.arange(len(images)) % _BLOCK

    def work(point: int, half: int, rows: Array) -> None:
        by_sample = np.zeros((_BLOCK, last), np.float32)
        by_sample[place[rows]] = np.take(points[point].weights[rows], of_sample[point], axis=1)
        everyone, once = np.arange(len(rows)), np.ones(len(rows), np.float32)
        for turn in turns:
            backproject_class(
                everyone, once, images.data, images.ctf, turn, rows, *positions, last, place,
                by_sample, grid.padded, sums[point][half].reshape(-1),
            )  # fmt: skip

    near = [
        np.asarray(point.weights[:, np.unique(choice)].any(axis=1))
        for point, choice in zip(points, choices, strict=True)
    ]
    _one_pass(images, near, halves, work, workers, progress, check)
    return sums


def _one_pass(
    images: PreparedImages,
    near: list[Array],
    halves: Array,
    work: Callable[[int, int, Array], None],
    workers: int,
    progress: Progress,
    check: Callable[[], None],
) -> None:
    """Call ``work(point, half, rows)`` for every block of images, before the next is touched."""
    order = images.order
    for begin in range(0, len(order), _BLOCK):
        check()
        progress(begin, len(order))
        block = order[begin : begin + _BLOCK]

        def one(task: int, block: Array = block) -> None:
            point, half = divmod(task, 2)
            rows = block[near[point][block] & (halves[block] == half)]
            if len(rows):
                work(point, half, rows)

        in_tasks(one, range(2 * len(near)), workers)
    progress(1, 1)
