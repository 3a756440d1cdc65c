"""Data weights and prior of the voxels of the unpadded half grid: products, inverses, variances.

The prior covariance of the K columns of shell h is ``diag(own[h]) + common[h] 1 1'``; its inverse
is a diagonal less a matrix of rank one, as is that of (data weights + prior precision): a voxel
costs K steps (Sherman-Morrison). Functions of a range work on the voxels ``begin:end``.
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges, in_tasks
from alphacryo4d.ml3d.compiled.latent import posterior_covariances


def cell_weights(weights: Array, shell_map: Array) -> Array:
    """Data weight of every voxel of the unpadded half grid, from the padded one.

    A voxel gets the weights of the padded grid around it, those beside it along an axis by half.

    Parameters
    ----------
    weights : (N, N, N // 2 + 1) float32
    shell_map : (voxels,) int32
        Shell of each voxel of the unpadded half grid; -1 where the weight is zero.

    Returns
    -------
    (voxels,) float32
    """
    for axis in (0, 1):
        even, odd = np.moveaxis(weights, axis, 0)[::2], np.moveaxis(weights, axis, 0)[1::2]
        sums = even + np.float32(0.5) * (odd + np.roll(odd, 1, axis=0))
        weights = np.moveaxis(sums, 0, axis)
    cells = weights[..., ::2].copy()
    beside = np.float32(0.5) * weights[..., 1::2]
    cells[..., : beside.shape[2]] += beside
    cells[..., 1:] += beside[..., : cells.shape[2] - 1]
    cells[..., 0] += np.roll(beside[::-1, ::-1, 0], 1, axis=(0, 1))  # Friedel mates
    cells[shell_map.reshape(cells.shape) < 0] = 0
    return np.asarray(cells.ravel())


def voxel_inverses(
    precision: Array, pairs: Array, cube: int, shell_map: Array, workers: int
) -> Array:
    """Inverse of (data weights + prior precision) of every voxel, (voxels, q, q) float32.

    Parameters
    ----------
    precision : (shells, q, q) float32
        Inverse covariance of the columns, shell by shell.
    pairs : (r, N * N * (N // 2 + 1)) float32
        Data weights on the padded grid (N = 2 ``cube``): packed upper triangles.
    cube : int
    shell_map : (voxels,) int32
        Shell of each voxel; -1 where nothing is to be estimated, and the inverse is zero.
    workers : int
        Threads.
    """
    voxels, q = len(shell_map), precision.shape[1]
    cells = np.empty((len(pairs), voxels), np.float32)
    padded = pairs.reshape(len(pairs), 2 * cube, 2 * cube, cube + 1)

    def one(k: int) -> None:
        cells[k] = cell_weights(padded[k], shell_map)

    in_tasks(one, range(len(pairs)), workers)
    row, column = np.triu_indices(q)
    inverse = np.empty((voxels, q, q), np.float32)

    def work(begin: int, end: int) -> None:
        shell = shell_map[begin:end]
        matrices = precision[np.maximum(shell, 0)]
        matrices[:, row, column] += cells[:, begin:end].T
        matrices[:, column, row] = matrices[:, row, column]
        covariances, logs = np.empty(matrices.shape), np.empty(len(matrices))
        posterior_covariances(0, len(matrices), matrices, np.zeros((q, q)), covariances, logs)
        covariances[shell < 0] = 0
        inverse[begin:end] = covariances

    in_ranges(work, voxels, 32, workers)
    return inverse


def _prior(inverse_own: Array, common: Array, shell: Array) -> tuple[Array, Array]:
    """Diagonal (K, n) and factor (n,) of the rank-one part of the prior precision of voxels."""
    shell = np.maximum(shell, 0)
    factor = common / (1.0 + common * inverse_own.sum(axis=1))
    return inverse_own.T[:, shell], factor[shell]


def apply_prior(
    begin: int, end: int, inverse_own: Array, common: Array, shell_map: Array, spectra: Array
) -> None:
    """Multiply the columns of voxels by the inverse of the prior covariance, in place.

    ``inverse_own`` (shells, K), ``common`` (shells,), ``spectra`` (K, voxels) complex64, which is
    zero where nothing is estimated.
    """
    shell, part = shell_map[begin:end], spectra[:, begin:end]
    own, factor = _prior(inverse_own, common, shell)
    own = (own * (shell >= 0)).astype(np.float32)
    part *= own
    part -= own * (factor * part.sum(axis=0)).astype(np.complex64)


def solve_cells(
    begin: int,
    end: int,
    cells: Array,
    inverse_own: Array,
    common: Array,
    shell_map: Array,
    spectra: Array,
) -> None:
    """Divide the columns of voxels by (data weight + prior precision), in place.

    ``cells`` (K, voxels) float32 are the data weights; the others as of :func:`apply_prior`.
    """
    shell, part = shell_map[begin:end], spectra[:, begin:end]
    own, factor = _prior(inverse_own, common, shell)
    inverse = (shell >= 0) / (cells[:, begin:end] + own)
    weighted = own * inverse
    factor = factor / np.maximum(1.0 - factor * (own * weighted).sum(axis=0), 1e-12)
    weighted = weighted.astype(np.float32)
    inner = (factor * (weighted * part).sum(axis=0)).astype(np.complex64)
    part *= inverse.astype(np.float32)
    part += weighted * inner


def inner_product(one: Array, other: Array, half: int) -> float:
    """Inner product of two sets of real fields by their half spectra, (K, n * n * half) each.

    Up to the number of voxels. Voxels with x > 0 stand for their mates too; the Nyquist plane is
    not in use.
    """
    a, b = one.view(np.float32), other.view(np.float32)
    every = np.einsum("kv,kv->k", a, b).sum(dtype=np.float64)
    a, b = (side.reshape(len(side), -1, 2 * half)[..., :2] for side in (a, b))
    return float(2.0 * every - np.einsum("kvc,kvc->k", a, b).sum(dtype=np.float64))


def cell_variances(
    cells: Array, inverse_own: Array, common: Array, shell_map: Array
) -> tuple[Array, Array]:
    """Posterior variances of the K columns of every voxel, and of their deviations from the mean.

    The inverse of ``diag(cells + inverse_own)`` less a matrix of rank one (Sherman-Morrison).

    Parameters
    ----------
    cells : (K, voxels) array
        Data weights.
    inverse_own : (shells, K) array
    common : (shells,) array
    shell_map : (voxels,) int32
        -1 where nothing is estimated; the variances mean nothing there.

    Returns
    -------
    diagonal, apart : (K, voxels) float64
    """
    a, beta = _prior(inverse_own, common, shell_map)
    d = 1.0 / (cells + a)
    weighted = a * d
    factor = beta / np.maximum(1.0 - beta * (a * weighted).sum(axis=0), 1e-12)
    total = weighted.sum(axis=0)
    diagonal = d + factor * weighted**2
    every = (d.sum(axis=0) + factor * total**2) / len(cells) ** 2
    return diagonal, diagonal - 2.0 * (d + factor * weighted * total) / len(cells) + every
