"""State and result of a training, as plain values and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]

HISTORY = ("epoch", "learning_rate", "loss", "error", "validation_error")


@dataclass
class TrainingState:
    """All that a resumed training needs: one object for the whole training.

    Attributes
    ----------
    history : list of tuples
        One row of ``HISTORY`` for each epoch that is done.
    stopped : bool
        The training ended before its last epoch, for want of gain.
    best_error : float
        Lowest held-out error.
    weights, best_weights : dict of arrays
        Weights after the last epoch and after the best, without the reference volumes.
    optimizer : list of arrays
        Variables of Adam.
    """

    history: list[tuple[float, ...]] = field(default_factory=list)
    stopped: bool = False
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
    """Result of a training.

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
