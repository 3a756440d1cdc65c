"""Map, half maps, FSC and local resolution of one state."""

from __future__ import annotations

import dataclasses
import functools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.words import plural
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.maths.contrast import INVERTED, looks_inverted
from alphacryo4d.maths.fsc import Correlation, correlate_halves, soft_mask
from alphacryo4d.maths.local_resolution import LOCAL_LIMIT, local_resolution, window_diameter
from alphacryo4d.particles.copies import half_sets
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.voting.output_stage import state_table
from alphacryo4d.voting.recorded_stage import Recorded, prepare_recorded

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages
    from alphacryo4d.ml3d.reconstruct import Reconstruction

logger = logging.getLogger(__name__)

_FEWEST = 4


@dataclasses.dataclass(frozen=True)
class StateRead:
    """Images of one state, the half-set of each, and where they lie if memory was too small."""

    images: PreparedImages
    half_sets: Array
    scratch: Path


@dataclasses.dataclass(frozen=True)
class StateImages:
    """Reads the images of one state after the other."""

    particles: ParticleSet
    states: Array
    recorded: Recorded
    memory: float
    output: Path
    threads: int | None

    @functools.cached_property
    def half_sets(self) -> Array:
        """Half-set of every particle, 0 or 1."""
        return half_sets(self.particles)

    def read(self, state: int) -> tuple[dict[str, Any], StateRead | None]:
        """What is known of a state, and its images unless they are too few for half maps."""
        rows = np.flatnonzero(self.states == state)
        half = self.half_sets[rows]
        entry: dict[str, Any] = {"state": state, "particles": len(rows)}
        if min((half == 0).sum(), (half == 1).sum()) < _FEWEST:
            return entry | {"note": "too few particles for half maps"}, None
        scratch = self.output / ".scratch" / str(state)
        images = prepare_recorded(
            self.particles,
            rows,
            self.recorded,
            None,
            threads=self.threads,
            memory=self.memory,
            scratch=scratch,
        )
        return entry, StateRead(images, half, scratch)


def reconstruct_state(
    entry: dict[str, Any],
    read: StateRead | None,
    mask: Array | None,
    output: Path,
    options: ReconstructOptions,
    threads: int | None,
) -> tuple[dict[str, Any], list[Path]]:
    """Write map, half maps and FSC of a state; returns what is known of it, and the paths."""
    state = int(entry["state"])
    if read is None:
        logger.info(
            "state %d has %s, too few for half maps", state, plural(entry["particles"], "particle")
        )
        return entry, []
    from alphacryo4d.ml3d.reconstruct import reconstruct

    voxel, labels = read.images.pixel_size, np.zeros(len(read.half_sets), np.int32)
    made = next(iter(reconstruct(read.images, labels, half_sets=read.half_sets, threads=1)))
    remove_scratch(read.scratch)
    place = functools.partial(state_table, output, state)
    return write_maps(
        entry, made, mask, place, f"state {state}", options.local_resolution, threads, voxel=voxel
    )


def write_maps(
    entry: dict[str, Any],
    made: Reconstruction,
    mask: Array | None,
    place: Callable[[str], Path],
    title: str,
    local: bool,
    threads: int | None,
    *,
    voxel: float,
) -> tuple[dict[str, Any], list[Path]]:
    """Write map, half maps and FSC of a reconstruction; what is known of it, and the paths.

    Parameters
    ----------
    entry : dict
        What is known already, with ``particles``; added to.
    made : Reconstruction
    mask : array, optional
        Soft mask of the correlation; made from the map by default.
    place : callable
        Path for the end of a file's name, such as ``_half1_unfil.mrc``.
    title : str
        What it is, in the log.
    local : bool
        Write the local resolution too.
    threads : int or None
    voxel : float
        Voxel size (A).
    """
    if looks_inverted(made.volume):
        entry["inverted"] = True
        logger.warning("%s: %s", title, INVERTED)
    mask = soft_mask(made.half_maps.mean(axis=0), voxel) if mask is None else mask
    curves = correlate_halves(made.half_maps[0], made.half_maps[1], voxel, mask=mask)
    paths = [
        write_volume(place(".mrc"), made.volume, voxel),
        write_volume(place("_half1_unfil.mrc"), made.half_maps[0], voxel),
        write_volume(place("_half2_unfil.mrc"), made.half_maps[1], voxel),
        write_curves(place("_fsc.csv"), curves),
    ]
    entry |= {
        "resolution_unmasked": rounded(curves.resolution_unmasked),
        "resolution_masked": rounded(curves.resolution),
        "at_pixel_limit": bool(curves.resolution <= 2 * voxel),
    }
    logger.info(
        "%s: %d particles, %s A%s (%s A without mask)",
        title,
        entry["particles"],
        entry["resolution_masked"],
        " or finer, the limit of the pixels" if entry["at_pixel_limit"] else "",
        entry["resolution_unmasked"],
    )
    if local:
        local_summary, path = _local_resolution(made.half_maps, curves, mask, title, place, threads)
        entry["local_resolution"] = local_summary
        paths.append(path)
    return entry, paths


def _local_resolution(
    half_maps: Array,
    curves: Correlation,
    mask: Array,
    title: str,
    place: Callable[[str], Path],
    threads: int | None,
) -> tuple[dict[str, Any], Path]:
    """``class001_locres.mrc``, and what it says inside the mask, in Angstrom."""
    voxel = curves.voxel_size
    window = window_diameter(curves.resolution, len(mask), voxel)
    with show_progress(f"local resolution of {title}") as progress:
        resolutions = local_resolution(
            half_maps[0], half_maps[1], voxel, window=window, threads=threads, progress=progress
        )
    low, middle, high = np.percentile(resolutions[mask > 0.5], [5, 50, 95])
    logger.info(
        "%s: local resolution %.1f A (5%% of the molecule finer than %.1f A, 5%% coarser "
        "than %.1f A), in windows of %.0f A",
        title, middle, low, high, window,
    )  # fmt: skip
    entry = {
        "median_angstrom": rounded(middle),
        "percentile_5_angstrom": rounded(low),
        "percentile_95_angstrom": rounded(high),
        "window_angstrom": rounded(window),
        "correlation": LOCAL_LIMIT,
    }
    return entry, write_volume(place("_locres.mrc"), resolutions, voxel)


def rounded(value: float) -> float | None:
    """To two digits; None where a resolution is not known."""
    return round(value, 2) if np.isfinite(value) else None


def write_curves(path: Path, curves: Correlation) -> Path:
    """FSC curves as CSV: shell, resolution in Angstrom, and the three correlations."""
    lines = ["shell,resolution_angstrom,fsc_unmasked,fsc_masked,fsc_corrected"]
    values = (curves.shell_resolution, curves.unmasked, curves.masked, curves.corrected)
    for shell, (resolution, *row) in enumerate(zip(*values, strict=True)):
        shown = ",".join(f"{value:.6f}" for value in row)
        lines.append(f"{shell},{resolution:.4f},{shown}")
    return files.write_text(path, "\n".join(lines) + "\n")


def remove_scratch(folder: Path) -> None:
    """Remove the samples that did not fit into memory."""
    shutil.rmtree(folder, ignore_errors=True)
