"""What left-out particles lose when two states become one, added up over folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array


@dataclass(frozen=True)
class Losses:
    """Sums of the losses of merging two of K states.

    Attributes
    ----------
    sums, squares : (K, K) float64
        Of the losses (nats) of the particles that were tested, and of their squares.
    tested : (K, K) float64
        Particles that were left out by a fold that has both states: a state that only some folds
        have is tested on fewer of them.
    """

    sums: Array
    squares: Array
    tested: Array

    @classmethod
    def of(cls, sums: Array, squares: Array, particles: int) -> Losses:
        """Of sums over particles that have all been tested with all states."""
        return cls(sums, squares, np.full(sums.shape, float(particles)))

    @classmethod
    def none(cls, count: int) -> Losses:
        """Of no particle and ``count`` states."""
        sums, squares, tested = np.zeros((3, count, count))
        return cls(sums, squares, tested)

    def add(self, losses: tuple[Array, Array], present: Array, particles: int) -> None:
        """Add what the left-out particles of a fold lose.

        Parameters
        ----------
        losses : tuple of (k, k) arrays
            Sums of the losses, and of their squares.
        present : (k,) int array
            States that the fold has, from 0.
        particles : int
        """
        pairs = np.ix_(present, present)
        self.sums[pairs] += losses[0]
        self.squares[pairs] += losses[1]
        self.tested[pairs] += particles

    def merging(self) -> tuple[Array, Array]:
        """Mean loss a tested particle (nats) and its standard error, (K, K) float64.

        Neither is finite where no fold has both states, and on the diagonal.
        """
        known = (self.tested > 0) & ~np.eye(len(self.sums), dtype=bool)
        count = np.maximum(self.tested, 1)
        mean = self.sums / count
        variance = np.maximum(self.squares / count - np.square(mean), 0)
        return np.where(known, mean, np.inf), np.where(known, np.sqrt(variance / count), np.nan)
