"""One frame of components for all folds and batches, and coordinates brought into it.

Every fold finds components of its own. Their volumes say how they are turned and scaled against
each other: the frame is spanned by the main directions of the volumes of several folds, and a fold
is brought into it by least squares over the voxels. Particles take no part in this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes

COARSE = 32
"""Edge of the cubes in which folds are compared."""


@dataclass(frozen=True)
class Frame:
    """Mean and components, in whose units coordinates have a standard normal prior.

    Attributes
    ----------
    mean : (v,) float64
    components : (q, v) float64
        The strongest first; their squares add up to the variance over the particles.
    """

    mean: Array
    components: Array

    def from_fold(self, cubes: Array) -> tuple[Array, Array]:
        """Coordinates of a fold for those of the frame: ``z = offset + turn z'``.

        The volume of z' in the frame is fitted by those that the fold can make; a direction that
        the fold does not know has a column near zero, so that the fold says nothing about it.

        Parameters
        ----------
        cubes : (p + 1, m, m, m) array
            Mean and components of the fold.

        Returns
        -------
        offset, turn : (p,), (p, q) arrays
        """
        flat = flattened(cubes)
        inverse = np.linalg.pinv(flat[1:], rcond=1e-4)
        return (self.mean - flat[0]) @ inverse, (self.components @ inverse).T


def flattened(cubes: Array) -> Array:
    """Volumes (k, m, m, m) as vectors at the edge in which folds are compared, (k, v)."""
    small = resize_cubes(cubes, min(COARSE, cubes.shape[-1]))
    return small.reshape(len(cubes), -1).astype(np.float64)


def common_frame(folds: list[Array], count: int) -> Frame:
    """Frame of several folds: their mean volume, and the main directions of their components.

    A direction that all folds found has a variance of their mean; one that a single fold found, as
    noise is, has a share of it only.

    Parameters
    ----------
    folds : list of (p + 1, m, m, m) arrays
        Mean and components of every fold.
    count : int
        Most components q.
    """
    flat = [flattened(cubes) for cubes in folds]
    mean = np.mean([each[0] for each in flat], axis=0)
    every = np.concatenate([each[1:] for each in flat]) / np.sqrt(len(flat))
    values, vectors = np.linalg.eigh(every @ every.T)
    count = min(count, int((values > 1e-9 * values[-1]).sum()))
    components = vectors[:, ::-1][:, :count].T @ every
    signs = np.sign((components**3).sum(axis=1))
    return Frame(mean, components * np.where(signs == 0, 1.0, signs)[:, None])


def in_frame(
    projected: Array, information: Array, offset: Array, turn: Array
) -> tuple[Array, Array]:
    """Log-likelihood of the frame's coordinates from that of a fold's.

    Parameters
    ----------
    projected, information : (n, p), (n, p, p) arrays
        ``projected . z - z . information . z / 2``.
    offset, turn : arrays
        As :meth:`Frame.from_fold` gives them.

    Returns
    -------
    projected, information : (n, q), (n, q, q) float64 arrays
    """
    slope = projected - np.einsum("nij,j->ni", information, offset)
    return slope @ turn, np.einsum("pa,npr,rb->nab", turn, information, turn, optimize=True)


def posterior(projected: Array, information: Array) -> tuple[Array, Array]:
    """Mean (n, q) and covariance (n, q, q) of coordinates with a standard normal prior."""
    covariance = np.linalg.inv(information + np.eye(projected.shape[1]))
    covariance = 0.5 * (covariance + covariance.transpose(0, 2, 1))
    return np.einsum("nij,nj->ni", covariance, projected), covariance


def evidence_by_count(projected: Array, information: Array) -> Array:
    """Log-likelihood of particles by the first k components over that of the mean alone.

    Parameters
    ----------
    projected, information : (n, q), (n, q, q) arrays

    Returns
    -------
    (n, q + 1) float64 array
        For k from 0 (which is 0) to q, coordinates integrated out over a standard normal prior.
    """
    q = projected.shape[1]
    # the factor of a leading block is the leading block of the factor
    factor = np.linalg.cholesky(information + np.eye(q))
    solved = np.linalg.solve(factor, projected[..., None])[..., 0]
    steps = 0.5 * solved**2 - np.log(np.diagonal(factor, axis1=1, axis2=2))
    return np.concatenate([np.zeros((len(projected), 1)), np.cumsum(steps, axis=1)], axis=1)


def packed_size(count: int) -> int:
    """Numbers of the upper triangle of a matrix (q, q)."""
    return count * (count + 1) // 2


def unpacked(triangles: Array, count: int) -> Array:
    """Symmetric matrices (n, q, q) from their upper triangles (n, q (q + 1) / 2), row by row."""
    row, column = np.triu_indices(count)
    matrices = np.empty((len(triangles), count, count), triangles.dtype)
    matrices[:, row, column] = triangles
    matrices[:, column, row] = triangles
    return matrices


def likelihood_of(mean: Array, covariance: Array) -> tuple[Array, Array]:
    """What the data alone say, from a posterior under a standard normal prior.

    The prior is taken off; other coordinates stay integrated out over theirs.

    Parameters
    ----------
    mean, covariance : (n, d), (n, d, d) arrays
        Of some of the coordinates.

    Returns
    -------
    projected, information : (n, d), (n, d, d) float64 arrays
        The log-likelihood is ``projected . z - z . information . z / 2``.
    """
    precision = np.linalg.inv(np.asarray(covariance, np.float64))
    projected = np.einsum("nij,nj->ni", precision, np.asarray(mean, np.float64))
    values, vectors = np.linalg.eigh(precision - np.eye(mean.shape[1]))
    information = np.einsum("nia,na,nja->nij", vectors, np.maximum(values, 0), vectors)
    return projected, information
