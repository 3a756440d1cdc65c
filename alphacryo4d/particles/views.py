"""Images whose background depends on the direction that the particle is seen from.

Where the particle, or what its CTF spreads, reaches into the background, an image that is brought
to the deviation of its own background gets the scale of its view, and views become states. Then
images are brought to the deviation that those of their micrograph have in common.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import read_job
from alphacryo4d.core.progress import Progress, show_progress
from alphacryo4d.core.renamed import with_present_names
from alphacryo4d.core.replacing import next_folder
from alphacryo4d.core.words import ONCE
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.typical import background_levels, micrographs, sampled_levels
from alphacryo4d.particles.view_scales import medians, one_scale, told_by_view, within_units

logger = logging.getLogger(__name__)

_ONE_SCALE = 0.2
"""Spread within a micrograph, without that of views, from which its images differ in scale."""
_IMAGES, _ALL, _LEAST = 16, 20_000, 2
"""Images that tell the deviation of a micrograph; of all together; and of each even so."""


def asked(normalise: str, engine: str) -> str:
    """``--normalise`` as an engine takes it: RELION classifies the files as they are.

    Its images are read to look for outliers alone, each by its own background where none was
    chosen.
    """
    return "deviation" if (engine, normalise) == ("relion", "auto") else normalise


def settled(
    classify: ClassifyOptions,
    particles: ParticleSet,
    *,
    engine: str = "native",
    folder: Path | None = None,
) -> ClassifyOptions:
    """The options with the normalisation that fits the images, where none was chosen.

    What the results in ``folder`` were made by is kept; else the images, and nothing else, decide:
    the same for every run on a table. Results record it, and what is made of them takes it from
    there.

    Parameters
    ----------
    classify : ClassifyOptions
    particles : ParticleSet
    engine : str
        ``native`` or ``relion``.
    folder : Path, optional
        Of the results, unless they are made anew (``--overwrite``).
    """
    classify = replace(classify, normalise=asked(classify.normalise, engine))
    if classify.normalise != "auto":
        return classify
    kept = None if folder is None else _recorded(folder)
    if kept is None:
        return replace(classify, normalise=fitting(particles, classify.mask_diameter))
    if kept == "deviation" and (size := _dependence(particles, classify.mask_diameter)):
        logger.info(
            "%s, and %s was made with images that are each brought to the deviation of their own; "
            "that stays so: --normalise micrograph makes it anew, without states that are views",
            _said(particles, size), folder, extra=ONCE,
        )  # fmt: skip
    return replace(classify, normalise=kept)


def _recorded(folder: Path) -> str | None:
    """What ``auto`` became in a folder whose results are there, or are being made."""
    for place in (next_folder(folder), folder):
        options = with_present_names((read_job(place) or {}).get("options", {}))
        choice = options.get("classify", options).get("normalise")
        if choice in ("deviation", "micrograph"):
            return str(choice)
    return None


def fitting(
    particles: ParticleSet, diameter: float | None, progress: Progress | None = None
) -> str:
    """``deviation``, or ``micrograph`` where the background depends on the view; says so once.

    Parameters
    ----------
    particles : ParticleSet
    diameter : float or None
        Of the particle (A).
    progress : callback, optional
        Called while images are read; without it a bar of its own is shown.
    """
    held = particles.measured.normalise
    if diameter not in held:
        held[diameter] = _fitting(particles, diameter, progress)
    return held[diameter]


def _fitting(particles: ParticleSet, diameter: float | None, progress: Progress | None) -> str:
    size = _dependence(particles, diameter)
    if not size:
        return "deviation"
    _, spread, unit = _common(particles, diameter, progress)
    said = _said(particles, size)
    if spread > _ONE_SCALE:
        logger.warning(
            "%s, and images of %s %s differ by %.0f%% otherwise, so that each is brought to the "
            "deviation of its own background all the same: views may become states; extract with "
            "a larger box", said, "an" if unit[0] == "o" else "a", unit, 100 * spread, extra=ONCE,
        )  # fmt: skip
        return "deviation"
    logger.info(
        "%s: the native engine brings images to the deviation of their %s, so that views do not "
        "become states (--normalise micrograph; deviation takes that of each image)",
        said, unit, extra=ONCE,
    )  # fmt: skip
    return "micrograph"


def _dependence(particles: ParticleSet, diameter: float | None) -> float:
    """Spread of the scales of views among some of the images, 0 where there is none."""
    rows, levels = sampled_levels(particles, diameter)
    names = micrographs(particles)
    unit = one_scale(None if names is None else names[rows], particles.optics_group[rows])
    return told_by_view(levels[:, 1], particles.angles[rows], unit)[0]


def _said(particles: ParticleSet, size: float) -> str:
    return f"{particles.path}: the background depends on the viewing direction by {100 * size:.2g}%"


def common_deviations(
    particles: ParticleSet, diameter: float | None, progress: Progress | None = None
) -> Array:
    """Deviation of the background that the images of a micrograph have in common, (P,) float64.

    The median of its images, up to sixteen, without the scales of their views: single images of
    high contrast, ice or an edge draw a mean square, not a median. It is drawn towards the median
    of all images of the optics group as far as chance explains the difference, so that in a
    micrograph of few images not their views decide. Without micrographs in the table, or with
    fewer than two images in them on average, those of an optics group are one. At most 20,000
    images are read, or two of every micrograph.

    Parameters
    ----------
    particles, diameter, progress
        As for :func:`fitting`.
    """
    return _common(particles, diameter, progress)[0]


def _common(
    particles: ParticleSet, diameter: float | None, progress: Progress | None
) -> tuple[Array, float, str]:
    """Common deviation of every particle, spread (of the logarithm) in a unit, and what that is."""
    held = particles.measured.common
    if diameter not in held:
        own = show_progress("measure the background") if progress is None else nullcontext(progress)
        with own as shown:
            held[diameter] = _measured(particles, diameter, shown)
    return held[diameter]


def _measured(
    particles: ParticleSet, diameter: float | None, progress: Progress
) -> tuple[Array, float, str]:
    optics = particles.optics_group
    unit = one_scale(micrographs(particles), optics)
    rows = rows_read(unit)
    deviation = background_levels(particles, rows, diameter, progress)[:, 1]
    good = (deviation > 0) & np.isfinite(deviation)
    rows, deviation = rows[good], deviation[good]
    views = told_by_view(deviation, particles.angles[rows], unit[rows])[1]
    values = np.log(deviation) - views
    usual = np.zeros(len(particles.optics))
    for group in np.unique(optics[rows]):
        usual[group] = np.median(values[optics[rows] == group])
    values = values - usual[optics[rows]]
    count = np.bincount(unit[rows], minlength=int(unit.max()) + 1)
    middle = medians(values, unit[rows], count)
    spread = within_units(values, unit[rows])
    error = np.pi / 2 * (spread or 0.0) ** 2 / np.maximum(count, 1)
    seen = count > 0
    between = 0.0
    if spread is not None:  # else nothing tells the noise of a micrograph from that of an image
        between = max(0.0, float((np.square(middle) - error)[seen].mean()))
    kept = between / np.maximum(between + error, 1e-300)
    grouped = len(count) == len(np.unique(optics))
    return (
        np.exp(usual[optics] + (kept * middle)[unit]),
        spread or 0.0,
        "optics group" if grouped else "micrograph",
    )


def rows_read(unit: Array) -> Array:
    """Rows of the images that are read, evenly over those of every unit."""
    every = np.bincount(unit)
    most = max(_LEAST, min(max(_IMAGES, 1000 // len(every)), _ALL // len(every)))
    order = np.argsort(unit, kind="stable")
    place = np.arange(len(unit)) - np.repeat(np.cumsum(every) - every, every)
    step = -(-every // most)[unit[order]]
    rows: Array = np.sort(order[place % step == 0])
    return rows
