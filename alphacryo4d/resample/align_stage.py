"""``resample align``: maps on disk brought into one frame."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import start_job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.resample.align_options import AlignOptions
from alphacryo4d.resample.alignment import Aligner, Alignment, align_to_mean
from alphacryo4d.resample.motion import IDENTITY, apply_motion

logger = logging.getLogger(__name__)

MOTIONS_CSV = "motions.csv"
_COLUMNS = [
    *("map", "angle_degrees", "shift_x", "shift_y", "shift_z"),
    *(f"r{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)),
    *("correlation_before", "correlation", "moved", "opposite_hand"),
]


def read_maps(paths: Sequence[Path]) -> tuple[list[np.ndarray[Any, Any]], float]:
    """Maps of one box and voxel size.

    Raises
    ------
    InputError
        Box or voxel size differ; named with the map.
    """
    volumes: list[np.ndarray[Any, Any]] = []
    voxel_size = 0.0
    for path in paths:
        volume, size = read_volume(path)
        if volumes and volume.shape != volumes[0].shape:
            raise InputError(
                f"{path}: has a box of {volume.shape[0]} voxels, {paths[0]} has "
                f"{volumes[0].shape[0]}; bring them to one box first (resample collect does it)"
            )
        if voxel_size > 0 and size > 0 and abs(size - voxel_size) > 1e-3 * voxel_size:
            raise InputError(
                f"{path}: has voxels of {size:g} A, {paths[0]} of {voxel_size:g} A; "
                "rescale it first"
            )
        voxel_size = voxel_size or size
        volumes.append(volume)
    return volumes, voxel_size or 1.0


def run_align(
    maps: Sequence[Path],
    output: Path,
    *,
    options: AlignOptions,
    reference: Path | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Align maps to a reference, or to their mean.

    A map whose motion is below the tolerance is written as it came.

    Parameters
    ----------
    maps : sequence of Path
        Maps of one box and voxel size, with different names.
    output : Path
        Folder for the maps under their own names, and ``motions.csv``.
    options : AlignOptions
        How to search.
    reference : Path, optional
        Map that gives the frame; their mean by default, in the frame of the first.
    flags : RunFlags, optional
        As many maps are aligned at the same time as there are threads.

    Returns
    -------
    list of Path
        The aligned maps and ``motions.csv``.
    """
    names = [path.name for path in maps]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: two maps have this name; rename one of them")
    if any(path.resolve().parent == output.resolve() for path in maps):
        raise InputError(f"{output}: holds the maps that are to be aligned; take another --o")
    inputs = [*maps, *([reference] if reference is not None else [])]
    with start_job(
        output, stage="align", options=asdict(options), inputs=inputs, flags=flags
    ) as job:
        if job.finished:
            return job.outputs
        volumes, voxel_size = read_maps(inputs)
        if reference is not None:
            alignments = _align_all(volumes[:-1], volumes[-1], voxel_size, options, flags.threads)
        else:
            alignments = align_to_mean(volumes, voxel_size, options)
        outputs = []
        for path, volume, one in zip(maps, volumes, alignments, strict=False):
            moved = volume if one.motion is IDENTITY else apply_motion(volume, one.motion)
            outputs.append(write_volume(job.folder / path.name, moved, voxel_size))
            _report(path, one)
        outputs.append(files.write_text(job.folder / MOTIONS_CSV, motions_table(names, alignments)))
        job.add_outputs(outputs)
        return job.outputs


def _align_all(
    volumes: list[np.ndarray[Any, Any]],
    reference: np.ndarray[Any, Any],
    voxel_size: float,
    options: AlignOptions,
    threads: int | None,
) -> list[Alignment]:
    aligner = Aligner(reference, voxel_size, options)
    alignments = []
    with show_progress("align") as progress, ThreadPoolExecutor(threads or 2) as pool:
        for one in pool.map(aligner.align, volumes):
            alignments.append(one)
            progress(len(alignments), len(volumes))
    return alignments


def _report(path: Path, one: Alignment) -> None:
    logger.info(
        "%s: turned by %.2f degrees, shifted by %.2f voxels, correlation %.3f (was %.3f)",
        path.name, one.motion.angle, one.motion.distance, one.correlation, one.correlation_before,
    )  # fmt: skip
    if one.opposite_hand is not None and one.opposite_hand > one.correlation + 0.01:
        logger.warning(
            "%s: its mirror image fits better (%.3f): it seems to have the opposite hand",
            path.name, one.opposite_hand,
        )  # fmt: skip


def motions_table(names: Sequence[str], alignments: Sequence[Alignment]) -> str:
    """Motions as CSV: density at x, y, z (voxels from N//2) went to R (x, y, z) + shift."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name, one in zip(names, alignments, strict=True):
        numbers = [one.motion.angle, *one.motion.shift, *one.motion.rotation.ravel()]
        hand = "" if one.opposite_hand is None else f"{one.opposite_hand:.4f}"
        writer.writerow(
            [name, *(f"{number:.6f}" for number in numbers), f"{one.correlation_before:.4f}",
             f"{one.correlation:.4f}", int(one.motion is not IDENTITY), hand]
        )  # fmt: skip
    return stream.getvalue()
