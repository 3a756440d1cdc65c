"""Feature maps and reconstructions by a trained network (section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.deepfeature.feed import ReadVolumes, batch_count, batch_rows
from alphacryo4d.deepfeature.network import build_network
from alphacryo4d.deepfeature.options import NetworkOptions
from alphacryo4d.deepfeature.state import Arrays, Floats
from alphacryo4d.deepfeature.weights import set_weights


def extract_features(
    read: ReadVolumes,
    count: int,
    box: int,
    weights: Arrays,
    *,
    network: NetworkOptions,
    batch_size: int = 8,
    source: str = "weights",
    progress: Progress = no_progress,
) -> Iterator[tuple[slice, Floats]]:
    """Feature maps z = encoder(x) of all volumes, batch by batch.

    Yields
    ------
    rows : slice
        Rows of the batch.
    features : (k, n/4, n/4, n/4, c) array
        Their feature maps.
    """
    autoencoder, encoder = build_network(box, network)
    set_weights(autoencoder, weights, source=source)
    rows, size = np.arange(count), min(batch_size, count)
    for index in range(batch_count(rows, size)):
        batch, kept = batch_rows(rows, index, size)
        features = np.asarray(encoder.predict_on_batch(read(batch)[..., None]), np.float32)
        first = index * size
        yield slice(first, first + kept), features[:kept]
        progress(first + kept, count)


def reconstruct_volumes(
    volumes: Floats, weights: Arrays, *, network: NetworkOptions, source: str = "weights"
) -> Floats:
    """Volumes as the network gives them back, (v, n, n, n) normalised volumes to the same."""
    autoencoder, _ = build_network(volumes.shape[1], network)
    set_weights(autoencoder, weights, source=source)
    made = autoencoder.predict_on_batch(volumes[..., None])
    return np.asarray(made, np.float32)[..., 0]
