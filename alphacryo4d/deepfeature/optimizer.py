"""Keras's Adam, without what a training on one device does not need."""

from __future__ import annotations

import functools
from typing import Any

from alphacryo4d.deepfeature.devices import replicas_to_pool


@functools.cache
def adam_class() -> Any:
    """Optimizer class, made when Keras is first needed (its import takes seconds)."""
    import keras

    class Adam(keras.optimizers.Adam):  # type: ignore[misc]
        """Adam that adds up gradients only where there are replicas of the network."""

        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
            if not replicas_to_pool():
                return list(grads_and_vars)
            return list(super()._all_reduce_sum_gradients(grads_and_vars))

    return Adam
