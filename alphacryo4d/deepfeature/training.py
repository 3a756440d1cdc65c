"""Training of the autoencoder (section 4.3) and extraction of the feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.deepfeature.network import build_network, read_weights, set_reference, set_weights
from alphacryo4d.deepfeature.options import NetworkOptions, TrainOptions

Floats = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]
ReadVolumes = Callable[[NDArray[np.intp]], Floats]
"""Normalised volumes of some rows: (k,) indices to a (k, n, n, n) array with values in [0, 1]."""

HISTORY = ("epoch", "learning_rate", "loss", "error", "validation_error")
_LEAST_GAIN = 1e-3
_REFERENCE = ("centre.", "offset.")


@dataclass(frozen=True)
class Plateau:
    """The learning rate and when it falls (section 4.3): one object an epoch.

    Attributes
    ----------
    rate : float
        Learning rate of the next epoch.
    best : float
        Lowest held-out error that counted as a gain (at least 0.1% lower than the one before).
    waited, lowered : int
        Epochs since the last gain or change of the rate; how often the rate fell since a gain.
    stop : bool
        The rate was lowered twice without gain.
    """

    rate: float
    best: float = np.inf
    waited: int = 0
    lowered: int = 0
    stop: bool = False

    def after(self, error: float, options: TrainOptions) -> Plateau:
        """State after an epoch with this held-out error."""
        if error < self.best * (1 - _LEAST_GAIN):
            return replace(self, best=error, waited=0, lowered=0)
        waited = self.waited + 1
        if waited < options.patience:
            return replace(self, waited=waited)
        if self.lowered == 2:
            return replace(self, waited=waited, stop=True)
        return replace(self, rate=self.rate * options.factor, waited=0, lowered=self.lowered + 1)


@dataclass
class TrainingState:
    """All that a resumed training needs, as plain values and arrays."""

    plateau: Plateau
    history: list[tuple[float, ...]] = field(default_factory=list)
    best_error: float = np.inf
    weights: dict[str, Floats] = field(default_factory=dict)
    best_weights: dict[str, Floats] = field(default_factory=dict)
    optimizer: list[NDArray[Any]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history)


@dataclass(frozen=True)
class Training:
    """Result of :func:`train_autoencoder`.

    Attributes
    ----------
    weights : dict of arrays
        Best weights, by layer and name.
    history : (epochs, 5) array
        Columns of ``HISTORY``.
    error, mean_error : float
        Mean squared error of the held-out volumes, by the network and by the mean training volume.
    """

    weights: dict[str, Floats]
    history: NDArray[np.float64]
    error: float
    mean_error: float


def split_volumes(
    count: int, validation_size: int | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
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


def batches(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Rows in batches of one size; the last is filled up from the first rows."""
    size = min(size, len(rows))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield np.concatenate([part, rows[: size - len(part)]])


def mean_volume(
    read: ReadVolumes, train: NDArray[np.intp], held_out: NDArray[np.intp]
) -> tuple[Floats, float, float]:
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


def _dataset(read: ReadVolumes, rows: NDArray[np.intp], batch_size: int, box: int) -> Any:
    """One epoch of volumes (k, n, n, n, 1) for TensorFlow: whole batches in the given order."""
    import tensorflow as tf

    size = min(batch_size, len(rows))

    def generate() -> Iterator[Floats]:
        for part in batches(rows, batch_size):
            yield read(part)[..., None]

    data = tf.data.Dataset.from_generator(
        generate, output_signature=tf.TensorSpec((size, box, box, box, 1), tf.float32)
    )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.deterministic = True
    return data.with_options(options).prefetch(1)


def _inference(model: Any) -> Callable[[Floats], Floats]:
    """Quick inference on one device: (v, n, n, n) volumes to the model's output."""
    import tensorflow as tf

    run = tf.function(lambda volumes: model(volumes, training=False), reduce_retracing=True)

    def infer(volumes: Floats) -> Floats:
        return np.asarray(run(tf.constant(volumes[..., None])))

    return infer


def _held_out_error(
    infer: Callable[[Floats], Floats], read: ReadVolumes, rows: NDArray[np.intp], batch_size: int
) -> float:
    total = 0.0
    for start in range(0, len(rows), batch_size):
        volumes = read(rows[start : start + batch_size])
        difference = infer(volumes)[..., 0].astype(np.float64) - volumes
        total += float(np.sum(difference**2))
    return total / (len(rows) * int(volumes[0].size))


class _Trainer:
    """A compiled network with its optimizer: state in, one more epoch, state out."""

    def __init__(
        self, box: int, network: NetworkOptions, options: TrainOptions, seed: int, strategy: Any
    ) -> None:
        import keras

        keras.utils.set_random_seed(seed)
        self.strategy = strategy
        with strategy.scope():
            self.model, _ = build_network(box, network, l2=options.regularization)
            self.optimizer = keras.optimizers.Adam(options.learning_rate)
            self.optimizer.build(self.model.trainable_variables)
        self.infer = _inference(self.model)
        self.step = self._compiled_step()

    def _compiled_step(self) -> Any:
        """One training step over all devices: volumes in, loss (eq. 2) and error out."""
        import tensorflow as tf

        strategy, model, optimizer = self.strategy, self.model, self.optimizer
        replicas = strategy.num_replicas_in_sync

        def on_device(volumes: Any) -> Any:
            with tf.GradientTape() as tape:
                error = tf.reduce_mean(tf.square(model(volumes, training=True) - volumes))
                loss = error + (tf.add_n(model.losses) if model.losses else 0.0)
                shared = loss / replicas  # the optimizer adds up the gradients of all devices
            variables = model.trainable_variables
            gradients = tape.gradient(shared, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return tf.stack([loss, error])

        def step(volumes: Any) -> Any:
            both = strategy.run(on_device, args=(volumes,))
            return strategy.reduce(tf.distribute.ReduceOp.MEAN, both, axis=None)

        return tf.function(step, autograph=False)

    def changing_weights(self) -> dict[str, Floats]:
        """Weights without the reference volumes, which never change."""
        return {
            name: array
            for name, array in read_weights(self.model).items()
            if not name.startswith(_REFERENCE)
        }

    def set_changing(self, weights: Arrays, source: str) -> None:
        fixed = {
            name: array
            for name, array in read_weights(self.model).items()
            if name.startswith(_REFERENCE)
        }
        set_weights(self.model, {**fixed, **weights}, source=source)

    def restore(self, state: TrainingState) -> None:
        self.set_changing(state.weights, "checkpoint")
        for variable, array in zip(self.optimizer.variables, state.optimizer, strict=True):
            variable.assign(array)

    def epoch(self, data: Any, rate: float) -> tuple[float, float]:
        """Train once over the data; mean loss and mean squared error."""
        self.optimizer.learning_rate = rate
        distributed = self.strategy.experimental_distribute_dataset(data)
        steps = [np.asarray(self.step(volumes), np.float64) for volumes in distributed]
        loss, error = np.mean(steps, axis=0)
        return float(loss), float(error)


def train_autoencoder(
    read: ReadVolumes,
    count: int,
    box: int,
    *,
    network: NetworkOptions,
    options: TrainOptions,
    seed: int,
    strategy: Any,
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
    network, options : NetworkOptions, TrainOptions
        What to train, and how.
    seed : int
        Random seed of the split, the weights and the order of the volumes.
    strategy : tf.distribute.Strategy
        Devices to train on.
    start : TrainingState, optional
        State to go on from; the result is that of an undisturbed training.
    keep : callable, optional
        Called with the state after every epoch.
    progress : Progress
        Called after every epoch.
    """
    train, held_out = split_volumes(count, options.validation_size, seed)
    mean, spread, mean_error = mean_volume(read, train, held_out)
    trainer = _Trainer(box, network, options, seed, strategy)
    set_reference(trainer.model, mean, float(np.sqrt(spread)))
    state = start or TrainingState(Plateau(options.learning_rate))
    if state.epochs:
        trainer.restore(state)
    while state.epochs < options.epochs and not _stops(state, options):
        epoch = state.epochs + 1
        order = np.random.default_rng([seed, 1, epoch]).permutation(train)
        rate = state.plateau.rate
        loss, error = trainer.epoch(_dataset(read, order, options.batch_size, box), rate)
        held = _held_out_error(trainer.infer, read, held_out, options.batch_size)
        state.history.append((epoch, rate, loss, error, held))
        state.plateau = state.plateau.after(held, options)
        state.weights = trainer.changing_weights()
        if held < state.best_error:
            state.best_error, state.best_weights = held, state.weights
        state.optimizer = [np.asarray(variable) for variable in trainer.optimizer.variables]
        if keep is not None:
            keep(state)
        progress(epoch, options.epochs, f"epoch {epoch}: error {error:.3g}, held out {held:.3g}")
    if state.epochs < options.epochs:
        progress(options.epochs, options.epochs, "no gain any more")
    trainer.set_changing(state.best_weights, "best weights")
    history = np.array(state.history, np.float64)
    return Training(read_weights(trainer.model), history, state.best_error, mean_error)


def _stops(state: TrainingState, options: TrainOptions) -> bool:
    enough = state.epochs >= options.minimum_epochs
    return options.early_stop and enough and state.plateau.stop


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
    infer = _inference(encoder)
    for start in range(0, count, batch_size):
        rows = np.arange(start, min(start + batch_size, count))
        yield slice(rows[0], rows[-1] + 1), infer(read(rows))
        progress(rows[-1] + 1, count)
