"""Maximisation of the classes: their back-projections, and the volumes under one shared prior.

The prior says that classes deviate from their mean: covariance ``diag(own[h]) + common[h] 1 1'``
for the Fourier components of shell h of the K classes, where ``own`` is as a rule the same for
all. A class with few particles is then drawn to the mean, not to zero. A particle is only added
to classes to which it may belong, so that the cost grows with the particles, not with particles
times classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import conjugate_gradients
from alphacryo4d.maths.threads import in_ranges, in_tasks
from alphacryo4d.ml3d.cells import (
    apply_prior,
    cell_variances,
    cell_weights,
    inner_product,
    solve_cells,
)
from alphacryo4d.ml3d.compiled.classes import backproject_class, fold_class
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid, aligned_zeros

LEAST = 2e-3
"""Posterior below which a particle does not add to a class."""


@dataclass
class ClassSums:
    """Sums of the maximisation on the padded grid, class by class."""

    right: Array
    """(K, N, N, N // 2 + 1) complex64: data times CTF over noise, origin at the first voxel."""
    weights: Array
    """(K, N, N, N // 2 + 1) float32: squared CTF over noise."""


def class_sums(view: View, inverse_noise: Array, posteriors: Array) -> ClassSums:
    """Back-project the particles of every class with their posteriors.

    Parameters
    ----------
    view : View
    inverse_noise : (G, shells) array
    posteriors : (n, K) float32
        In the order of the view's rows.

    Returns
    -------
    ClassSums
        The same to the last bit, whatever the number of threads.
    """
    images, grid, size = view.images, view.grid, view.grid.padded
    classes = posteriors.shape[1]
    kept = posteriors >= LEAST
    counts = np.count_nonzero(kept, axis=0)
    ends = np.concatenate([[0], np.cumsum(counts)])
    totals = np.sum(posteriors, axis=1, where=kept)
    factor = posteriors.sum(axis=1) / np.maximum(totals, np.float32(LEAST))
    members = np.ascontiguousarray(np.nonzero(kept.T)[1])
    of_members = (posteriors * factor[:, None]).T[kept.T]
    right = np.zeros((classes, size, size, size // 2 + 1), np.complex64)
    weights = np.zeros((classes, size, size, size // 2 + 1), np.float32)
    positions, turns, last = view.positions, view.turns, view.last
    inverse = inverse_noise.astype(np.float32)[:, images.shell[:last]]

    def one(k: int) -> None:
        sums, part = aligned_zeros((grid.voxels, 4)), slice(ends[k], ends[k + 1])
        for matrices in turns:
            backproject_class(
                members[part], of_members[part], images.data, images.ctf, matrices, view.rows,
                *positions, last, images.group, inverse, size, sums.reshape(-1),
            )  # fmt: skip
        fold_class(sums, size, 2 * grid.radius + 3, right[k], weights[k])

    in_tasks(one, np.argsort(-counts, kind="stable"), grid.workers)
    return ClassSums(right, weights)


@dataclass
class ClassSolution:
    """Class volumes that maximise the posterior, and how well the data fix them."""

    fields: Array
    """(K, n, n, n) float32: the volumes before the mask."""
    variance: Array
    """(shells, K): mean posterior variance of the Fourier components of a shell."""
    apart: Array
    """(shells, K): mean posterior variance of the deviations from the mean of the classes."""


def solve_classes(
    grid: Grid,
    sums: ClassSums,
    own: Array,
    common: Array,
    *,
    mask: Array,
    start: Array,
    steps: int,
) -> ClassSolution:
    """Regularised volumes of all classes by preconditioned conjugate gradients.

    Minimises ``sum |y - c P M w|^2 / noise + w' inverse(diag(own) + common 1 1') w`` over the
    fields ``w``, where M is the solvent mask. The data term is a convolution: it is applied as a
    product on the padded Fourier grid, which is exact for volumes of the size of the cube.

    Parameters
    ----------
    grid : Grid
    sums : ClassSums
    own : (shells, K) array
        Prior variance of the deviations from the mean.
    common : (shells,) array
        Prior variance of the mean.
    mask : (n, n, n) float32
        Soft solvent mask.
    start : (K, n, n, n) float32
        Fields to start from.
    steps : int
        Conjugate gradient steps.
    """
    equations = _Equations(grid, sums, 1.0 / own, common, mask)
    fields = start.astype(np.float32)
    residual = equations.residual(fields)
    conjugate_gradients(
        equations.product, equations.preconditioned, fields, residual, steps, inner=equations.inner
    )
    diagonal, apart = cell_variances(equations.cells, 1.0 / own, common, grid.shell_map)
    return ClassSolution(fields, grid.shell_means(diagonal).T, grid.shell_means(apart).T)


class _Equations:
    """The normal equations of the classes; fields are given by their unpadded half spectra.

    So the prior and what comes close to the inverse cost no transforms, and a step of the conjugate
    gradients costs two of each class beside those of the data term.
    """

    def __init__(
        self, grid: Grid, sums: ClassSums, inverse_own: Array, common: Array, mask: Array
    ) -> None:
        self.grid, self.single, self.sums, self.mask = grid, Grid(grid.radius, 1), sums, mask
        self.inverse_own, self.common = inverse_own, common
        self.shape = (len(sums.weights), len(grid.shell_map))
        self.cells = np.empty(self.shape, np.float32)

    def _by_voxel(self, function: Any, values: Array, *arguments: Any) -> Array:
        spectra, grid = values.copy(), self.grid
        prior = (self.inverse_own, self.common, grid.shell_map)
        in_ranges(function, self.shape[1], 16, grid.workers, *arguments, *prior, spectra)
        return spectra

    def residual(self, fields: Array) -> Array:
        """Gradient at some fields; fills the weights of the cells too."""
        grid, single, sums = self.grid, self.single, self.sums
        flat = (self.mask / grid.kernel_transform).astype(np.float32)
        known = bool(fields.any())
        residual = np.empty(self.shape, np.complex64)

        def one(k: int) -> None:
            weights = sums.weights[k]
            self.cells[k] = cell_weights(weights, grid.shell_map)
            gradient = single.cropped(sums.right[k], flat)
            if known:
                gradient -= single.weighted(fields[k], self.mask, weights)
            residual[k] = single.transform(gradient[None])[0]

        in_tasks(one, range(len(fields)), grid.workers)
        if known:
            residual -= self._by_voxel(apply_prior, grid.transform(fields))
        return residual

    def preconditioned(self, values: Array) -> Array:
        """Close to the inverse: the mask and the neighbours of a voxel are left out."""
        return self._by_voxel(solve_cells, values, self.cells)

    def product(self, search: Array) -> tuple[Array, Array]:
        """The fields themselves, and the operator on them."""
        single = self.single
        fields = np.empty((len(search), *self.mask.shape), np.float32)
        moved = self._by_voxel(apply_prior, search)

        def one(k: int) -> None:
            fields[k] = single.inverse(search[k : k + 1])[0]
            data = single.weighted(fields[k], self.mask, self.sums.weights[k])
            moved[k] += single.transform(data[None])[0]

        in_tasks(one, range(len(search)), self.grid.workers)
        return fields, moved

    def inner(self, one: Array, other: Array) -> float:
        """Inner product, up to the number of voxels."""
        return float(inner_product(one, other, self.grid.cube // 2 + 1))


def correlation_of_halves(
    view: View, inverse_noise: Array, posteriors: Array, mask: Array, own: Array
) -> Array:
    """Correlation by shell of the classes' deviations from their mean between half sets.

    Parameters
    ----------
    view : View
    inverse_noise : (G, shells) array
    posteriors : (n, K) float32
    mask : (n, n, n) float32
    own : (shells, K) array
        Prior variance of the classes.

    Returns
    -------
    (shells,) float64 array
    """
    grid, deviations = view.grid, []
    for side in (0, 1):
        half = posteriors.copy()
        half[side::2] = 0
        nothing = np.zeros((posteriors.shape[1], *mask.shape), np.float32)
        sums, common = class_sums(view, inverse_noise, half), np.zeros(len(own))
        solution = solve_classes(grid, sums, own, common, mask=mask, start=nothing, steps=3)
        spectra = grid.transform(solution.fields * mask)
        deviations.append(spectra - spectra.mean(axis=0))
    one, two = deviations
    both = grid.shell_means((one * two.conj()).real.sum(axis=0)[None])[0]
    power = [grid.shell_means((np.abs(side) ** 2).sum(axis=0)[None])[0] for side in deviations]
    curve: Array = both / np.sqrt(np.maximum(power[0] * power[1], 1e-30))
    return curve
