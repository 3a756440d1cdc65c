"""What every engine of classification does, and what it reads of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.progress import Progress
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.options import ResampleOptions

IndexArray = np.ndarray[Any, np.dtype[np.intp]]


class Plan(Protocol):
    """What the engines read of the plan of a stage."""

    @property
    def resample(self) -> ResampleOptions:
        """Options of the stage."""

    @property
    def classify(self) -> ClassifyOptions:
        """Options of a classification."""

    @property
    def relion(self) -> RelionOptions:
        """Options of RELION."""

    @property
    def seed(self) -> int:
        """Random seed."""


class Engine(Protocol):
    """A classification without alignment that writes its results under RELION's names."""

    def classify(
        self,
        folder: Path,
        rows: IndexArray,
        *,
        heldout: IndexArray,
        batch: IndexArray,
        stream: tuple[int, ...],
        table: Path,
        deadline: Deadline,
        progress: Progress,
    ) -> list[Path]:
        """Classify some particles.

        Parameters
        ----------
        folder : Path
            Where the results go.
        rows : (n,) int array
            Particles to classify, ascending.
        heldout : (m,) int array
            Particles that are only compared with the final volumes.
        batch : (b,) int array
            All particles of the batch, so that images can be kept between folds.
        stream : tuple of int
            Numbers that make this classification's random stream its own.
        table : Path
            Table with just these rows.
        deadline, progress
            When to stop, whom to tell.

        Returns
        -------
        list of Path
            Everything written.
        """

    def close(self) -> None:
        """Let go of what was kept between classifications."""
