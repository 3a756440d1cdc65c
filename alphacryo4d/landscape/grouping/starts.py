"""Groupings of points to start from, by k-means."""

from __future__ import annotations

import functools
from typing import Any

from alphacryo4d.core.arrays import Array

DIMENSIONS = (6, 10, 15)


def starts(
    coordinates: Array, counts: Array, states: int, *, seed: int, each: int = 8
) -> list[Array]:
    """States of the volumes (V,) from k-means runs in several numbers of dimensions."""
    return [
        _kmeans(coordinates[:, :dimensions], counts, states, seed=seed * each + run, runs=1)
        for dimensions in dict.fromkeys(min(d, coordinates.shape[1]) for d in DIMENSIONS)
        for run in range(each)
    ]


@functools.cache
def _threadpools() -> Any:
    """Thread pools of the loaded libraries; to look for them takes longer than a k-means run."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _kmeans(
    coordinates: Array, counts: Array | None, states: int, *, seed: int, runs: int
) -> Array:
    from sklearn.cluster import KMeans

    with _threadpools().limit(limits=1):
        model = KMeans(states, n_init=runs, random_state=seed)
        labels: Array = model.fit_predict(coordinates, sample_weight=counts)
    return labels
