"""Poses by several maps: an image of one conformation is not searched against the mean of all.

Far from the mean the best pose against it may be a wrong one. The classes of particles at their
poses so far are maps that are closer to every image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from alphacryo4d.alignment import climbing
from alphacryo4d.alignment.half_maps import moved_images
from alphacryo4d.alignment.poses import (
    Poses,
    Target,
    grid_steps,
    rotations_apart,
    shifts_within,
    target_of,
)
from alphacryo4d.alignment.search import EveryPose
from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.options import ClassifyOptions

RESOLUTION = 10.5
"""Finest resolution (A) of the classes and of the alignment to them."""
LEAST = 150
"""Particles of a class at least, on average."""
_FIRST = 15.0
"""Resolution (A) that the classes begin with."""
_COARSE = 8
"""Shell (pixels) to which all orientations are searched."""
_CANDIDATES = 8
_OWN = 2
"""Candidates of an image from the search, and those that begin at the pose it has."""
_BLOCK = 2000
"""Images whose candidates are in memory at once."""


def number_of_classes(asked: int, particles: int) -> int:
    """Classes of a quarter of the particles: those asked for, or as many as it fills."""
    return max(1, min(asked, particles // 4 // LEAST))


def targets_of(volumes: Array, radius: int, noise: Array, workers: int = 1) -> list[Target]:
    """Targets of maps (K, n, n, n) at the box of the images, up to a shell.

    Parameters
    ----------
    volumes : (K, n, n, n) array
    radius : int
        Last Fourier shell (pixels).
    noise : (G, shells) array
        Power of the noise.
    """
    grid = Grid(radius, workers)
    cubes = resize_cubes(volumes / np.float32(volumes.shape[1]), grid.cube)
    return [target_of(cube, grid, 1 / noise[:, : radius + 1]) for cube in cubes]


class EveryModel:
    """Search of all orientations against several maps.

    Parameters
    ----------
    images : PreparedImages
    targets : sequence of Target
        One of each map, all to one last shell.
    workers : int
    """

    def __init__(self, images: PreparedImages, targets: Sequence[Target], workers: int = 1) -> None:
        self.images, self.targets, self.workers = images, targets, workers
        self.coarse = min(_COARSE, targets[0].radius)
        step, slide = grid_steps(self.coarse, images.box)
        rotations = rotations_apart(step)
        self.searches = [
            EveryPose(
                images, replace(target, radius=self.coarse), rotations,
                shifts_within(slide, slide), workers=workers,
            )
            for target in targets
        ]  # fmt: skip

    def best(self, start: Poses, each: int = _CANDIDATES) -> tuple[Poses, Array]:
        """The best pose of every image, and its map.

        Parameters
        ----------
        start : Poses
            One of every image, which competes.
        each : int
            Candidates of the search that are refined.
        """
        count, several = len(start.row), len(self.targets)
        parts = [every.best(start.row, start.shifts, each) for every in self.searches]
        many = Poses.joined(parts, [each] * several)
        chosen = climbing.best_rows(many, each, each * several)
        model = np.tile(np.repeat(np.arange(several), each), count)[chosen]
        own, own_model = self._own(start)
        more = own_model.reshape(count, -1)
        candidates = Poses.joined([many.take(chosen), own], [each, more.shape[1]])
        which = np.concatenate([model.reshape(count, each), more], axis=1)
        poses, _, best = climbing.climb_models(
            self.images, self.targets, candidates, which.ravel(), which.shape[1], self.coarse,
            workers=self.workers,
        )  # fmt: skip
        return poses, best

    def _own(self, start: Poses) -> tuple[Poses, Array]:
        """The pose of every image with the maps that it fits best."""
        several = len(self.targets)
        scores = np.empty((len(start.row), several))
        for number, target in enumerate(self.targets):
            sums = climbing.fit(self.images, target, start, target.radius, self.workers)
            scores[:, number] = sums.score
        keep = min(_OWN, several)
        best = np.argsort(-scores, axis=1)[:, :keep]
        own = start.take(np.repeat(np.arange(len(start.row)), keep))
        own.score = np.take_along_axis(scores, best, axis=1).ravel()
        return own, best.ravel()


def align_to_classes(
    images: PreparedImages,
    halves: Array,
    poses: Poses,
    noise: Array,
    classes: int,
    radius: int,
    *,
    workers: int = 1,
    told: Callable[[float], None],
    check: Callable[[], None] = lambda: None,
) -> Poses:
    """Poses of all images by the classes of other particles of their half-set.

    Every half-set is cut in two. The particles of either part are classified at the poses that
    they have, and those of the other part are aligned to the classes: no image is compared with a
    map that holds its own noise, and half-sets stay apart.

    Parameters
    ----------
    images : PreparedImages
    halves : (P,) int array
        Half-set of every particle, 0 or 1.
    poses : Poses
        One of every image in use.
    noise : (G, shells) array
        Power of the noise.
    classes, radius : int
        Classes of a part, last Fourier shell of classes and alignment (pixels).
    told, check : callable
        Told what part is done; stops the work by raising.
    """
    quarter = 2 * halves[poses.row]
    quarter += np.random.default_rng(len(poses.row)).integers(0, 2, len(poses.row))
    done = 0
    for number in range(4):
        seen, judged = np.flatnonzero(quarter == (number ^ 1)), np.flatnonzero(quarter == number)
        if not len(seen):
            continue
        check()
        volumes = class_volumes(images, poses.take(seen), classes, radius, workers)
        every = EveryModel(images, targets_of(volumes, radius, noise, workers), workers)
        for begin in range(0, len(judged), _BLOCK):
            check()
            some = judged[begin : begin + _BLOCK]
            poses = poses.replaced(some, every.best(poses.take(some))[0])
            done += len(some)
            told(done / len(poses.row))
    return poses


def class_volumes(
    images: PreparedImages, poses: Poses, classes: int, radius: int, workers: int
) -> Array:
    """Volumes (K, n, n, n) of the classes of images at their poses, up to a shell."""
    finest = images.box * images.pixel_size / radius
    last = max(radius, shell_of_resolution(_FIRST, images.box, images.pixel_size))
    moved = moved_images(images, poses.row, poses.rotations, poses.shifts, last, workers)
    options = ClassifyOptions(
        classes=str(classes),
        initial_resolution=max(finest, _FIRST),
        final_resolution=min(finest, _FIRST),
    )
    rows, rng = np.arange(len(poses.row)), np.random.default_rng(0)
    return classify(moved, rows, options, rng, threads=workers).volumes
