"""Gather the classes of all folds: one table of volumes, one array of assignments."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import DROPPED, LEFT_OUT
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.words import plural
from alphacryo4d.io.mrc import read_header, read_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.maths.fourier import fourier_resize
from alphacryo4d.resample.fold_stage import CLASS_VOLUMES, HELDOUT, FoldClass, read_fold
from alphacryo4d.resample.subsets import fold_rows, group_rows

logger = logging.getLogger(__name__)

IntArray = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Volume:
    """One row of ``volumes.star``; ``place`` is its row in the fold's ``class_volumes.npy``."""

    name: str
    image: Path
    place: int
    batch: int
    left_out: int
    entry: FoldClass


def gather_folds(
    resample: Path,
    groups: IntArray,
    *,
    folds: int,
    iteration: int,
    minimum_class_size: int,
    box: int,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write ``volumes.star``, ``volumes.npy``, assignments, held-out volumes and outliers.

    Parameters
    ----------
    resample : Path
        Folder of the stage.
    groups : (P, 2) int32 array
        Batch and group of every particle.
    folds, iteration : int
        Number of folds, M + 1; number in the file names of the classes.
    minimum_class_size : int
        Classes with fewer particles are dropped.
    box : int
        Analysis box in pixels.
    """
    assignments = np.full((len(groups), folds), LEFT_OUT, dtype=np.int32)
    heldout = np.full(len(groups), LEFT_OUT, dtype=np.int32)
    volumes: list[Volume] = []
    for batch in range(1, int(groups[:, 0].max()) + 1):
        for left_out in range(1, folds + 1):
            folder = files.fold_folder(resample, batch, left_out, folds)
            rows = fold_rows(groups, batch, left_out)
            result = read_fold(folder, iteration, particles=len(rows))
            kept = [item for item in result.classes if item.particles >= minimum_class_size]
            _report_dropped(result.classes, kept, batch, left_out, folds, minimum_class_size)
            most = max([result.labels.max(initial=0), *(item.number for item in kept)])
            row_of_class = np.full(1 + most, DROPPED, dtype=np.int32)
            for place, item in enumerate(result.classes):
                if item.particles < minimum_class_size:
                    continue
                row_of_class[item.number] = len(volumes)
                name = files.volume_name(batch, left_out, folds, item.number)
                image = files.class_volume(folder, iteration, item.number)
                volumes.append(Volume(name, image, place, batch, left_out, item))
            assignments[rows, left_out - 1] = row_of_class[result.labels]
            best = files.load_array(folder / HELDOUT, dtype=np.integer, ndim=1)
            heldout[group_rows(groups, batch, left_out)] = np.where(
                best > 0, row_of_class[np.maximum(best, 0)], DROPPED
            )
    if not volumes:
        raise InputError(
            f"{resample}: no class has {minimum_class_size} particles; use fewer --classes "
            "or a smaller --minimum-class-size"
        )
    return [
        _write_outliers(resample, groups, folds, assignments, heldout),
        *_write_signal(resample, groups, folds),
        *_write_volumes(resample, volumes, box, progress),
        files.save_array(resample / files.ASSIGNMENTS_NPY, assignments),
        files.save_array(resample / files.HELDOUT_NPY, heldout),
    ]


def _write_outliers(
    resample: Path,
    groups: IntArray,
    folds: int,
    assignments: IntArray,
    heldout: IntArray,
) -> Path:
    """Take the votes of images that are unlike all others; write their rows, from 0, ascending."""
    _check_counts(assignments, folds)
    outliers: set[int] = set()
    for batch in range(1, int(groups[:, 0].max()) + 1):
        for left_out in range(1, folds + 1):
            path = files.fold_folder(resample, batch, left_out, folds) / files.OUTLIERS_NPY
            if path.is_file():
                outliers.update(files.load_array(path, dtype=np.integer, ndim=1).tolist())
    rows = np.array(sorted(outliers), np.int64)
    if len(rows):
        assignments[rows] = np.where(assignments[rows] == LEFT_OUT, LEFT_OUT, DROPPED)
        heldout[rows] = DROPPED
        logger.warning(
            "without a vote, since their images show no particle: %s, row %s%s",
            plural(len(rows), "particle"), ", ".join(str(row + 1) for row in rows[:10]),
            " ..." if len(rows) > 10 else "",
        )  # fmt: skip
    return files.save_array(resample / files.OUTLIERS_NPY, rows)


def _write_signal(resample: Path, groups: IntArray, folds: int) -> list[Path]:
    """Write what every image says of the particle, where the engine measured it."""
    signal = np.zeros((len(groups), 3), np.float32)
    for batch in range(1, int(groups[:, 0].max()) + 1):
        path = files.fold_folder(resample, batch, 1, folds) / files.SIGNAL_NPY
        if not path.is_file():
            (resample / files.SIGNAL_NPY).unlink(missing_ok=True)
            return []
        signal[groups[:, 0] == batch] = files.load_array(path, dtype=np.floating, ndim=2)
    return [files.save_array(resample / files.SIGNAL_NPY, signal)]


def _check_counts(assignments: IntArray, folds: int) -> None:
    """Hold promise 4: every particle is in exactly M folds."""
    used = (assignments != LEFT_OUT).sum(axis=1)
    if not (used == folds - 1).all():
        row = int(np.flatnonzero(used != folds - 1)[0])
        raise InputError(f"row {row + 1} is in {used[row]} folds instead of {folds - 1}")
    dropped = int((assignments == DROPPED).any(axis=1).sum())
    logger.info(
        "%d particles, each in %d of %d folds; %d lost a vote to a dropped class",
        len(assignments), folds - 1, folds, dropped,
    )  # fmt: skip


def _report_dropped(
    classes: list[FoldClass],
    kept: list[FoldClass],
    batch: int,
    left_out: int,
    folds: int,
    minimum: int,
) -> None:
    sizes = [item.particles for item in kept]
    if sizes:
        logger.info(
            "batch %d fold %s: %s of %d to %d particles (median %d)",
            batch, files.fold_name(left_out, folds), plural(len(kept), "volume"), min(sizes),
            max(sizes), int(np.median(sizes)),
        )  # fmt: skip
    gone = [item for item in classes if item.particles < minimum]
    if gone:
        logger.info(
            "batch %d fold %s: dropped %s below %d particles: %s",
            batch, files.fold_name(left_out, folds), plural(len(gone), "class", "classes"), minimum,
            ", ".join(f"{item.number} ({item.particles})" for item in gone),
        )  # fmt: skip


def _density(volume: Volume) -> np.ndarray[Any, Any]:
    """Density of a class as the classification saw it."""
    own = volume.image.parent / CLASS_VOLUMES
    if own.is_file():
        return np.asarray(files.load_array(own, ndim=4, memory_map=True)[volume.place])
    return read_volume(volume.image)[0]


def _write_volumes(
    resample: Path, volumes: list[Volume], box: int, progress: Progress
) -> list[Path]:
    header = read_header(volumes[0].image)
    size, voxel_size = header.shape[0], header.voxel_size
    shape = (len(volumes), box, box, box)
    with files.create_array(resample / files.VOLUMES_NPY, shape, np.float32) as array:
        for row, volume in enumerate(volumes):
            array[row] = fourier_resize(_density(volume), box)
            progress(row + 1, len(volumes))
    table = {
        "ac4dVolumeName": [volume.name for volume in volumes],
        "rlnReferenceImage": [str(volume.image.relative_to(resample)) for volume in volumes],
        "ac4dBatch": [volume.batch for volume in volumes],
        "ac4dFold": [volume.left_out for volume in volumes],
        "rlnClassNumber": [volume.entry.number for volume in volumes],
        "ac4dParentClass": [volume.entry.parent for volume in volumes],
        "ac4dParticleCount": [volume.entry.particles for volume in volumes],
        "rlnEstimatedResolution": [volume.entry.resolution for volume in volumes],
        "rlnPixelSize": [voxel_size * size / box] * len(volumes),
        "rlnImageSize": [box] * len(volumes),
    }
    return [
        write_tables(resample / files.VOLUMES_STAR, {"volumes": table}),
        resample / files.VOLUMES_NPY,
    ]
