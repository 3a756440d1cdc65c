"""Images of some rows of a particle table as Fourier samples for the engine.

Stages do not import each other; those that classify or reconstruct meet here.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.particles.particle_set import ParticleSet

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


def prepare_rows(
    particles: ParticleSet,
    rows: Array,
    resolution: float | None,
    *,
    symmetry: str = "C1",
    noise_groups: str = "optics",
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
    threads, memory, scratch, progress
        As :func:`alphacryo4d.ml3d.images.prepare_images` takes them.
    """
    from alphacryo4d.ml3d.images import prepare_images

    def read(local: Array) -> Array:
        return particles.images(rows[local])

    return prepare_images(
        read,
        angles=particles.angles[rows],
        shifts=particles.shifts[rows],
        defocus=particles.defocus[rows],
        phase_shift=particles.phase_shift[rows],
        optics_group=particles.optics_group[rows],
        optics=particles.optics,
        box=particles.box,
        pixel_size=particles.pixel_size,
        limit_resolution=resolution,
        symmetry=symmetry,
        noise_group=micrograph_groups(particles, rows) if noise_groups == "micrograph" else None,
        threads=threads,
        memory=memory,
        scratch=scratch,
        progress=progress,
    )


def match_groups(images: PreparedImages, resolution: float, *, threads: int | None = None) -> None:
    """Bring the noise groups of some images to one scale of intensity, and say the scales.

    Parameters
    ----------
    images : PreparedImages
        Changed in place; nothing is done where all are in one group.
    resolution : float
        Finest resolution that is compared (A).
    threads : int, optional
    """
    if images.group.max(initial=0) == 0:
        return
    from alphacryo4d.ml3d.groups import apply_group_scales
    from alphacryo4d.ml3d.images import shell_of_resolution

    radius = shell_of_resolution(resolution, images.box, images.pixel_size)
    scales = apply_group_scales(images, radius, threads=threads)
    logger.info(
        "%d noise groups, intensity scales %.3f to %.3f", len(scales), scales.min(), scales.max()
    )


def micrograph_groups(particles: ParticleSet, rows: Array) -> Array:
    """Number, from 0, of the micrograph of each of some particles.

    Raises
    ------
    InputError
        The table does not name the micrographs.
    """
    name = "rlnMicrographName"
    if name not in particles.table.columns:
        raise InputError(
            f"{particles.table.path}: has no column {name}, which noise groups by micrograph need; "
            "group by optics"
        )
    values = np.asarray(particles.table.read([name])[name])[rows]
    return np.unique(values, return_inverse=True)[1].astype(np.int32)
