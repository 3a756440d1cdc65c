"""Images that are unlikely: not normalised, inverted, empty, or far from all others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.io.tables.faults import Fault

FAR = 5.0
"""An image is unlike the others where its deviation is so many times theirs, or so much less."""
_NAMED = 5
_BACKGROUND = 0.5
"""Background of the middle image, in its standard deviations, from which it is not normalised."""
_INVERTED, _ENOUGH = -8.0, 20
"""Contrast of the centre in standard errors that no chance gives; images that are needed."""
_FLIP = (
    "if so, flip it with relion_image_handler --multiply_constant -1, or say so in a column "
    "ac4dImageSign of -1"
)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Figures of the images that were looked at, in the units of the stacks.

    Attributes
    ----------
    rows : (n,) int64
        Rows of the table, from 0.
    stacks, numbers : (n,) int64
        Stack, and image in it from 1.
    background, noise : (n,) float64
        Mean and standard deviation outside the inscribed circle.
    centre, deviation : (n,) float64
        Mean within half of its radius; standard deviation of the image.
    ring : (n,) float64
        Standard deviation of the background by which images are normalised.
    """

    rows: Array
    stacks: Array
    numbers: Array
    background: Array
    noise: Array
    centre: Array
    deviation: Array
    ring: Array


def image_faults(
    table: Path, stacks: list[str], pixels: Pixels, signs: Array | None = None
) -> list[Fault]:
    """Warnings for images that are there and finite, but unlikely.

    Parameters
    ----------
    table : Path
        For messages.
    stacks : list of str
        Names of the stacks.
    pixels : Pixels
        Figures of the images.
    signs : (n,) array, optional
        -1 for images that the table calls dark on light.
    """
    if not len(pixels.rows):
        return []
    empty = ~(pixels.deviation > 1e-7 * np.maximum(1e-30, np.abs(pixels.background)))
    faults = _empty(table, stacks, pixels, empty)
    filled = ~empty
    if not filled.any():
        return faults
    middle = float(np.median(pixels.deviation[filled]))
    far = filled & ((pixels.deviation > FAR * middle) | (pixels.deviation < middle / FAR))
    if far.any():
        ratio = pixels.deviation[far][0] / middle
        what = (
            f"{int(far.sum())} of {len(far)} images have a standard deviation more than {FAR:g} "
            f"times, or less than 1/{FAR:g} of, that of the others, the first {ratio:.3g} times: "
            f"{_named(stacks, pixels, far)}"
        )
        way_out = (
            "look at them, and remove what is no particle (gold, ice, edges); --engine native "
            "gives them no weight and no state"
        )
        faults.append(Fault(table, "", what, way_out, "contrast-outliers", "warning"))
    noisy = filled & (pixels.noise > 0)
    if noisy.any():
        offset = float(np.median(pixels.background[noisy] / pixels.noise[noisy]))
        if abs(offset) > _BACKGROUND:
            what = (
                f"the images are not normalised: their background is {offset:.3g} standard "
                "deviations, not 0"
            )
            way_out = (
                "--engine native levels them when it reads them (--normalise); for RELION, "
                "normalise the stacks (relion_preprocess --norm)"
            )
            faults.append(Fault(table, "", what, way_out, "not-normalised", "warning"))
        faults += _contrast(table, pixels, noisy, signs)
    return faults


def _empty(table: Path, stacks: list[str], pixels: Pixels, empty: Array) -> list[Fault]:
    if not empty.any():
        return []
    count = int(empty.sum())
    level = "fault" if count > len(empty) / 2 else "warning"
    what = (
        f"{count} of {len(empty)} images hold one value in all pixels: "
        f"{_named(stacks, pixels, empty)}"
    )
    way_out = "remove them, or extract them again"
    return [Fault(table, "", what, way_out, "empty-images", level)]


def _contrast(table: Path, pixels: Pixels, noisy: Array, signs: Array | None) -> list[Fault]:
    """Warning where the centre of the images is darker than their background, far beyond chance."""
    height = (pixels.centre[noisy] - pixels.background[noisy]) / pixels.noise[noisy]
    if signs is not None:
        height = height * signs[noisy]
    if len(height) < _ENOUGH:
        return []
    error = float(height.std()) / np.sqrt(len(height))
    if not height.mean() < min(_INVERTED * error, 0.0):
        return []
    what = (
        "the particles look dark on a light background (contrast inverted): the middle of the "
        f"images is {-height.mean():.2g} standard deviations below their background"
    )
    return [Fault(table, "", what, _FLIP, "inverted-contrast", "warning")]


def unsigned_fault(path: Path, dtype: str) -> Fault:
    """Fault of a stack whose signed integers look unsigned."""
    kind = "8-bit (mode 0)" if dtype.endswith("1") else "16-bit (mode 1)"
    return Fault(
        path,
        "",
        f"the pixels are signed {kind} but look unsigned: they wrap from the largest to the "
        "smallest value within an image",
        "write the stack again as 32-bit (mode 2) or unsigned 16-bit (mode 6)",
        "unsigned-pixels",
    )


def _named(stacks: list[str], pixels: Pixels, chosen: Array) -> str:
    """The first few images by number, stack and row."""
    places = np.flatnonzero(chosen)
    order = places[np.argsort(pixels.rows[places], kind="stable")]
    shown = [
        f"{pixels.numbers[k]}@{stacks[pixels.stacks[k]]} (row {pixels.rows[k] + 1})"
        for k in order[:_NAMED].tolist()
    ]
    more = len(order) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
