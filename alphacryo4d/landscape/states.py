"""States on the plane: centers, radii, members and energies (sections 4.6-4.8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.energy import jackknife_error


@dataclass(frozen=True)
class States:
    """States of a landscape, in path order where there is a path.

    Attributes
    ----------
    centers : (K, 2) array
        Coordinates RC1, RC2.
    radii : (K,) array
        Radius of each boundary, in units of the embedding.
    energies, errors : (K,) arrays
        -ln of the state's share of all votes, and its error, in kT.
    volumes : (V,) int32 array
        State of each volume from 1; 0 for none.
    """

    centers: Array
    radii: Array
    energies: Array
    errors: Array
    volumes: Array


def assign_volumes(embedding: Array, centers: Array, radii: Array) -> Array:
    """State of each volume: the nearest center whose radius it is strictly inside.

    Returns
    -------
    (V,) int32 array
        From 1; 0 outside every boundary. Where boundaries overlap the nearest center wins, so a
        vote goes to at most one state.
    """
    distance = np.linalg.norm(embedding[:, None, :] - centers[None], axis=2)
    distance = np.where(distance < radii[None], distance, np.inf)
    nearest = distance.argmin(1)
    inside = np.isfinite(distance.min(1))
    return np.where(inside, nearest + 1, 0).astype(np.int32)


def centers_of_groups(embedding: Array, counts: Array, labels: Array) -> Array:
    """Center of each group: the place of the volume nearest to all its others (medoid).

    Distances are weighted by particles. A mean could fall between two clumps of a group.

    Parameters
    ----------
    labels : (V,) int array
        Group of each volume from 0; negative for none.
    """
    centers = np.empty((int(labels.max()) + 1, 2))
    for state in range(len(centers)):
        inside = np.flatnonzero(labels == state)
        between = np.linalg.norm(embedding[inside, None] - embedding[None, inside], axis=2)
        centers[state] = embedding[inside[(between @ counts[inside]).argmin()]]
    return centers


def fitted_radii(embedding: Array, centers: Array, labels: Array) -> Array:
    """Radius of each state that agrees best with given groups.

    Among the volumes nearest to a center the radius is put where it holds the most members of
    the group minus strangers: half way to the next volume outside. Where that is the volume at
    the center alone it is half way to its neighbour.
    """
    distance = np.linalg.norm(embedding[:, None, :] - centers[None], axis=2)
    nearest = distance.argmin(1)
    radii = np.empty(len(centers))
    for state in range(len(centers)):
        mine = np.flatnonzero(nearest == state)
        if not len(mine):
            radii[state] = distance[labels == state, state].max() * 1.05
            continue
        order = mine[np.argsort(distance[mine, state])]
        gain = np.cumsum(np.where(labels[order] == state, 1, -1))
        last = len(gain) - 1 - int(gain[::-1].argmax())
        edge = distance[order[last], state]
        if edge == 0 and distance[:, state].any():
            radii[state] = 0.5 * distance[distance[:, state] > 0, state].min()
            continue
        beyond = distance[order[last + 1], state] if last + 1 < len(order) else 1.2 * edge
        radii[state] = 0.5 * (edge + min(beyond, 1.2 * edge + 1e-9))
    return np.maximum(radii, 1e-6)


def recommended_radii(centers: Array, embedding: Array) -> Array:
    """Radius of each state from the distances between centers.

    The distance to the nearest other center: boundaries overlap, and the nearest center takes a
    volume, so that volumes between two states are not lost, while those far off any state are.
    One state alone gets the distance that holds 90% of the volumes.
    """
    if len(centers) == 1:
        distance = np.linalg.norm(embedding - centers[0], axis=1)
        return np.array([np.quantile(distance, 0.9) + 1e-9])
    between = np.linalg.norm(centers[:, None, :] - centers[None], axis=2)
    np.fill_diagonal(between, np.inf)
    radii: Array = np.maximum(between.min(1), 1e-6)
    return radii


def state_energies(
    volumes: Array, counts: Array, folds: Array, states: int, *, images: Array | None = None
) -> tuple[Array, Array]:
    """Energy -ln of each state's share of all votes, and its error, in kT.

    The folds are the leave-one-group-out values of a jackknife, those of all batches that leave
    out the same group together; 1/N of the votes is added for the counting, where ``images`` (V,)
    of the volumes are fewer than their particles of these. A state without votes has the energy
    that less than one vote would give.
    """
    total = counts.sum()
    votes = np.bincount(volumes, weights=counts, minlength=states + 1)[1:]
    energies = -np.log(np.maximum(votes, 0.5) / total)
    labels = np.unique(folds)
    replicates = np.empty((len(labels), states))
    for row, label in enumerate(labels):
        inside = folds == label
        held = np.bincount(volumes[inside], weights=counts[inside], minlength=states + 1)[1:]
        replicates[row] = -np.log(np.maximum(held, 0.5) / counts[inside].sum())
    if images is not None:
        votes = np.bincount(volumes, weights=images, minlength=states + 1)[1:]
    errors = np.sqrt(jackknife_error(replicates) ** 2 + 1 / np.maximum(votes, 0.5))
    return energies, errors


def ordered_along(centers: Array, images: Array | None) -> Array:
    """Order of centers: along a path, or else along their first principal axis."""
    if images is not None:
        distance = np.linalg.norm(centers[:, None, :] - images[None], axis=2)
        nearest = distance.argmin(1)
        # Centers beyond an end of the path are ordered by their distance to it.
        beyond = np.where(nearest == 0, -1.0, 0.0) + (nearest == len(images) - 1)
        along: Array = np.lexsort((beyond * distance.min(1), nearest))
        return along
    if len(centers) < 3:
        return np.lexsort(centers.T[::-1])
    centred = centers - centers.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    axis = axis * (1 if axis[np.abs(axis).argmax()] > 0 else -1)
    order: Array = (centred @ axis).argsort(kind="stable")
    return order
