"""Keras layers of the autoencoder, on grids kept as phases (see ``phases.py``)."""

from __future__ import annotations

import functools
from typing import Any

from alphacryo4d.deepfeature.phases import from_phases, phase_matrix, to_phases


@functools.cache
def layer_classes() -> dict[str, Any]:
    """Layer classes by name, made when Keras is first needed (its import takes seconds)."""
    import keras

    class ToPhases(keras.layers.Layer):  # type: ignore[misc]
        """A grid as its phases."""

        def call(self, inputs: Any) -> Any:
            return to_phases(inputs)

    class FromPhases(keras.layers.Layer):  # type: ignore[misc]
        """Phases as their grid."""

        def call(self, inputs: Any) -> Any:
            return from_phases(inputs)

    return {
        "convolution": _convolution(),
        "normalization": _normalization(),
        "reference": _reference(),
        "to_phases": ToPhases,
        "from_phases": FromPhases,
    }


def _convolution() -> Any:
    import keras
    from keras import ops

    class PhaseConvolution(keras.layers.Layer):  # type: ignore[misc]
        """Convolution; ``same`` and ``down`` take phases, ``same`` and ``up`` give them.

        A transposed convolution of stride 1 is a convolution with the mirrored kernel, so ``same``
        serves both.
        """

        def __init__(self, filters: int, size: int, kind: str, l2: float, **more: Any) -> None:
            super().__init__(**more)
            self.filters, self.size, self.kind, self.l2 = filters, size, kind, l2
            self.expand, (self.phases_in, self.phases_out) = phase_matrix(kind, size)

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            channels = int(input_shape[-1] or 0) // self.phases_in
            self.channels = channels
            self.kernel = self.add_weight(
                shape=(self.size,) * 3 + (channels, self.filters),
                initializer=keras.initializers.GlorotUniform(),
                regularizer=keras.regularizers.L2(self.l2) if self.l2 else None,
                name="kernel",
            )

        def call(self, inputs: Any) -> Any:
            taps, p, q = self.size**3, self.phases_in, self.phases_out
            kernel = ops.reshape(self.kernel, (taps, self.channels * self.filters))
            kernel = ops.matmul(ops.convert_to_tensor(self.expand), kernel)
            kernel = ops.reshape(kernel, (27, p, q, self.channels, self.filters))
            kernel = ops.transpose(kernel, (0, 1, 3, 2, 4))
            kernel = ops.reshape(kernel, (3, 3, 3, p * self.channels, q * self.filters))
            return ops.conv(inputs, kernel, strides=1, padding="same")

    return PhaseConvolution


def _normalization() -> Any:
    import keras
    import tensorflow as tf
    from keras import ops

    class PhaseNormalization(keras.layers.Layer):  # type: ignore[misc]
        """Batch normalisation with one mean and deviation per channel, whatever the phases.

        In training the moments are those of the whole batch over all devices.
        """

        def __init__(self, phases: int, momentum: float, **more: Any) -> None:
            super().__init__(**more)
            self.phases, self.momentum, self.epsilon = phases, momentum, 1e-5

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            shape = (int(input_shape[-1] or 0) // self.phases,)
            self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
            more = {"shape": shape, "trainable": False, "aggregation": "mean"}
            self.moving_mean = self.add_weight(initializer="zeros", name="moving_mean", **more)
            self.moving_variance = self.add_weight(
                initializer="ones", name="moving_variance", **more
            )

        def _moments(self, inputs: Any) -> tuple[Any, Any]:
            first = ops.mean(inputs, axis=(0, 1, 2, 3))
            second = ops.mean(ops.square(inputs), axis=(0, 1, 2, 3))
            moments = ops.mean(
                ops.reshape(ops.stack([first, second]), (2, self.phases, -1)), axis=1
            )
            context = tf.distribute.get_replica_context()
            if context is not None and context.num_replicas_in_sync > 1:
                moments = context.all_reduce(tf.distribute.ReduceOp.MEAN, moments)
            return moments[0], ops.maximum(moments[1] - ops.square(moments[0]), 0.0)

        def call(self, inputs: Any, training: bool = False) -> Any:
            if training:
                mean, variance = self._moments(inputs)
                kept = self.momentum
                self.moving_mean.assign(kept * self.moving_mean + (1 - kept) * mean)
                self.moving_variance.assign(kept * self.moving_variance + (1 - kept) * variance)
            else:
                mean, variance = self.moving_mean, self.moving_variance
            scale = self.gamma / ops.sqrt(variance + self.epsilon)
            shift = self.beta - mean * scale
            return inputs * ops.tile(scale, (self.phases,)) + ops.tile(shift, (self.phases,))

    return PhaseNormalization


def _reference() -> Any:
    import keras

    class Reference(keras.layers.Layer):  # type: ignore[misc]
        """Subtract the mean training volume (``encode``), or add its logit (``decode``)."""

        def __init__(self, mode: str, **more: Any) -> None:
            super().__init__(**more)
            self.mode = mode

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            shape = tuple(int(size or 0) for size in input_shape[1:])
            self.volume = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, name="volume"
            )
            self.scale = self.add_weight(
                shape=(), initializer="ones", trainable=False, name="scale"
            )

        def call(self, inputs: Any) -> Any:
            if self.mode == "encode":
                return (inputs - self.volume) * self.scale
            return inputs * self.scale + self.volume

    return Reference
