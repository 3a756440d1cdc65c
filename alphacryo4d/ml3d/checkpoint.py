"""Where a classification keeps its state."""

from __future__ import annotations

from typing import Protocol

from alphacryo4d.core.arrays import Array


class Checkpoint(Protocol):
    """Where a classification keeps its state, so that it can be resumed."""

    def load(self) -> dict[str, Array] | None:
        """State that was saved last, or None."""

    def save(self, state: dict[str, Array]) -> None:
        """Keep a state (called after every iteration)."""
