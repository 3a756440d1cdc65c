"""Fourier grids of the iterations, and the regularised solution for the volumes on them.

Inside the iterations a volume is a small cube that holds the Fourier shells in use: the same
physical box as the images, sampled at the resolution limit. References are its Fourier transform
on a grid padded twofold, read by trilinear interpolation; the cube is divided by the transform of
the interpolation kernel beforehand, so that projection is close to exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.linear_solvers import conjugate_gradients
from alphacryo4d.maths.threads import in_ranges, in_tasks
from alphacryo4d.ml3d.cells import voxel_inverses
from alphacryo4d.ml3d.compiled.basic import lay_column
from alphacryo4d.ml3d.compiled.linear import apply_voxel_matrices, apply_weights
from alphacryo4d.ml3d.compiled.vectors import FOUR, whole_vectors


def aligned_zeros(shape: tuple[int, ...]) -> Array:
    """float32 zeros that start at a cache line; memory that stays untouched costs nothing."""
    size = int(np.prod(shape))
    raw = np.zeros(size + 16, np.float32)
    start = (-raw.ctypes.data % 64) // 4
    return raw[start : start + size].reshape(shape)


@dataclass(frozen=True)
class Grid:
    """Cube that holds the Fourier shells up to ``radius``, and its padded Fourier grid.

    Attributes
    ----------
    radius : int
        Last Fourier shell in use (pixels of the images' Fourier transform).
    workers : int
        Threads of the Fourier transforms.
    """

    radius: int
    workers: int = 1

    @cached_property
    def cube(self) -> int:
        """Edge of the cube in voxels: even, with small prime factors."""
        size = 2 * self.radius + 2
        while size % 2 or scipy.fft.next_fast_len(size) != size:
            size += 1
        return size

    @property
    def padded(self) -> int:
        """Edge of the padded grid."""
        return 2 * self.cube

    @cached_property
    def _scratch(self) -> dict[str, Array]:
        return {}

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        """Uninitialised array that starts at a cache line, in memory kept for the next call.

        Fresh memory costs more time than the sums that are made in it. One caller at a time may
        use a name.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        held = self._scratch.get(name)
        if held is None or len(held) < size:
            raw = np.empty(size + 64, np.uint8)
            held = raw[-raw.ctypes.data % 64 :]
            self._scratch[name] = held
        array: Array = held[:size].view(dtype).reshape(shape)
        return array

    @property
    def voxels(self) -> int:
        """Number of voxels of the padded half grid."""
        return self.padded * self.padded * (self.padded // 2 + 1)

    @cached_property
    def shell_map(self) -> Array:
        """Shell of every voxel of the unpadded half grid, -1 beyond the radius (int32, flat)."""
        n = self.cube
        k = np.fft.fftfreq(n, 1 / n)
        square = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(n // 2 + 1) ** 2.0
        radius = np.sqrt(square)
        shell = np.where(radius <= self.radius + 0.5, np.rint(radius), -1).astype(np.int32)
        return np.minimum(shell, self.radius).ravel()

    @cached_property
    def shell_sizes(self) -> Array:
        """Number of voxels of each shell of the half grid, (radius + 1,)."""
        used = self.shell_map[self.shell_map >= 0]
        return np.bincount(used, minlength=self.radius + 1)

    @cached_property
    def kernel_transform(self) -> Array:
        """Transform of the trilinear kernel over the cube, (cube, cube, cube) float32."""
        position = (np.arange(self.cube) - self.cube // 2) / self.padded
        line = np.sinc(position) ** 2
        return (line[:, None, None] * line[:, None] * line).astype(np.float32)

    def pad_transform(self, cubes: Array) -> Array:
        """Transform of cubes (q, n, n, n) on the padded grid, (q, N, N, N // 2 + 1) complex64.

        The origin stays at the first voxel of the cube.
        """
        return self._forward(cubes, self.workers)

    def _forward(self, cubes: Array, workers: int) -> Array:
        n = self.padded
        spectra = scipy.fft.rfft(cubes, n=n, axis=3, workers=workers)
        spectra = scipy.fft.fft(spectra, n=n, axis=2, workers=workers, overwrite_x=True)
        spectra = scipy.fft.fft(spectra, n=n, axis=1, workers=workers, overwrite_x=True)
        return np.asarray(spectra)

    def crop_inverse(self, spectra: Array) -> Array:
        """Adjoint of :meth:`pad_transform` divided by the voxels of the cube; eats its input."""
        return self._back(spectra, self.workers)

    def _back(self, spectra: Array, workers: int) -> Array:
        n, m = self.padded, self.cube
        part = scipy.fft.ifft(spectra, axis=1, workers=workers, overwrite_x=True)[:, :m]
        part = scipy.fft.ifft(part, axis=2, workers=workers)[:, :, :m]
        part = scipy.fft.irfft(part, n=n, axis=3, workers=workers)[..., :m]
        return 8.0 * np.ascontiguousarray(part)

    @property
    def used(self) -> int:
        """Voxels of the padded grid from the origin on that samples reach."""
        return 2 * self.radius + 2

    def weighted(
        self, cube: Array, shape: Array, weights: Array, right: Array | None = None
    ) -> Array:
        """``shape`` times what :meth:`crop_inverse` makes of ``weights`` times the transform.

        Of one cube (n, n, n) times ``shape`` alike; ``weights`` (N, N, N // 2 + 1) float32. With
        ``right`` (alike, complex64), of ``right`` less this product. In the calling thread: the
        spectrum of one class fits the cache, those of all would not.
        """
        spectrum = self._forward((cube * shape)[None], 1)
        parts = spectrum.view(np.float32).reshape(*spectrum.shape, 2)
        parts *= weights[..., None]
        if right is not None:
            np.subtract(right, spectrum, out=spectrum)
        return np.asarray(self._back(spectrum, 1)[0] * shape)

    def cropped(self, spectrum: Array, shape: Array) -> Array:
        """``shape`` times :meth:`crop_inverse` of one spectrum."""
        return np.asarray(self._back(spectrum.copy()[None], 1)[0] * shape)

    def references(self, cubes: Array, out: Array | None = None) -> Array:
        """Columns of the kernels' grid from cubes (q, n, n, n), origin at n // 2: (voxels, 2 K)."""
        columns = whole_vectors(len(cubes))
        grid = np.zeros((self.voxels, 2 * columns), np.float32) if out is None else out
        self._lay(cubes, lambda k: (grid[:, k], grid[:, columns + k]))
        return grid

    def class_references(self, cubes: Array) -> Array:
        """The same for the expectation of classes, (voxels, K / 4, 8) float32.

        Four real parts come before the imaginary parts of the same four columns.
        """
        grid = aligned_zeros((self.voxels, -(-len(cubes) // FOUR), 2 * FOUR))
        self._lay(
            cubes,
            lambda k: (grid[:, k // FOUR, k % FOUR], grid[:, k // FOUR, FOUR + k % FOUR]),
        )
        return grid

    def lay(self, cube: Array, real: Array, imaginary: Array) -> None:
        """Spectrum of one cube (n, n, n), origin at n // 2, into two columns (voxels,)."""
        flat = np.asarray(cube / self.kernel_transform, np.float32)
        lay_column(self._forward(flat[None], 1)[0], self.used, real, imaginary)

    def _lay(self, cubes: Array, places: Callable[[int], tuple[Array, Array]]) -> None:
        """Spectra of cubes into the columns of a grid; ``places`` of real and imaginary parts.

        A column at a time: its spectrum fits the cache.
        """

        def one(k: int) -> None:
            self.lay(cubes[k], *places(k))

        in_tasks(one, range(len(cubes)), self.workers)

    def transform(self, cubes: Array) -> Array:
        """Unpadded transform of cubes as (q, voxels) complex64 (origin at the first voxel)."""
        spectra = scipy.fft.rfftn(cubes, axes=(1, 2, 3), workers=self.workers)
        return np.asarray(spectra).reshape(len(cubes), -1)

    def inverse(self, spectra: Array) -> Array:
        """Inverse of :meth:`transform`."""
        n = self.cube
        shaped = spectra.reshape(len(spectra), n, n, n // 2 + 1)
        cubes = scipy.fft.irfftn(shaped, s=(n, n, n), axes=(1, 2, 3), workers=self.workers)
        return np.asarray(cubes)

    def shell_means(self, values: Array) -> Array:
        """Mean over each shell of values (..., voxels) of the half grid."""
        used = self.shell_map >= 0
        shells = self.shell_map[used]
        flat = values.reshape(-1, values.shape[-1])[:, used]
        sums = np.array([np.bincount(shells, v, minlength=self.radius + 1) for v in flat])
        return (sums / self.shell_sizes).reshape(*values.shape[:-1], -1)


@dataclass
class Solution:
    """Volumes that maximise the posterior, and how well the data fix them."""

    fields: Array
    """(q, n, n, n) float32: the volumes before the mask."""
    cubes: Array
    """(q, n, n, n) float32: the volumes."""
    variance: Array
    """(shells, q, q): mean posterior covariance of the Fourier components of a shell."""


def _planes_of_pairs(count: int) -> Array:
    """Place of every pair of columns in a packed upper triangle, (q, q)."""
    planes = np.zeros((count, count), np.int64)
    row, column = np.triu_indices(count)
    planes[row, column] = planes[column, row] = np.arange(len(row))
    return planes


def solve_volumes(
    grid: Grid,
    right: Array,
    weights: Array,
    precision: Array,
    *,
    mask: Array,
    start: Array,
    steps: int,
) -> Solution:
    """Regularised volumes by preconditioned conjugate gradients.

    Minimises ``sum |y - c P M w|^2 / noise + w' precision w`` over fields ``w``, where M is the
    solvent mask and the prior couples the columns (classes or components) of a voxel.

    Parameters
    ----------
    grid : Grid
    right, weights : (q, N, N, N // 2 + 1) complex64, (N * N * (N // 2 + 1), r) float32
        Back-projected data on the padded grid (overwritten), and squared CTF: packed upper
        triangles of matrices.
    precision : (shells, q, q) float32
        Inverse prior covariance of the columns by shell.
    mask : (n, n, n) or (q, n, n, n) float32
        Soft solvent mask, of all columns or of each.
    start : (q, n, n, n) float32
        Fields to start from.
    steps : int
        Of conjugate gradients.
    """
    q, voxels = len(start), len(grid.shell_map)
    pairs, planes = np.ascontiguousarray(weights.T), _planes_of_pairs(q)
    inverse = voxel_inverses(precision, pairs, grid.cube, grid.shell_map, grid.workers)
    shape = (mask / grid.kernel_transform).astype(np.float32)

    def by_voxel(fields: Array, matrices: Array, by_shell: bool) -> Array:
        spectra = grid.transform(fields)
        in_ranges(
            apply_voxel_matrices, voxels, 16, grid.workers, matrices, grid.shell_map, by_shell,
            spectra, spectra,
        )  # fmt: skip
        return grid.inverse(spectra)

    def precondition(residual: Array) -> Array:
        return by_voxel(residual, inverse, False)

    def product(fields: Array) -> tuple[Array, Array]:
        spectra = grid.pad_transform(fields * mask)
        in_ranges(
            apply_weights, grid.padded**2, 32, grid.workers, pairs, grid.padded, 2 * grid.radius,
            planes, spectra.reshape(q, -1),
        )  # fmt: skip
        result = grid.crop_inverse(spectra) * mask
        return fields, result + by_voxel(fields, precision, True)

    fields = start.astype(np.float32)
    residual = grid.crop_inverse(right) * shape - product(fields)[1]
    conjugate_gradients(product, precondition, fields, residual, steps)
    rows = [grid.shell_means(inverse[:, i, :].T.astype(np.float64)).T for i in range(q)]
    variance = np.stack(rows, axis=1)
    return Solution(fields=fields, cubes=fields * mask, variance=variance)
