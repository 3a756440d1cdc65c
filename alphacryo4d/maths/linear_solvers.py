"""Conjugate gradients, and the direction in which the scores of particles vary most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alphacryo4d.core.arrays import Array

_RIDGE = 1e-6
"""Part of the mean information that is added to every direction."""


def conjugate_gradients(
    product: Callable[[Array], tuple[Array, Array]],
    precondition: Callable[[Array], Array],
    fields: Array,
    residual: Array,
    steps: int,
    *,
    inner: Callable[[Array, Array], float] = lambda one, other: float(np.vdot(one, other).real),
) -> None:
    """Preconditioned conjugate gradients: ``fields`` moves towards ``normal(fields) = right``.

    Parameters
    ----------
    product : callable
        Of a search direction: the direction as the fields are given, and the symmetric positive
        operator on it as the residual is given (fields may be kept in real space while residuals
        are transforms).
    precondition : callable
        Close to the inverse of the operator.
    fields, residual : float32 or complex64 arrays
        Start, and ``right - normal(start)``; both are changed in place.
    steps : int
    inner : callable
        Inner product of residuals and directions, up to a factor.
    """
    search = direction = precondition(residual)
    old = inner(residual, direction)
    for step in range(steps):
        step_taken, response = product(search)
        length = old / max(inner(search, response), 1e-30)
        fields += np.float32(length) * step_taken
        if step + 1 == steps:
            return
        residual -= np.float32(length) * response
        direction = precondition(residual)
        new = inner(residual, direction)
        search = direction + np.float32(new / max(old, 1e-30)) * search
        old = new


def stretched_direction(score: Array, weights: Array, information: Array) -> tuple[float, Array]:
    """Direction in which the scores of particles vary most beyond what noise explains.

    The score of a particle of one state has the covariance of its information; what is beyond it
    says that the state is two (score test for a mixture of two, Lindsay 1995).

    Parameters
    ----------
    score : (n, q) array
        Derivatives of the log-likelihoods at the state.
    weights : (n,) array
        Posteriors of the particles.
    information : (q, q) array
        Sum of the weighted negative second derivatives.

    Returns
    -------
    excess : float
        Variance beyond that of noise, over that of noise.
    direction : (q,) array
        Of unit length in the metric of the information.
    """
    q = len(information)
    weighted = score * weights[:, None]
    beyond = weighted.T @ score - information
    ridge = _RIDGE * np.trace(information) / q * np.eye(q)
    root = root_of_covariance(information + ridge)
    inner = np.linalg.solve(root, np.linalg.solve(root, beyond).T)
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
    return float(values[-1]), np.linalg.solve(root.T, vectors[:, -1])


def root_of_covariance(matrix: Array, least: float = 1e-12) -> Array:
    """Cholesky factor of a covariance that rounding may have robbed of its positivity.

    Sums of moments are positive by construction, but differences of nearly equal ones, as of images
    without noise or without information, may round to zero or below. Eigenvalues under ``least``
    times the largest are raised to it, so that no finite matrix fails; others are left as they are.

    Parameters
    ----------
    matrix : (q, q) array
        Symmetric and finite.
    least : float
        Smallest eigenvalue relative to the largest.

    Returns
    -------
    (q, q) array
        Lower triangle.
    """
    values, vectors = np.linalg.eigh(matrix)
    bottom = max(least * float(values[-1]), 1e-200)
    if values[0] < bottom:
        matrix = (vectors * np.maximum(values, bottom)) @ vectors.T
    return np.asarray(np.linalg.cholesky(matrix))
