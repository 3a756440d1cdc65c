"""Volumes grouped into states by what is known of them in the full space."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.landscape.embedding import classical_scaling

Array = np.ndarray[Any, Any]


def group_volumes(distances: Array, counts: Array, states: int, *, seed: int = 0) -> Array:
    """State of each volume (V,), from 0, by weighted k-means of the principal coordinates.

    Parameters
    ----------
    distances : (V, V) array
        Squared distances of the standardised volumes.
    counts : (V,) array
        Particles per volume: the weight of a volume, since its noise falls with them.
    states : int
        Number of groups.
    seed : int
        Random seed of the starts.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    coordinates = classical_scaling(distances, min(10, len(distances) - 1))
    with threadpool_limits(limits=1):
        model = KMeans(min(states, len(distances)), n_init=20, random_state=seed)
        labels: Array = model.fit_predict(coordinates, sample_weight=counts)
    return labels
