"""Images of some rows of a particle table as Fourier samples for the engine.

Stages do not import each other; those that classify or reconstruct meet here.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.words import plural
from alphacryo4d.io.star import MICROGRAPH_COLUMN
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.typical import micrograph_numbers, typical_deviations
from alphacryo4d.particles.views import common_deviations, fitting

if TYPE_CHECKING:
    from alphacryo4d.ml3d.image_model import ImageModel
    from alphacryo4d.ml3d.images import PreparedImages
    from alphacryo4d.ml3d.signal import Signal

logger = logging.getLogger(__name__)


_NAMED = 10
_COARSE = 20.0


def prepare_rows(
    particles: ParticleSet,
    rows: Array,
    resolution: float | None,
    *,
    symmetry: str = "C1",
    noise_groups: str = "optics",
    normalise: str = "none",
    diameter: float | None = None,
    threads: int | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Fourier samples of some particles.

    Parameters
    ----------
    particles : ParticleSet
    rows : (n,) int array
    resolution : float or None
        Finest resolution that is kept (A); all shells when None.
    symmetry : str
        Point group of the volumes.
    noise_groups : str
        Particles that share a noise spectrum: ``optics`` groups, or those of a ``micrograph``.
    normalise : str
        How the background is levelled, of ``alphacryo4d.ml3d.background.NORMALISATIONS``; or
        ``auto``, what fits the images.
    diameter : float, optional
        Of the particle (A), outside of which background is.
    threads, memory, scratch, progress
        As :func:`alphacryo4d.ml3d.prepare.prepare_images` takes them.
    """
    from alphacryo4d.ml3d.prepare import Levelling, prepare_images

    def read(local: Array) -> Array:
        return particles.images(rows[local])

    if normalise == "auto":
        normalise = fitting(particles, diameter, progress)
    common = None
    if normalise == "micrograph":
        common = common_deviations(particles, diameter, progress)[rows]
    typical = typical_deviations(particles, diameter)
    images = prepare_images(
        read,
        image_model(particles, rows),
        limit_resolution=resolution,
        symmetry=symmetry,
        noise_group=micrograph_groups(particles, rows) if noise_groups == "micrograph" else None,
        levelling=Levelling(normalise, diameter, typical, common),
        threads=threads,
        memory=memory,
        scratch=scratch,
        progress=progress,
    )
    name_outliers(particles, rows, images)
    return images


def image_model(particles: ParticleSet, rows: Array) -> ImageModel:
    """What some particles' images went through."""
    from alphacryo4d.ml3d.image_model import ImageModel

    return ImageModel(
        angles=particles.angles[rows],
        shifts=particles.shifts[rows],
        defocus=particles.defocus[rows],
        phase_shift=particles.phase_shift[rows],
        optics_group=particles.optics_group[rows],
        optics=particles.optics,
        box=particles.box,
        pixel_size=particles.pixel_size,
        bfactor=particles.bfactor[rows],
        scale=particles.ctf_scale[rows],
        seeds=rows,
    )


def name_outliers(particles: ParticleSet, rows: Array, images: PreparedImages) -> None:
    """Say once which images are unlike all others."""
    if images.outlier is None or not images.outlier.any():
        return
    outliers = rows[images.outlier]
    new = [row for row in outliers.tolist() if row not in particles.measured.named]
    particles.measured.named.update(new)
    if new:
        named = ", ".join(
            f"row {row + 1} (image {particles.slice_index[row] + 1} of "
            f"{particles.stacks[particles.stack_index[row]].name})"
            for row in new[:_NAMED]
        )
        more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        logger.warning(
            "%s: %s constant or of a contrast far from that of all others, without weight and "
            "state: %s%s",
            particles.path, plural(len(new), "image"), named, more,
        )  # fmt: skip


def leave_out_junk(
    images: PreparedImages,
    resolution: float,
    *,
    keep: bool = False,
    solvent: Array | None = None,
    diameter: float | None = None,
    threads: int | None = None,
) -> Signal:
    """Measure the signal of every image, and leave those out that show no particle.

    Parameters
    ----------
    images : PreparedImages
        All of a batch; those without signal become outliers, in place.
    resolution : float
        Finest resolution that is used (A).
    keep : bool
        Only measure.
    solvent, diameter : (box, box, box) array, float, optional
        Masks of the consensus: a soft one, or the diameter of a sphere (A).
    threads : int, optional
    """
    from alphacryo4d.ml3d.images import shell_of_resolution
    from alphacryo4d.ml3d.signal import particle_signal, without_junk

    radius = shell_of_resolution(resolution, images.box, images.pixel_size)
    signal = particle_signal(images, radius, solvent=solvent, diameter=diameter, threads=threads)
    logger.info("%s%s", signal.say(), "; kept, as asked" if keep and signal.outlier.any() else "")
    if not keep:
        without_junk(images, signal)
    return signal


def match_intensities(
    images: PreparedImages, resolution: float, normalise: str, *, threads: int | None = None
) -> Array:
    """Bring some images to one scale of intensity, and say the scales.

    Noise groups, where there are several; and single images, where the deviation of the
    background was brought to 1 and left unlike intensities.

    Parameters
    ----------
    images : PreparedImages
        The CTF is changed in place.
    resolution : float
        Finest resolution that is compared (A); single images are compared to 20 A.
    normalise : str
        How the background was levelled.
    threads : int, optional

    Returns
    -------
    (P,) float64 array
        Factor of the CTF of every image.
    """
    from alphacryo4d.ml3d.background import SCALED
    from alphacryo4d.ml3d.groups import apply_group_scales, apply_particle_scales
    from alphacryo4d.ml3d.images import shell_of_resolution

    factors = np.ones(len(images))
    if images.group.max(initial=0) > 0:
        radius = shell_of_resolution(resolution, images.box, images.pixel_size)
        scales = apply_group_scales(images, radius, threads=threads)
        factors *= scales[images.group]
        logger.info(
            "%d noise groups, intensity scales %.3f to %.3f",
            len(scales), scales.min(), scales.max(),
        )  # fmt: skip
    if normalise in ("auto", *SCALED):
        radius = shell_of_resolution(max(_COARSE, resolution), images.box, images.pixel_size)
        intensities = apply_particle_scales(images, radius, threads=threads)
        if (intensities != 1).any():
            low, high = np.percentile(intensities, [5, 95])
            logger.info("intensities of the images vary: 90%% are from %.2f to %.2f", low, high)
        factors *= intensities
    return factors


def micrograph_groups(particles: ParticleSet, rows: Array) -> Array:
    """Number, from 0, of the micrograph of each of some particles.

    Raises
    ------
    InputError
        The table does not name the micrographs.
    """
    numbers = micrograph_numbers(particles.table)
    if numbers is None:
        raise InputError(
            f"{particles.table.path}: has no column {MICROGRAPH_COLUMN}, which noise groups by "
            "micrograph need; group by optics"
        )
    return np.unique(numbers[rows], return_inverse=True)[1].astype(np.int32)
