"""Maximum-likelihood classification with fixed poses: one run, its outcome, and one expectation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.checkpoint import Checkpoint
from alphacryo4d.ml3d.classes import Model, Run
from alphacryo4d.ml3d.compiled.cache import announce
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.focus import without_surroundings
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.options import ClassifyOptions


@dataclass
class Classification:
    """Outcome of one classification.

    Attributes
    ----------
    labels : (n,) int32
        Most likely class of each row, from 0, in the order of the rows given; -1 of outliers.
    confidence : (n,) float32
        Its posterior probability; 0 of outliers.
    weights : (K,) float64
        Share of each class in the posteriors.
    parents : (K,) int32
        Class of the level above (0 in a flat scheme); class = parent * children + child.
    volumes : (K, box, box, box) float32
        Class volumes at the full box, low-passed to ``resolution``, contrast positive.
    resolution : float
        Finest resolution (A) that the expectation used.
    noise : (G, shells) float64
        Noise power per sample by noise group and shell.
    log : list of str
        What happened: resolution changes, classes re-initialised.
    """

    labels: Array
    confidence: Array
    weights: Array
    parents: Array
    volumes: Array
    resolution: float
    noise: Array
    log: list[str] = field(default_factory=list)


def classify(
    images: PreparedImages,
    rows: Array,
    options: ClassifyOptions,
    rng: np.random.Generator,
    *,
    start: Array | None = None,
    solvent: Array | None = None,
    focus: Array | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
    check: Callable[[], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Classification:
    """Classify some particles with fixed poses; images unlike all others take no part.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles to classify (rows of ``images``).
    options : ClassifyOptions
    rng : Generator
    start : array, optional
        Volumes (K, box, box, box) or soft labels (n, K) to start from instead of seeds.
    solvent : (box, box, box) array, optional
        Soft solvent mask; by default a sphere that narrows to what the volumes fill.
    focus : (box, box, box) array, optional
        Soft mask of the region that the classes may differ in. What the consensus holds outside is
        subtracted from the images first, so that it is accounted for, and added to the volumes.
    threads : int, optional
        Threads; by default all. The result does not depend on them.
    progress : Progress
    check : callable, optional
        Called before every iteration; stops the work by raising (``Deadline.check``).
    checkpoint : Checkpoint, optional
        Told the state after every iteration; a saved state is gone on with.

    Raises
    ------
    InputError
        All images are outliers.
    """
    every = np.asarray(rows, dtype=np.int64)
    rows, start = _informative(images, every, start)
    workers = thread_count(threads)
    announce(progress, "expect")
    surroundings = None
    if focus is not None:
        finest = min(options.initial_resolution, options.final_resolution or np.inf)
        images, surroundings = without_surroundings(
            images, rows, finest, diameter=options.mask_diameter, solvent=solvent, focus=focus,
            workers=workers,
        )  # fmt: skip
        solvent = focus
    run = Run(images, rows, options, rng, workers, progress, check or (lambda: None), solvent)
    run.reseeding = start is None
    model, first = _first_model(run, start, checkpoint)
    model = run.iterate(model, first, checkpoint)
    return _outcome(run, model, every, surroundings)


def _first_model(run: Run, start: Array | None, checkpoint: Checkpoint | None) -> tuple[Model, int]:
    """Classes to begin or to go on with, and the iteration to go on from."""
    saved = None if checkpoint is None else checkpoint.load()
    if saved is not None and str(saved["stage"]) == "classes":
        return run.restored(saved)
    return (run.seeded(saved, checkpoint) if start is None else run.started(start)), 0


def _informative(
    images: PreparedImages, rows: Array, start: Array | None
) -> tuple[Array, Array | None]:
    """The rows that are no outliers, and the start of these."""
    known = images.informative[rows]
    if not known.any():
        raise InputError(
            f"none of {len(rows)} images can be classified: they are constant, or of a contrast "
            "far from that of all others (alphacryo4d check --full says more)"
        )
    if start is not None:
        start = np.asarray(start)
        start = start[known] if start.ndim == 2 else start
    return rows[known], start


def _outcome(run: Run, model: Model, rows: Array, surroundings: Array | None) -> Classification:
    """Labels in the order of the rows given, and volumes at the full box."""
    soft = model.posteriors
    classes, box = soft.shape[1], run.images.box
    labels = np.full(len(run.images), -1, np.int32)
    confidence = np.zeros(len(run.images), soft.dtype)
    labels[run.rows], confidence[run.rows] = soft.argmax(axis=1), soft.max(axis=1)
    children = run.options.levels[-1] if len(run.options.levels) > 1 else classes
    volumes = resize_cubes(model.fields * model.mask, box) * np.float32(box)
    if surroundings is not None:
        volumes += surroundings
    return Classification(
        labels=labels[rows],
        confidence=confidence[rows],
        weights=model.posteriors.mean(axis=0, dtype=np.float64),
        parents=(np.arange(classes) // children).astype(np.int32),
        volumes=volumes,
        resolution=box * run.images.pixel_size / model.grid.radius,
        noise=model.noise,
        log=run.log,
    )


def expectation(
    images: PreparedImages,
    rows: Array,
    volumes: Array,
    *,
    resolution: float,
    noise: Array | None = None,
    threads: int | None = None,
) -> tuple[Array, Array]:
    """One expectation of particles against given volumes (held-out particles).

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles.
    volumes : (K, box, box, box) float32
        At the box and pixel size of the images, such as ``Classification.volumes``.
    resolution : float
        Finest resolution used (A), such as ``Classification.resolution``.
    noise : (G, shells) array, optional
        Noise power, such as ``Classification.noise``; estimated when not given.
    threads : int, optional

    Returns
    -------
    labels : (n,) int32
        Most likely volume of each row.
    posteriors : (n, K) float32
    """
    rows = np.asarray(rows, dtype=np.int64)
    workers = thread_count(threads)
    radius = min(shell_of_resolution(resolution, images.box, images.pixel_size), images.radius)
    grid = Grid(radius, workers)
    view = View(images, images.sorted_rows(rows), grid)
    references = grid.class_references(resize_cubes(volumes, grid.cube) / np.float32(images.box))
    even = np.full(len(volumes), 1 / len(volumes))
    if noise is None:
        noise = data_power(view)
        noise[:, 0] = noise[:, 1]
        for _ in range(2):
            noise = expect(view, references, 1 / noise, even).noise
            noise[:, 0] = noise[:, 1]
    outcome = expect(view, references, 1 / noise[:, : radius + 1], even)
    position = np.empty(len(images), np.int64)
    position[view.rows] = np.arange(len(rows))
    soft = outcome.posteriors[position[rows]]
    return soft.argmax(axis=1).astype(np.int32), soft
