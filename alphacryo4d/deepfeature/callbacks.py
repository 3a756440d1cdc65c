"""What happens at each epoch of ``fit``: Keras's callbacks, and one that keeps the state."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress
from alphacryo4d.deepfeature.options import TrainOptions
from alphacryo4d.deepfeature.state import TrainingState
from alphacryo4d.deepfeature.weights import REFERENCE, read_weights, set_weights

LEAST_GAIN = 1e-3
"""Least relative gain of the held-out error."""
_LOWERED = 2
"""How often the rate is lowered without gain before the training stops."""


def plateau_callbacks(options: TrainOptions) -> list[Any]:
    """Keras's callbacks that lower the rate and stop (section 4.3).

    Parameters
    ----------
    options : TrainOptions
        Factor, patience, least number of epochs.

    Notes
    -----
    Keras compares differences; a relative gain is one of the logarithm, which comes first.
    """
    import keras

    def add_logarithm(_: int, logs: dict[str, Any]) -> None:
        logs["val_log_error"] = math.log(max(float(logs["val_error"]), 1e-30))

    logarithm = keras.callbacks.LambdaCallback(on_epoch_end=add_logarithm)
    watched = {
        "monitor": "val_log_error",
        "mode": "min",
        "min_delta": -math.log(1 - LEAST_GAIN),
    }
    lower = keras.callbacks.ReduceLROnPlateau(
        factor=options.factor, patience=options.patience, **watched
    )
    if not options.early_stop:
        return [logarithm, lower]
    patience = (_LOWERED + 1) * options.patience
    stop = keras.callbacks.EarlyStopping(
        patience=patience,
        start_from_epoch=max(0, options.minimum_epochs - 1 - patience),
        **watched,
    )
    return [logarithm, lower, stop]


def changing_weights(model: Any) -> dict[str, Any]:
    """Weights without the reference volumes, which never change."""
    return {k: v for k, v in read_weights(model).items() if not k.startswith(REFERENCE)}


def set_changing(model: Any, weights: Any, source: str) -> None:
    """Set the weights of :func:`changing_weights`."""
    fixed = {k: v for k, v in read_weights(model).items() if k.startswith(REFERENCE)}
    set_weights(model, {**fixed, **weights}, source=source)


def _take_up(model: Any, state: TrainingState, before: list[Any]) -> None:
    """Show the other callbacks the epochs that are done, and set what they left."""
    for epoch, rate, loss, error, held_out in state.history:
        model.optimizer.learning_rate = rate
        seen = {"loss": loss, "error": error, "val_error": held_out}
        for callback in before:
            callback.on_epoch_end(int(epoch) - 1, seen)
    set_changing(model, state.weights, "checkpoint")
    for variable, array in zip(model.optimizer.variables, state.optimizer, strict=True):
        variable.assign(array)


def _record(model: Any, state: TrainingState, epoch: int, logs: dict[str, Any]) -> None:
    """Add an epoch to the state, and the weights and the optimizer after it."""
    loss, error, held_out = (float(logs[name]) for name in ("loss", "error", "val_error"))
    if not np.isfinite([loss, error, held_out]).all():
        raise InputError(f"the loss of epoch {epoch} is not finite; lower --learning-rate")
    state.history.append((epoch, float(logs["learning_rate"]), loss, error, held_out))
    state.stopped = bool(model.stop_training)
    state.weights = changing_weights(model)
    if held_out < state.best_error:
        state.best_error, state.best_weights = held_out, state.weights
    state.optimizer = [np.asarray(value) for value in model.optimizer.variables]


@functools.cache
def keeper_class() -> Any:
    """Class of the callback that keeps the state, made when Keras is first needed."""
    import keras

    class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
        """Takes up a training where it was left, and hands out its state after every epoch.

        It comes last. ``BackupAndRestore`` and ``ModelCheckpoint`` forget what the callbacks before
        it have seen; here these see all earlier epochs again, so that a resumed training takes the
        steps of an undisturbed one.
        """

        def __init__(
            self,
            state: TrainingState,
            before: list[Any],
            *,
            next_order: Callable[[int], None],
            keep: Callable[[TrainingState], None] | None,
            progress: Progress,
        ) -> None:
            super().__init__()
            self.state, self.before = state, before
            self.next_order, self.keep, self.progress = next_order, keep, progress

        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
            if self.state.epochs:
                _take_up(self.model, self.state, self.before)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            self.next_order(epoch + 1)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            done, steps = self.state.epochs, self.params["steps"]
            if batch + 1 < steps:
                part = done + (batch + 1) / steps
                self.progress(part, self.params["epochs"], f"epoch {done + 1}")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            _record(self.model, self.state, epoch + 1, logs)
            if self.keep is not None:
                self.keep(self.state)
            _, _, _, error, held_out = self.state.history[-1]
            words = f"epoch {epoch + 1}: error {error:.3g}, held out {held_out:.3g}"
            self.progress(epoch + 1, self.params["epochs"], words)

    return Keeper
