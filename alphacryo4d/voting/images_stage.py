"""Images of some rows of a particle table as Fourier samples for the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.particles import ParticleSet
from alphacryo4d.progress import Progress, no_progress

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages

Array = np.ndarray[Any, Any]


def prepare_rows(
    particles: ParticleSet,
    rows: Array,
    resolution: float | None,
    *,
    threads: int | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Fourier samples of some particles up to a resolution in Angstrom (all shells when None)."""
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
        threads=threads,
        memory=memory,
        scratch=scratch,
        progress=progress,
    )
