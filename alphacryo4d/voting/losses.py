"""What left-out particles lose when two states become one, added up over folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array


def by_image(values: Array, images: Array | None) -> Array:
    """Sums (N, ...) of values (n, ...) over the copies of every image (n,); as they are for None.

    Copies of an image share its noise: images are independent, particles are not.
    """
    if images is None or not len(values):
        return values
    order = np.argsort(images, kind="stable")
    changes = np.flatnonzero(np.diff(images[order])) + 1
    return np.asarray(np.add.reduceat(values[order], np.append(0, changes), axis=0))


def mean_and_error(values: Array, images: Array | None = None) -> tuple[float, float]:
    """Mean of values (n,), and its standard error when copies of an image are not independent."""
    sums = by_image(values, images)
    return float(values.mean()), float(sums.std() * np.sqrt(len(sums)) / max(len(values), 1))


def error_of_sums(sums: Array, squares: Array, particles: Array, images: Array) -> Array:
    """Standard error of the means over particles.

    Parameters
    ----------
    sums, squares : arrays
        Sum of the values, and of the squares of their sums by image (:func:`by_image`).
    particles, images : arrays
        How many there are, at least 1.
    """
    variance = np.maximum(squares / images - np.square(sums / images), 0)
    error: Array = np.sqrt(variance * images) / particles
    return error


@dataclass(frozen=True)
class Losses:
    """Sums of the losses of merging two of K states.

    Attributes
    ----------
    sums, squares : (K, K) float64
        Of the losses (nats) of the particles that were tested, and of the squares of these, summed
        by image where particles are copies of one (:func:`by_image`).
    tested, images : (K, K) float64
        Particles that were left out by a fold that has both states, and their images: a state that
        only some folds have is tested on fewer of them.
    """

    sums: Array
    squares: Array
    tested: Array
    images: Array

    @classmethod
    def of(cls, sums: Array, squares: Array, particles: int) -> Losses:
        """Of sums over particles, no copies, that have all been tested with all states."""
        tested, images = np.full((2, *sums.shape), float(particles))
        return cls(sums, squares, tested, images)

    @classmethod
    def none(cls, count: int) -> Losses:
        """Of no particle and ``count`` states."""
        sums, squares, tested, images = np.zeros((4, count, count))
        return cls(sums, squares, tested, images)

    def add(
        self,
        losses: tuple[Array, Array],
        present: Array,
        particles: int,
        images: Array | None = None,
    ) -> None:
        """Add what the left-out particles of a fold lose.

        Parameters
        ----------
        losses : tuple of (k, k) arrays
            Sums of the losses, and of their squares (by image).
        present : (k,) int array
            States that the fold has, from 0.
        particles : int
        images : (n,) int array, optional
            Image of each of the particles, where some are copies.
        """
        pairs = np.ix_(present, present)
        self.sums[pairs] += losses[0]
        self.squares[pairs] += losses[1]
        self.tested[pairs] += particles
        self.images[pairs] += particles if images is None else len(np.unique(images))

    def merging(self) -> tuple[Array, Array]:
        """Mean loss a tested particle (nats) and its standard error, (K, K) float64.

        Neither is finite where no fold has both states, and on the diagonal.
        """
        known = (self.tested > 0) & ~np.eye(len(self.sums), dtype=bool)
        particles, images = np.maximum(self.tested, 1), np.maximum(self.images, 1)
        error = error_of_sums(self.sums, self.squares, particles, images)
        return np.where(known, self.sums / particles, np.inf), np.where(known, error, np.nan)
