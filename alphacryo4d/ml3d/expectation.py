"""Expectation and maximisation sums over particles: the kernels with their buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.compiled.components import (
    backproject,
    clear_block,
    expect_components,
    fold_blocks,
)
from alphacryo4d.ml3d.compiled.expect import expect_classes
from alphacryo4d.ml3d.compiled.vectors import FOUR, whole_vectors
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages

_CLOSED = -1e30
_BUFFER = 512 << 20
_DENSE = 8
"""Samples per voxel from which squared CTFs go to the nearest voxel."""


@dataclass(frozen=True)
class View:
    """Some particles seen up to some Fourier shell: what one iteration works on.

    Attributes
    ----------
    images : PreparedImages
    rows : (n,) int64
        Particles, in the order of viewing directions.
    grid : Grid
    """

    images: PreparedImages
    rows: Array
    grid: Grid

    @property
    def last(self) -> int:
        """Number of samples in use."""
        return self.images.samples_within(self.grid.radius)

    @property
    def positions(self) -> tuple[Array, Array]:
        """Positions of these samples (pixels), float32, and zeros up to whole vectors."""
        both = np.zeros((2, whole_vectors(self.last)), np.float32)
        both[:, : self.last] = self.images.kx[: self.last], self.images.ky[: self.last]
        return both[0], both[1]

    @property
    def starts(self) -> Array:
        """First sample of every shell, and the end of the last, (shells + 1,)."""
        shells = np.arange(self.grid.radius + 2)
        return np.searchsorted(self.images.shell[: self.last], shells)

    @property
    def matrices(self) -> Array:
        """Rotations from image pixels to the padded grid."""
        return self.images.matrices * np.float32(2.0)

    @property
    def turns(self) -> list[Array]:
        """These rotations combined with every rotation of the point group."""
        return [
            self.matrices if number == 0 else (self.matrices @ turn).astype(np.float32)
            for number, turn in enumerate(self.images.symmetry)
        ]

    @property
    def groups(self) -> int:
        """Number of noise groups."""
        return int(self.images.group.max()) + 1 if len(self.images.group) else 1

    def samples_per_shell(self) -> Array:
        """Number of samples of each noise group and shell, (G, shells)."""
        shells = np.bincount(self.images.shell[: self.last], minlength=self.grid.radius + 1)
        particles = np.bincount(self.images.group[self.rows], minlength=self.groups)
        return particles[:, None] * shells[None, :].astype(np.float64)


@dataclass
class Expectation:
    """Outcome of one expectation, in the order of the view's rows."""

    posteriors: Array
    """(n, K) float32."""
    evidence: Array
    """(n,) log of the mean likelihood ratio against noise alone."""
    noise: Array
    """(G, shells) power of data minus expected reference per sample."""
    moments: Array
    """(n, 2) inner product of data and expected reference, and norm of that, over the noise."""


def mean_power(power: Array, view: View) -> Array:
    """Power per sample by group and shell; small groups lean on all others.

    Parameters
    ----------
    power : (G, shells) array
        Sum over the samples of the view's particles.
    view : View

    Returns
    -------
    (G, shells) float64 array
        As if every group had ten more particles, which have the mean power of all.
    """
    samples = view.samples_per_shell()
    if len(power) == 1:
        return np.asarray(power / np.maximum(samples, 1))
    overall = power.sum(axis=0) / np.maximum(samples.sum(axis=0), 1)
    more = 10.0 * np.bincount(view.images.shell[: view.last], minlength=power.shape[1])
    return np.asarray((power + more * overall) / np.maximum(samples + more, 1))


def expect(
    view: View,
    references: Array,
    inverse_noise: Array,
    weights: Array,
    temperature: float = 1.0,
    *,
    before: Array | None = None,
    uncertainty: Array | None = None,
) -> Expectation:
    """Soft posteriors of the classes of every particle.

    Parameters
    ----------
    view : View
    references : (voxels, columns / 4, 8) float32
        Of ``Grid.class_references``.
    inverse_noise : (G, shells) float32
    weights : (K,) array
        Prior probabilities of the classes.
    temperature : float
        Divides the log-likelihoods.
    before : (n, K) array, optional
        Posteriors with which the references were made.
    uncertainty : (shells, K) array, optional
        Posterior variance of the references. With both, what a particle added to a reference
        itself is taken off its score: without this the noise of a particle holds it in its class.
    """
    images, n, grid = view.images, len(view.rows), view.grid
    matrices, positions, starts = view.matrices, view.positions, view.starts
    _, vectors, _ = references.shape
    columns = FOUR * vectors
    logs = np.full(columns, _CLOSED, np.float32)
    logs[: len(weights)] = np.log(np.maximum(weights, 1e-12))
    posteriors = np.empty((n, columns), np.float32)
    evidence = np.empty(n)
    moments = np.empty((n, 2), np.float32)
    inverse = inverse_noise.astype(np.float32)
    own = np.zeros((n, columns), np.float32)
    variance = np.zeros((grid.radius + 1, columns), np.float32)
    if before is not None and uncertainty is not None:
        own[:, : len(weights)] = before
        variance[:, : len(weights)] = uncertainty

    def work(begin: int, end: int, part: Array) -> None:
        expect_classes(
            begin, end, images.data, images.ctf, matrices, view.rows, *positions, starts,
            images.group, inverse, references.ravel(), grid.padded, logs, float(temperature),
            own.ravel(), variance.ravel(), posteriors, evidence, part, moments,
        )  # fmt: skip

    residual = sum_over_parts(work, n, (view.groups, grid.radius + 1), grid.workers)
    return Expectation(
        posteriors=posteriors[:, : len(weights)],
        evidence=evidence,
        noise=mean_power(residual, view),
        moments=moments,
    )


def component_products(
    view: View, references: Array, inverse_noise: Array, means: Array, second: Array
) -> tuple[Array, Array, Array]:
    """Inner products of the data with the columns, and of the columns with each other.

    Parameters
    ----------
    view : View
    references : (voxels, 2 columns) float32
        Of ``Grid.references``.
    inverse_noise : (G, shells) array
    means, second : (n, q), (n, q, q) float32
        Moments of the coordinates, with which the remaining noise is estimated.

    Returns
    -------
    cross : (n, q) float32
    gram : (n, q, q) float32
    noise : (G, shells) float64
        Power of data minus model per sample.
    """
    images, n, grid, positions = view.images, len(view.rows), view.grid, view.positions
    columns, width = means.shape[1], references.shape[1] // 2
    first = np.zeros((n, width), np.float32)
    first[:, :columns] = means
    pairs = grid.scratch("pairs", (n, width, width))
    pairs[:] = 0
    pairs[:, :columns, :columns] = second
    cross = np.zeros((n, width), np.float32)
    gram = np.zeros((n, width, width), np.float32)
    inverse, matrices = inverse_noise.astype(np.float32), view.matrices
    edges = np.searchsorted(images.shell[: view.last], np.arange(grid.radius + 2))

    def work(begin: int, end: int, part: Array) -> None:
        expect_components(
            begin, end, images.data, images.ctf, matrices, view.rows, *positions,
            edges, images.group, inverse, references.ravel(), grid.padded, columns,
            first.ravel(), pairs.ravel(), cross.ravel(), gram.ravel(), part,
        )  # fmt: skip

    residual = sum_over_parts(work, n, (view.groups, grid.radius + 1), grid.workers)
    noise = mean_power(residual, view)
    noise[:, 0] = noise[:, 1]
    return cross[:, :columns], gram[:, :columns, :columns], noise


def sum_over_parts(
    work: Callable[[int, int, Array], None], count: int, shape: tuple[int, ...], workers: int
) -> Array:
    """Run ``work(begin, end, part)`` in fixed ranges and add the parts in fixed order."""
    parts = int(np.clip(count // 256, 1, 64))
    results = np.zeros((parts, *shape))

    def one(begin: int, end: int) -> None:
        work(begin, end, results[(begin * parts + count - 1) // count])

    in_ranges(one, count, parts, workers)
    total: Array = results.sum(axis=0)
    return total


def project_back(
    view: View, inverse_noise: Array, coefficients: Array, products: Array
) -> tuple[Array, Array]:
    """Sums of the maximisation on the padded grid, until the next call overwrites them.

    Parameters
    ----------
    coefficients : (n, q) float32
        Weight of a particle's data in every column.
    products : (n, r) float32
        Weight of its squared CTF for every pair of columns (packed upper triangles).

    Returns
    -------
    right : (q, N, N, N // 2 + 1) complex64
    weights : (voxels, r) float32
        Laid out one column after the other.
    """
    images, grid, positions = view.images, view.grid, view.positions
    count, q = coefficients.shape
    r, last = products.shape[1], view.last
    even, wide = -(-q // 4) * 4, whole_vectors(r)
    second = np.zeros((count, wide), np.float32)
    second[:, :r] = products
    mean = np.zeros((count, even), np.float32)
    mean[:, :q] = coefficients
    fitting = _BUFFER // (grid.voxels * (2 * even + wide) * 4)
    blocks = int(np.clip(min(fitting, count * last // (16 * grid.voxels)), 2, 8))
    sums = grid.scratch("sums", (blocks, grid.voxels, 2 * even))
    norms = grid.scratch("norms", (blocks, grid.voxels, wide))
    dense = count * last > _DENSE * grid.voxels
    inverse, turns = inverse_noise.astype(np.float32), view.turns

    def work(begin: int, end: int) -> None:
        for block in range(begin, end):
            clear_block(grid.padded, 2 * grid.radius, sums[block], norms[block])
            for matrices in turns:
                backproject(
                    block * count // blocks, (block + 1) * count // blocks, images.data,
                    images.ctf, matrices, view.rows, *positions, images.shell, last,
                    images.group, inverse, mean, second, grid.padded, dense,
                    sums[block].reshape(-1), norms[block].reshape(-1),
                )  # fmt: skip

    in_ranges(work, blocks, blocks, grid.workers)
    size = grid.padded
    right = grid.scratch("right", (q, size, size, size // 2 + 1), np.complex64)
    weights = grid.scratch("weights", (r, grid.voxels))
    in_ranges(
        fold_blocks, size, 16, grid.workers, sums, norms, size, 2 * grid.radius, right, weights
    )
    return right, weights.T
