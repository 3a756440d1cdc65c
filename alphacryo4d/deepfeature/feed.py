"""Volumes as the network is fed with them: who is held out, and in which batches they come."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core.errors import UsageError

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]
ReadVolumes = Callable[[Rows], Floats]
"""Normalised volumes of some rows: (k,) indices to a (k, n, n, n) array with values in [0, 1]."""


def split_volumes(count: int, validation_size: int | None, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on and rows held out, at random.

    Parameters
    ----------
    count : int
        Number of volumes, at least 2.
    validation_size : int, optional
        Volumes held out, a tenth by default; at most half of all.
    seed : int
        Random seed.
    """
    if count < 2:
        raise UsageError(f"{count} volume: training needs at least 2")
    wanted = max(1, round(count / 10)) if validation_size is None else validation_size
    held_out = min(wanted, count // 2)
    order = np.random.default_rng([seed, 0]).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def batch_rows(rows: Rows, index: int, size: int) -> tuple[Rows, int]:
    """Rows of one batch; the last batch is filled up from the first rows.

    Returns
    -------
    batch : (size,) array
        Rows.
    count : int
        How many of them come first and are not fillers.
    """
    part = rows[index * size : (index + 1) * size]
    return np.concatenate([part, np.resize(rows, size - len(part))]), len(part)


def batch_count(rows: Rows, size: int) -> int:
    """Number of batches of one size that show every row."""
    return -(-len(rows) // size)


def mean_volume(read: ReadVolumes, train: Rows, held_out: Rows) -> tuple[Floats, float, float]:
    """Mean training volume, and the mean squared differences from it.

    Returns
    -------
    mean : (n, n, n) array
        Mean of the training volumes.
    train_error, held_out_error : float
        Mean squared error of predicting the mean for the training and the held-out volumes.
    """
    total: Any = 0.0
    for row in train:
        total = total + read(np.array([row]))[0].astype(np.float64)
    mean = np.asarray(total / len(train))
    errors = [
        float(np.mean([np.mean((read(np.array([row]))[0] - mean) ** 2) for row in rows]))
        for rows in (train, held_out)
    ]
    return mean.astype(np.float32), errors[0], errors[1]


@functools.cache
def feed_class() -> Any:
    """Class of a feed of volumes, made when Keras is first needed."""
    import keras

    class VolumeFeed(keras.utils.PyDataset):  # type: ignore[misc]
        """Batches of volumes as (input, target, weight), for any backend of Keras.

        All batches have one size, so that devices share every one evenly; ``fillers`` says what
        the volumes that fill up the last one weigh, 1 or 0.

        Input and target are copies of their own. TensorFlow takes an aligned array as it lies in
        memory and, once it is done with it, writes its own results there; with replicas this
        reached the target, and the volumes of the reader themselves.

        Attributes
        ----------
        rows : (k,) array
            Rows in the order of the epoch; may change between epochs.
        """

        def __init__(self, read: ReadVolumes, rows: Rows, size: int, fillers: float) -> None:
            super().__init__()
            self.read, self.rows, self.size, self.fillers = read, rows, size, fillers

        def __len__(self) -> int:
            return batch_count(self.rows, self.size)

        def __getitem__(self, index: int) -> tuple[Floats, Floats, Floats]:
            rows, count = batch_rows(self.rows, index, self.size)
            volumes = np.array(self.read(rows), np.float32)[..., None]
            weights = np.where(np.arange(self.size) < count, 1.0, self.fillers)
            return volumes, volumes.copy(), weights.astype(np.float32)

    return VolumeFeed
