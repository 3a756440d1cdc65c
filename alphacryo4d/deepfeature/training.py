"""Training of the autoencoder (section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.deepfeature.callbacks import keeper_class, plateau_callbacks, set_changing
from alphacryo4d.deepfeature.devices import spread_over
from alphacryo4d.deepfeature.feed import ReadVolumes, Rows, feed_class, mean_volume, split_volumes
from alphacryo4d.deepfeature.network import build_network, set_reference
from alphacryo4d.deepfeature.optimizer import adam_class
from alphacryo4d.deepfeature.options import NetworkOptions, TrainOptions
from alphacryo4d.deepfeature.state import Training, TrainingState
from alphacryo4d.deepfeature.weights import read_weights


def squared_error(volumes: Any, predicted: Any) -> Any:
    """Mean squared error of each volume, (v, n, n, n, 1) and the same to (v,).

    One value a volume, so that weights of volumes multiply volumes. Keras's own ``mse`` leaves
    (v, n, n, n) here, and weights (v,) would multiply the last axis of the grid.
    """
    from keras import ops

    return ops.mean(ops.square(predicted - volumes), axis=(1, 2, 3, 4))


def compiled_network(
    box: int, network: NetworkOptions, options: TrainOptions, mean: Any, spread: float
) -> Any:
    """Network that ``fit`` trains on the loss of eq. 2; built inside :func:`spread_over`.

    Parameters
    ----------
    box : int
        Box size in voxels.
    network, options : NetworkOptions, TrainOptions
        What to train, and how.
    mean : (n, n, n) array
        Mean training volume.
    spread : float
        Mean squared difference of the training volumes from it.
    """
    import keras

    model, _ = build_network(box, network, l2=options.regularization)
    set_reference(model, mean, float(np.sqrt(spread)))
    optimizer = adam_class()(options.learning_rate)
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=squared_error,
        weighted_metrics=[keras.metrics.MeanMetricWrapper(squared_error, name="error")],
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def _fit(
    model: Any,
    read: ReadVolumes,
    parts: tuple[Rows, Rows],
    size: int,
    options: TrainOptions,
    *,
    seed: int,
    state: TrainingState,
    **keeping: Any,
) -> None:
    """Train on the first part, hold out the second, until the last epoch or for want of gain."""
    train, held_out = parts
    feed = feed_class()(read, train, size, fillers=1.0)
    check = feed_class()(read, held_out, size, fillers=0.0)
    before = plateau_callbacks(options)

    def next_order(epoch: int) -> None:
        feed.rows = np.random.default_rng([seed, 1, epoch]).permutation(train)

    try:
        model.fit(
            feed,
            epochs=options.epochs,
            initial_epoch=state.epochs,
            validation_data=check,
            callbacks=[*before, keeper_class()(state, before, next_order=next_order, **keeping)],
            shuffle=False,
            verbose=0,
        )
    finally:
        feed.read = check.read = None  # Keras keeps feeds, and with them memory maps of volumes


def train_autoencoder(
    read: ReadVolumes,
    count: int,
    box: int,
    *,
    network: NetworkOptions,
    options: TrainOptions,
    seed: int,
    devices: Sequence[str] = (),
    start: TrainingState | None = None,
    keep: Callable[[TrainingState], None] | None = None,
    progress: Progress = no_progress,
) -> Training:
    """Train the autoencoder on some volumes and hold out the others (sections 4.2, 4.3).

    Parameters
    ----------
    read : callable
        Normalised volumes of some rows, (k,) indices to (k, n, n, n).
    count, box : int
        Number of volumes; their box size in voxels, a multiple of 4.
    network, options, seed
        What to train and how; seed of the split, the weights and the order of the volumes.
    devices : sequence of str
        Devices that share every batch; the first one by default.
    start : TrainingState, optional
        State to go on from; the result is that of an undisturbed training.
    keep, progress : callable
        Called with the state after every epoch; after every batch.

    Raises
    ------
    InputError
        The loss is not finite.
    """
    import keras

    train, held_out = split_volumes(count, options.validation_size, seed)
    mean, spread, mean_error = mean_volume(read, train, held_out)
    keras.utils.set_random_seed(seed)
    state = start or TrainingState()
    size = min(options.batch_size, len(train))
    with spread_over(devices, size):
        model = compiled_network(box, network, options, mean, spread)
        if state.epochs < options.epochs and not state.stopped:
            _fit(
                model,
                read,
                (train, held_out),
                size,
                options,
                seed=seed,
                state=state,
                keep=keep,
                progress=progress,
            )
        if state.epochs < options.epochs:
            progress(options.epochs, options.epochs, "no gain any more")
        set_changing(model, state.best_weights, "best weights")
        history = np.array(state.history, np.float64)
        return Training(read_weights(model), history, state.best_error, mean_error)
