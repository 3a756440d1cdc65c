"""The background of images, and images that differ from all others.

Background is what lies outside a circle about the centre: the particle's diameter where it is
known, else three quarters of the box, as RELION's extraction takes it. RELION refuses images whose
background is not 0 with deviation 1; here they are brought to it when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.maths.threads import in_ranges

NORMALISATIONS = ("deviation", "ramp", "micrograph", "mean", "none")
BY_IMAGE = ("deviation", "ramp")
"""Normalisations by the deviation of the background of each image."""
SCALED = (*BY_IMAGE, "micrograph")
"""Normalisations that bring the noise to a deviation of 1; with others grey values stand."""
FAR = 5.0
"""Times the median deviation from which an image is unlike the others, either way."""
COMMON = 0.05
"""Part of the images beyond ``FAR`` from which contrasts just vary: then all are brought to one."""
_EXTREME = 1e12
"""Deviation of grey values, or its inverse, from which sums of squares may overflow."""
_SHARE = 0.75
_LARGEST = 0.98


@dataclass(frozen=True)
class Typical:
    """Deviations of most images of every optics group.

    Attributes
    ----------
    deviation : (G,) float64
        Median deviation of all pixels; NaN where contrasts vary too much to judge by it.
    contrast : (G,) float64
        Median of the deviation of all pixels over that of the background.
    """

    deviation: Array
    contrast: Array

    def require_moderate(self, normalise: str) -> None:
        """Refuse grey values, to be taken as they are, whose squares single precision cannot hold.

        So all that follows is finite: pixels are (others are refused by row), images have a
        deviation of 1 or within these bounds, outliers are brought to that of the others, and every
        matrix that is inverted is a sum of positive ones and a prior, or goes through
        :func:`alphacryo4d.maths.linear_solvers.root_of_covariance`.

        Raises
        ------
        InputError
            With the way out.
        """
        usual = self.deviation
        extreme = usual[(usual < 1 / _EXTREME) | (usual > _EXTREME)]
        if len(extreme) and normalise not in SCALED:
            raise InputError(
                f"the grey values have a deviation of {extreme[0]:.3g}, with which single "
                "precision cannot compute; take --normalise deviation"
            )

    def outliers(self, levels: Array, group: Array) -> Array:
        """Which images are unlike the others.

        Parameters
        ----------
        levels : (n, 3) array
            Of :func:`level`.
        group : (n,) int array

        Returns
        -------
        (n,) bool
            Constant images, and those that vary ``FAR`` times more or less than most; where
            contrasts vary, those that vary so much more inside than outside.
        """
        background, every = levels[:, 1], levels[:, 2]
        usual, contrast = self.deviation[group], self.contrast[group]
        with np.errstate(invalid="ignore"):
            strange = (every > FAR * usual) | (every * FAR < usual)
            strange |= np.isnan(usual) & (every > FAR * contrast * background)
        return np.asarray(strange | ~(background > 0))


def typical_of(levels: Array, group: Array, groups: int) -> Typical:
    """Deviations of most images by the background of some.

    Parameters
    ----------
    levels : (n, 3) array
        Of :func:`level`.
    group : (n,) int array
    groups : int
        Number of groups; one without images takes the median of all.
    """
    good = levels[:, 1] > 0
    levels, group = levels[good], group[good]
    if not len(levels):
        return Typical(np.full(groups, np.nan), np.full(groups, np.nan))
    deviation = np.full(groups, np.median(levels[:, 2]))
    contrast = np.full(groups, np.median(levels[:, 2] / levels[:, 1]))
    for number in np.unique(group):
        mine = levels[group == number]
        usual = deviation[number] = np.median(mine[:, 2])
        contrast[number] = np.median(mine[:, 2] / mine[:, 1])
        far = (mine[:, 2] > FAR * usual) | (mine[:, 2] * FAR < usual)
        if far.mean() > COMMON:
            deviation[number] = np.nan
    return Typical(deviation, contrast)


def circle(box: int, diameter: float | None = None) -> Array:
    """Pixels of the particle, (box, box) bool.

    Parameters
    ----------
    box : int
    diameter : float, optional
        In pixels; three quarters of the box by default. Some background always remains.
    """
    axis = np.arange(box) - box // 2
    wide = _SHARE * box if diameter is None else min(diameter, _LARGEST * box)
    inside: Array = np.hypot(axis[:, None], axis) <= wide / 2
    return inside


def level(images: Array, inside: Array, normalise: str = "deviation", workers: int = 1) -> Array:
    """Bring the background of images to 0, and its deviation to 1, in place.

    Parameters
    ----------
    images : (n, b, b) float32
    inside : (b, b) bool
        Of :func:`circle`.
    normalise : str
        One of ``NORMALISATIONS``: mean and deviation, a plane and the deviation, the mean alone
        (also for ``micrograph``, whose deviation the images do not tell one by one), or nothing.
    workers : int

    Returns
    -------
    (n, 3) float64
        Of every image as it was: mean and deviation of the background, deviation of all pixels.
        Not finite where a pixel is not.
    """
    levels = np.empty((len(images), 3))
    levelling = _Background(inside, normalise)

    def work(begin: int, end: int) -> None:
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            for first in range(begin, end, _TOGETHER):
                part = slice(first, min(end, first + _TOGETHER))
                levels[part] = levelling.take(images[part])

    in_ranges(work, len(images), _TOGETHER, workers)
    return levels


_TOGETHER = 32
"""Images that stay in the processor's cache from one pass over their pixels to the next."""
_MODERATE = 1e-15, 1e15
"""Deviations whose squares single precision sums."""
_ROUNDING = 3e-7
"""Deviation over mean up to which an image is constant but for the rounding of float32."""


class _Background:
    """Sums over images of one size, as products with matrices.

    Parameters
    ----------
    inside, normalise
        As for :func:`level`.
    """

    def __init__(self, inside: Array, normalise: str) -> None:
        self.normalise = normalise
        outside, axis = ~inside.ravel(), np.arange(len(inside)) - len(inside) // 2
        y, x = (values.ravel() for values in np.meshgrid(axis, axis, indexing="ij"))
        self.plane = np.stack([np.ones(len(x)), x, y])[: 3 if normalise == "ramp" else 1]
        known = self.plane * outside
        self.heights = (np.linalg.inv(known @ known.T) @ known).T
        self.means = np.stack([np.full(len(x), 1 / len(x)), outside / outside.sum()], axis=1)
        self._single = [
            values.astype(np.float32) for values in (self.plane, self.heights, self.means)
        ]

    def take(self, images: Array) -> Array:
        """Level some images in place; in double precision where single does not hold squares."""
        pixels = images.reshape(len(images), -1)
        levelled, levels = self._levelled(pixels, *self._single)
        low, high = _MODERATE
        extreme = ~((levels[:, 2] > low) & (levels[:, 2] < high))
        if extreme.any():
            levelled[extreme], levels[extreme] = self._levelled(
                pixels[extreme].astype(np.float64), self.plane, self.heights, self.means
            )
        if self.normalise != "none":
            pixels[:] = levelled
        return levels

    def _levelled(
        self, pixels: Array, plane: Array, heights: Array, means: Array
    ) -> tuple[Array, Array]:
        """Levelled pixels (n, b * b) in the precision of those given, and what was found."""
        rest, height = pixels, np.zeros((len(pixels), len(plane)))
        for _ in range(2):  # the second time without what the first sums have lost by rounding
            part = rest @ heights
            height += part
            rest = rest - (part if len(plane) == 1 else part @ plane)
        every, deviation = np.sqrt((rest * rest) @ means).T.astype(np.float64)
        deviation = np.where(deviation <= 1e-6 * every, every, deviation)
        deviation[deviation <= _ROUNDING * np.abs(height[:, 0])] = 0.0
        if self.normalise in BY_IMAGE:
            factor = np.divide(1.0, deviation, out=np.zeros(len(pixels)), where=deviation > 0)
            rest *= factor[:, None].astype(pixels.dtype)
        return rest, np.stack([height[:, 0], deviation, every], axis=1)
