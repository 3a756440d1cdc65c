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

NORMALISATIONS = ("deviation", "ramp", "mean", "none")
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
        if len(extreme) and normalise in ("mean", "none"):
            raise InputError(
                f"the grey values have a deviation of {extreme[0]:.3g}, with which single "
                "precision cannot compute; take --normalise deviation"
            )

    def outliers(self, found: Array, group: Array) -> Array:
        """Which images are unlike the others.

        Parameters
        ----------
        found : (n, 3) array
            Of :func:`level`.
        group : (n,) int array

        Returns
        -------
        (n,) bool
            Constant images, and those that vary ``FAR`` times more or less than most; where
            contrasts vary, those that vary so much more inside than outside.
        """
        background, every = found[:, 1], found[:, 2]
        usual, contrast = self.deviation[group], self.contrast[group]
        with np.errstate(invalid="ignore"):
            strange = (every > FAR * usual) | (every * FAR < usual)
            strange |= np.isnan(usual) & (every > FAR * contrast * background)
        return np.asarray(strange | ~(background > 0))


def typical_of(found: Array, group: Array, groups: int) -> Typical:
    """Deviations of most images by the background of some.

    Parameters
    ----------
    found : (n, 3) array
        Of :func:`level`.
    group : (n,) int array
    groups : int
        Number of groups; one without images takes the median of all.
    """
    good = found[:, 1] > 0
    found, group = found[good], group[good]
    if not len(found):
        return Typical(np.full(groups, np.nan), np.full(groups, np.nan))
    deviation = np.full(groups, np.median(found[:, 2]))
    contrast = np.full(groups, np.median(found[:, 2] / found[:, 1]))
    for number in np.unique(group):
        mine = found[group == number]
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
        One of ``NORMALISATIONS``: mean and deviation, a plane and the deviation, the mean alone,
        or nothing.
    workers : int

    Returns
    -------
    (n, 3) float64
        Of every image as it was: mean and deviation of the background, deviation of all pixels.
        Not finite where a pixel is not.
    """
    found = np.empty((len(images), 3))

    def work(begin: int, end: int) -> None:
        with np.errstate(invalid="ignore", over="ignore"):  # the caller names such images
            found[begin:end] = _level_some(images[begin:end], inside, normalise)

    in_ranges(work, len(images), 64, workers)
    return found


_ROUNDING = 3e-7
"""Deviation over mean up to which an image is constant but for the rounding of float32."""


def _level_some(images: Array, inside: Array, normalise: str) -> Array:
    """The same in one thread; sums are in float64."""
    outside, axis = ~inside.ravel(), np.arange(len(inside)) - len(inside) // 2
    rest = images.reshape(len(images), -1).astype(np.float64)
    y, x = (values.ravel() for values in np.meshgrid(axis, axis, indexing="ij"))
    basis = np.stack([np.ones(len(x)), x, y])[: 3 if normalise == "ramp" else 1]
    known = basis * outside
    plane = rest @ (np.linalg.inv(known @ known.T) @ known).T
    for height, form in zip(plane.T, basis, strict=True):
        rest -= height[:, None] * form
    square = rest * rest
    every = np.sqrt(square @ np.full(len(x), 1 / len(x)))
    deviation = np.sqrt(square @ (outside / outside.sum()))
    deviation = np.where(deviation <= 1e-6 * every, every, deviation)
    deviation[deviation <= _ROUNDING * np.abs(plane[:, 0])] = 0.0
    if normalise in ("deviation", "ramp"):
        factor = np.divide(1.0, deviation, out=np.zeros(len(images)), where=deviation > 0)
        rest *= factor[:, None]
    if normalise != "none":
        images[:] = rest.reshape(images.shape)
    return np.stack([plane[:, 0], deviation, every], axis=1)
