"""Groups of volumes that particles stay in from one fold to the next, rare ones, too.

A particle drawn from a volume and looked up in another fold makes a step of a Markov chain over
the volumes. States are the metastable sets of this chain (Schuette et al. 1999; Deuflhard and
Weber 2005): its slowest modes are constant on them, and the eigenvalue of a mode is the share of
particles that stay, whatever the population. A state of 1% of the particles so has a mode of its
own, next to those of the large states, while a split that noise makes within a large state comes
after them. What the labels as a whole say, their likelihood or their mutual information, counts
particles: there half of a large state outweighs a rare one.
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array

LEAST_STAYING = 0.8
SHARPEST_SMOOTH = 2.0


def slow_modes(shared: Array, count: int) -> tuple[Array, Array]:
    """Slowest modes of the chain that particles make from volume to volume.

    Parameters
    ----------
    shared : (V, V) array
        Particles that two volumes share, symmetric; at least one in every row.
    count : int
        Modes wanted.

    Returns
    -------
    (K,) array
        Eigenvalues, the largest (1) first; at most V.
    (V, K) array
        Modes of the symmetric form ``D^-1/2 S D^-1/2``, orthonormal; D holds the row sums.
    """
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    root = np.sqrt(shared.sum(1))
    size = len(shared)
    with threadpool_limits(limits=1):
        values, modes = eigh(
            shared / root[:, None] / root[None],
            subset_by_index=(size - min(count, size), size - 1),
        )
    return values[::-1], modes[:, ::-1]


def rows_of_unit_length(modes: Array) -> Array:
    """Coordinates (V, K) of the volumes in which a state is a direction (Ng et al. 2001)."""
    lengths = np.linalg.norm(modes, axis=1, keepdims=True)
    coordinates: Array = modes / np.maximum(lengths, 1e-12)
    return coordinates


def pivoted_groups(modes: Array) -> Array:
    """Groups (V,) around the K volumes whose modes differ most (Damle et al. 2019).

    QR decomposition with pivoting chooses the volumes; no starts, and no group is too small.
    """
    from scipy.linalg import polar, qr
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        _, pivots = qr(modes.T, mode="r", pivoting=True)
        rotation, _ = polar(modes[pivots[: modes.shape[1]]].T)
        labels: Array = np.abs(modes @ rotation).argmax(1)
    return labels


def metastable_number(eigenvalues: Array) -> int | None:
    """Number of states after which particles stay far shorter.

    The relaxation time of a mode is ``-1 / ln(eigenvalue)``, in folds. Along a continuum the
    times fall like ``1 / (k - 1)^2`` (diffusion on a line); a fall twice as steep is a gap.

    Parameters
    ----------
    eigenvalues : (K,) array
        The largest first.

    Returns
    -------
    int or None
        The largest number of states, at least 2, before a gap, all of whose modes keep at least
        0.8 of the particles; None where there is no gap.
    """
    times = -1 / np.log(np.clip(eigenvalues, 1e-6, 1 - 1e-6))
    number = np.arange(2, len(times))
    falls = times[1:-1] / times[2:] / (number / (number - 1.0)) ** 2
    gaps = number[(falls > SHARPEST_SMOOTH) & (eigenvalues[1:-1] > LEAST_STAYING)]
    return int(gaps.max()) if len(gaps) else None


def batches_of_volumes(shared: Array, folds: Array) -> Array:
    """Batch (V,) of each volume, from 0: folds that share particles are of one batch.

    Parameters
    ----------
    shared : (V, V) array
        Particles that two volumes share.
    folds : (V,) int array
        Fold of each volume, a number for every fold of every batch.
    """
    from scipy.sparse.csgraph import connected_components

    chosen = np.eye(int(folds.max()) + 1)[folds]
    batches: Array = connected_components(chosen.T @ shared @ chosen, directed=False)[1][folds]
    return batches


def join_batches(shared: Array, batches: Array, coordinates: Array) -> Array:
    """Particles shared (V, V), as if batches had shared theirs, too.

    Every volume shares its particles, too, with the nearest volume of each other batch, in all as
    many as it shares in its own. A volume that shares none shares one with itself.

    Parameters
    ----------
    shared : (V, V) array
        Particles that two volumes share.
    batches : (V,) int array
        From 0.
    coordinates : (V, D) array
        In which volumes are near.
    """
    from scipy.spatial import KDTree

    totals, others = shared.sum(1), int(batches.max())
    joined: Array = shared + np.diag(np.where(totals == 0, 1.0, 0.0))
    for batch in range(others + 1):
        here, there = np.flatnonzero(batches == batch), np.flatnonzero(batches != batch)
        nearest = here[KDTree(coordinates[here]).query(coordinates[there])[1]]
        links = totals[there] / (2 * max(others, 1))
        joined[there, nearest] += links  # every row of `there` once: no pair comes twice
        joined[nearest, there] += links
    return joined
