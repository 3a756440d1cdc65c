"""Crossed EM: every particle is judged by volumes that it did not help to make.

In plain EM a particle's own noise is part of the volume of its class, and at high resolution it
outweighs the difference between neighbouring states: labels freeze and posteriors go to one. Here
the particles of a fold are dealt into parts; the volumes that judge a part come from the others.
Posteriors stay calibrated, so that resolution can rise and votes can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.ml3d.components import data_power, sphere_mask
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.kernels_linear import thread_count
from alphacryo4d.ml3d.model import Grid, resize_cubes, solve_volumes
from alphacryo4d.ml3d.sums import View, expect, project_back

Array = np.ndarray[Any, Any]


@dataclass
class CrossedStates:
    """Outcome of a crossed classification.

    Attributes
    ----------
    posteriors : (n, K) float32
        Of each particle, from volumes of the other parts, in the order of the rows.
    volumes : (K, box, box, box) float32
        From all particles, regularised.
    noise : (G, shells) float64
        Noise power by noise group and shell.
    resolution : float
        Finest resolution used (A).
    """

    posteriors: Array
    volumes: Array
    noise: Array
    resolution: float


class _CrossedModel:
    """Volumes of the states for each part, on one Fourier grid."""

    def __init__(
        self,
        images: PreparedImages,
        rows: Array,
        parts: Array,
        grid: Grid,
        mask_diameter: float | None,
    ) -> None:
        self.images, self.grid = images, grid
        self.views = [
            View(images, images.sorted_rows(rows[parts == part]), grid)
            for part in range(int(parts.max()) + 1)
        ]
        self.mask = sphere_mask(grid, images, mask_diameter)
        self.filled = float(np.mean(self.mask**2))
        power = [data_power(view) for view in self.views]
        self.noise = np.mean(power, axis=0)
        self.noise[:, 0] = self.noise[:, 1]
        self.fields: list[Array] = []
        self.covariance: Array | None = None

    def maximise(self, soft: Array, steps: int) -> tuple[Array, Array]:
        """Volumes of every part from the soft labels (P, K) of the others; sums over all."""
        classes = soft.shape[1]
        if self.covariance is None:
            weak = 1e3 * self.noise.mean(axis=0)[:, None, None]
            self.covariance = np.eye(classes) * weak
            cube = (classes, *self.mask.shape)
            self.fields = [np.zeros(cube, np.float32) for _ in self.views]
        precision = np.linalg.inv(self.covariance).astype(np.float32)
        sums = [
            project_back(view, 1 / self.noise, soft[view.rows], soft[view.rows])
            for view in self.views
        ]
        right = np.sum([part[0] for part in sums], axis=0)
        weights = np.sum([part[1] for part in sums], axis=0)
        priors = []
        for part, (own_right, own_weights) in enumerate(sums):
            solution = solve_volumes(
                self.grid,
                right - own_right if len(sums) > 1 else right.copy(),
                weights - own_weights if len(sums) > 1 else weights,
                precision,
                mask=self.mask,
                start=self.fields[part],
                steps=steps,
            )
            self.fields[part] = solution.fields
            priors.append(self._prior(solution.fields, solution.variance))
        self.covariance = np.mean(priors, axis=0)
        return right, weights

    def _prior(self, fields: Array, variance: Array) -> Array:
        """Covariance of the states by shell: a common part, and one spectrum of deviations."""
        classes = len(fields)
        spectra = self.grid.transform(fields)
        mean = spectra.mean(axis=0)
        common = self.grid.shell_means(np.abs(mean[None]) ** 2)[0] / self.filled
        apart = self.grid.shell_means(np.abs(spectra - mean) ** 2).sum(axis=0) / self.filled
        spread = np.trace(variance, axis1=1, axis2=2) - variance.sum(axis=(1, 2)) / classes
        own = (apart + spread) / max(classes - 1, 1)
        own = np.maximum(own, 1e-6 * common + 1e-20)
        ones = np.ones((classes, classes))
        prior: Array = own[:, None, None] * np.eye(classes) + common[:, None, None] * ones
        return prior

    def expect(self, soft: Array) -> None:
        """Soft labels of every part from its volumes, into ``soft`` (P, K); and the noise."""
        weights = np.full(soft.shape[1], 1 / soft.shape[1])
        noise, total = np.zeros_like(self.noise), 0
        for view, fields in zip(self.views, self.fields, strict=True):
            references = self.grid.references(fields * self.mask)
            outcome = expect(view, references, 1 / self.noise, weights)
            soft[view.rows] = outcome.posteriors
            noise += len(view.rows) * outcome.noise
            total += len(view.rows)
        self.noise = noise / total
        self.noise[:, 0] = self.noise[:, 1]

    def whole(self, right: Array, weights: Array) -> Array:
        """Volumes (K, m, m, m) of all parts together."""
        assert self.covariance is not None
        precision = np.linalg.inv(self.covariance).astype(np.float32)
        start = np.mean(self.fields, axis=0)
        solution = solve_volumes(
            self.grid, right, weights, precision, mask=self.mask, start=start, steps=4
        )
        return solution.cubes


def classify_crossed(
    images: PreparedImages,
    rows: Array,
    parts: Array,
    start: Array,
    *,
    resolutions: list[float],
    iterations: int,
    mask_diameter: float | None = None,
    threads: int | None = None,
    check: Callable[[], None] | None = None,
) -> CrossedStates:
    """Classify particles from soft labels, each judged without its own part.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles.
    parts : (n,) int array
        Part of each, from 0; at least two parts.
    start : (n, K) array
        Soft labels; rows of zeros weigh nothing at the start.
    resolutions : list of float
        Resolution (A) of each step, coarse to fine.
    iterations : int
        Iterations of each step.
    mask_diameter : float, optional
        Diameter of the spherical solvent mask (A).
    threads : int, optional
    check : callable, optional
        Called before every iteration; stops the work by raising.
    """
    soft = np.zeros((len(images), start.shape[1]), np.float32)
    soft[rows] = start
    workers = thread_count(threads)
    for resolution in resolutions:
        shell = shell_of_resolution(resolution, images.box, images.pixel_size)
        grid = Grid(min(shell, images.radius), workers)
        model = _CrossedModel(images, rows, parts, grid, mask_diameter)
        for _ in range(3):  # the prior settles before any particle is judged
            right, weights = model.maximise(soft, 6)
        for _ in range(iterations):
            if check is not None:
                check()
            model.expect(soft)
            right, weights = model.maximise(soft, 3)
    cubes = model.whole(right, weights)
    return CrossedStates(
        posteriors=soft[rows],
        volumes=resize_cubes(cubes, images.box) * np.float32(images.box),
        noise=model.noise,
        resolution=images.box * images.pixel_size / grid.radius,
    )
