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

from alphacryo4d.ml3d.kernels_classes import (
    apply_prior,
    backproject_class,
    cell_variances,
    cell_weights,
    fold_class,
    inner_product,
    significant,
    solve_cells,
)
from alphacryo4d.ml3d.kernels_linear import in_ranges, in_tasks
from alphacryo4d.ml3d.model import Grid, aligned_zeros
from alphacryo4d.ml3d.sums import View

Array = np.ndarray[Any, Any]

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
    counts = np.count_nonzero(posteriors >= LEAST, axis=0)
    ends = np.concatenate([[0], np.cumsum(counts)])
    members, shares = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.float32)
    significant(posteriors, np.float32(LEAST), ends[:-1].copy(), members, shares)
    right = np.zeros((classes, size, size, size // 2 + 1), np.complex64)
    weights = np.zeros((classes, size, size, size // 2 + 1), np.float32)
    positions, turns, last = view.positions, [turn.ravel() for turn in view.turns], view.last
    inverse = inverse_noise.astype(np.float32)[:, images.shell[:last]]

    def one(k: int) -> None:
        sums, part = aligned_zeros((grid.voxels, 4)), slice(ends[k], ends[k + 1])
        for matrices in turns:
            backproject_class(
                members[part], shares[part], images.data, images.ctf, matrices, view.rows,
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
    count, voxels = len(start), len(grid.shell_map)
    inverse_own = 1.0 / own
    cells = np.empty((count, voxels), np.float32)
    fields = start.astype(np.float32)
    residual = np.empty((count, voxels), np.complex64)
    single = Grid(grid.radius, 1)
    shape = (mask / grid.kernel_transform).astype(np.float32)
    known = bool(fields.any())

    def in_fourier(function: Any, values: Array, *arguments: Any) -> Array:
        spectra = values.copy()
        in_ranges(function, voxels, 16, grid.workers, *arguments, grid.shell_map, spectra)
        return spectra

    def begin(k: int) -> None:
        cell_weights(sums.weights[k].ravel(), grid.cube, grid.padded, grid.shell_map, cells[k])
        gradient = single.cropped(sums.right[k], shape)
        if known:
            gradient -= single.weighted(fields[k], mask, sums.weights[k])
        residual[k] = single.transform(gradient[None])[0]

    every = range(count)
    in_tasks(begin, every, grid.workers)
    if known:
        residual -= in_fourier(apply_prior, grid.transform(fields), inverse_own, common)
    search = direction = in_fourier(solve_cells, residual, cells, inverse_own, common)
    half = grid.cube // 2 + 1
    old = inner_product(residual, direction, half)
    moves = np.empty_like(fields)
    for step in range(steps):
        moved = in_fourier(apply_prior, search, inverse_own, common)

        def advance(k: int, search: Array = search, moved: Array = moved) -> None:
            moves[k] = single.inverse(search[k : k + 1])[0]
            product = single.weighted(moves[k], mask, sums.weights[k])
            moved[k] += single.transform(product[None])[0]

        in_tasks(advance, every, grid.workers)
        length = old / max(inner_product(search, moved, half), 1e-30)
        fields += np.float32(length) * moves
        if step + 1 == steps:
            break
        residual -= np.float32(length) * moved
        direction = in_fourier(solve_cells, residual, cells, inverse_own, common)
        new = inner_product(residual, direction, half)
        search = direction + np.float32(new / max(old, 1e-30)) * search
        old = new
    diagonal = np.zeros((grid.radius + 1, count))
    apart = np.zeros((grid.radius + 1, count))
    cell_variances(cells, inverse_own, common, grid.shell_map, diagonal, apart)
    sizes = grid.shell_sizes[:, None]
    return ClassSolution(fields, diagonal / sizes, apart / sizes)
