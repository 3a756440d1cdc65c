"""What the autoencoder has beside Keras's layers: the mean volume, and how a decoder begins."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def reference_layer() -> Any:
    """Layer class, made when Keras is first needed (its import takes seconds)."""
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


def transposed_glorot(stride: int) -> Callable[..., Any]:
    """Initialiser of a transposed kernel (k, k, k, out, in): Glorot's, drawn as a convolution's.

    A transposed convolution of stride 1 is the convolution by the mirrored kernel with its channels
    swapped; drawn in that order, a seed begins with the weights that it began with before the
    decoder was written in transposed layers.
    """
    import keras
    from keras import ops

    draw = keras.initializers.GlorotUniform()

    def initialise(shape: tuple[int, ...], dtype: Any = None) -> Any:
        kernel = draw((*shape[:3], shape[4], shape[3]), dtype=dtype)
        kernel = ops.swapaxes(kernel, 3, 4)
        return kernel if stride > 1 else ops.flip(kernel, axis=(0, 1, 2))

    return initialise
