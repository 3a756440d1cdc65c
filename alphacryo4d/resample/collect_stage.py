"""``resample collect``: maps from elsewhere, with the particles of each, as if classified here.

A folder holds maps and, under the same names, STAR files of their particles:
``u123_b1_c001.mrc`` with ``u123_b1_c001.star``. What stands before the batch (``_b1``) and the
class names the fold: a classification in which a particle has one class at the most. A particle is
known by its image name.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import DROPPED, LEFT_OUT
from alphacryo4d.core.job import start_job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_header, read_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.maths.fourier import fourier_resize
from alphacryo4d.particles.open import open_table

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<fold>.*?)(_b(?P<batch>\d+))?_?(?:c|class)(?P<number>\d+)$")


@dataclass(frozen=True)
class CollectedMap:
    """One map, its particles, and the classification that it comes from."""

    path: Path
    table: Path
    fold: str
    batch: int
    number: int


def find_maps(folder: Path) -> list[CollectedMap]:
    """Maps of a folder with their STAR files, in the order of fold and class number.

    Raises
    ------
    InputError
        There is none, a map has no STAR file, or its name no class number.
    """
    maps = []
    for path in sorted(folder.glob("*.mrc")):
        match = _NAME.match(path.stem)
        table = path.with_suffix(".star")
        if match is None:
            raise InputError(f"{path}: its name has no class number; name it like u123_b1_c001.mrc")
        if not table.is_file():
            raise InputError(f"{table}: no such file; the particles of {path.name} are needed")
        batch = int(match["batch"] or 1)
        maps.append(CollectedMap(path, table, match["fold"], batch, int(match["number"])))
    if not maps:
        raise InputError(f"{folder}: holds no maps (*.mrc); give the folder with the class maps")
    return sorted(maps, key=lambda one: (one.batch, one.fold, one.number))


def run_collect(
    table: Path,
    folder: Path,
    output: Path,
    *,
    box: int | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Gather maps and their particles into the files of the resample stage.

    Parameters
    ----------
    table : Path
        Table of all particles; its row order is the order of ``assignments.npy``.
    folder : Path
        Maps with STAR files.
    output : Path
        Folder of the stage.
    box : int, optional
        Common box by Fourier cropping or padding over the same field of view; that of the maps by
        default.

    Returns
    -------
    list of Path
        ``volumes.star``, ``volumes.npy``, ``assignments.npy``, ``groups.npy``, ``heldout.npy``.
    """
    maps = find_maps(folder)
    inputs = [table, *(one.path for one in maps), *(one.table for one in maps)]
    with start_job(
        output, stage="collect", options={"box": box}, inputs=inputs, flags=flags
    ) as job:
        if job.finished:
            return job.outputs
        folds = sorted({one.fold for one in maps})
        assignments, counts = assign(table, maps, folds)
        outputs = [
            *_write_volumes(job.folder, maps, folds, counts, box),
            files.save_array(job.folder / files.ASSIGNMENTS_NPY, assignments),
            files.save_array(job.folder / files.GROUPS_NPY, groups_of(assignments, maps)),
            files.save_array(
                job.folder / files.HELDOUT_NPY, np.full(len(assignments), DROPPED, np.int32)
            ),
        ]
        job.note(volumes=len(maps), folds=folds, particles=len(assignments))
        job.add_outputs(outputs)
        return job.outputs


def assign(
    table: Path, maps: list[CollectedMap], folds: list[str]
) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Volume of every particle in every fold.

    Returns
    -------
    (P, F) int32 array, list of int
        Row of the volume, -1 where the fold does not hold the particle; particles of every map.

    Raises
    ------
    InputError
        A particle is not in the table, or in two maps of one fold, or in no map at all.
    """
    names = open_table(table).read(["rlnImageName"])["rlnImageName"]
    row_of = {image_key(name): row for row, name in enumerate(names)}
    if len(row_of) != len(names):
        raise InputError(f"{table}: two rows have the same image name; give every image once")
    assignments = np.full((len(names), len(folds)), LEFT_OUT, np.int32)
    counts = []
    for volume, one in enumerate(maps):
        images = open_table(one.table).read(["rlnImageName"])["rlnImageName"]
        column = folds.index(one.fold)
        for place, image in enumerate(images):
            row = row_of.get(image_key(image))
            if row is None:
                raise InputError(f"{one.table}: row {place + 1}: {image} is not in {table}")
            if assignments[row, column] != LEFT_OUT:
                other = maps[assignments[row, column]].table
                raise InputError(
                    f"{one.table}: row {place + 1}: {image} is in {other.name} too, a class of "
                    "the same classification; a particle has one class in each"
                )
            assignments[row, column] = volume
        counts.append(len(images))
    return mark_left_out(table, assignments), counts


def mark_left_out(table: Path, assignments: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell the fold that left a particle out from those whose class of it is not here.

    Parameters
    ----------
    table : Path
        Table of all particles, for messages.
    assignments : (P, F) int32 array
        Volume of every particle, -1 where there is none.

    Returns
    -------
    (P, M+1) int32 array
        One -1 a particle; -2 where its class is missing. Where particles are in all F
        classifications, M is F, and a last column that holds nobody stands for the fold left out.
    """
    absent = assignments == LEFT_OUT
    held, folds = (~absent).sum(axis=1), assignments.shape[1]
    if held.max() == 0:
        raise InputError(f"{table}: none of its particles is in a map")
    if held.max() < folds - 1:
        raise InputError(
            f"{table}: its particles are in at most {held.max()} of {folds} classifications; "
            "every particle must be in all of them, or in all but one"
        )
    logger.info("%d particles, %d of them in no map", len(held), int((held == 0).sum()))
    if held.max() == folds:
        everyone = np.full((len(held), 1), LEFT_OUT, np.int32)
        return np.hstack([np.where(absent, np.int32(DROPPED), assignments), everyone])
    first = np.argmax(absent, axis=1)
    keep = np.arange(folds)[None, :] == first[:, None]
    return np.asarray(np.where(absent & ~keep, np.int32(DROPPED), assignments))


def groups_of(assignments: np.ndarray[Any, Any], maps: list[CollectedMap]) -> np.ndarray[Any, Any]:
    """Batch and group of every particle, from 1, as the assignments imply them."""
    group = np.argmax(assignments == LEFT_OUT, axis=1) + 1
    volume = assignments.max(axis=1)
    batches = np.array([one.batch for one in maps])
    batch = np.where(volume >= 0, batches[np.maximum(volume, 0)], 1)
    return np.stack([batch, group], axis=1).astype(np.int32)


def image_key(name: str) -> tuple[int, str]:
    """Image name as number and stack, so that ``1@a`` and ``000001@a`` are the same."""
    number, separator, stack = str(name).partition("@")
    if not separator or not number.isdecimal():
        return 1, str(name)
    return int(number), stack


def _write_volumes(
    output: Path, maps: list[CollectedMap], folds: list[str], counts: list[int], box: int | None
) -> list[Path]:
    first = read_header(maps[0].path)
    size, voxel_size = first.shape[0], first.voxel_size
    field = size * voxel_size
    box = box or size
    shape = (len(maps), box, box, box)
    with (
        show_progress("collect") as progress,
        files.create_array(output / files.VOLUMES_NPY, shape, np.float32) as array,
    ):
        for row, one in enumerate(maps):
            volume, own = read_volume(one.path)
            if field > 0 and own > 0 and abs(volume.shape[0] * own - field) > 1e-3 * field:
                raise InputError(
                    f"{one.path}: covers {volume.shape[0] * own:g} A ({volume.shape[0]} voxels of "
                    f"{own:g} A), {maps[0].path.name} covers {field:g} A; crop or pad it to the "
                    "same field of view (relion_image_handler --new_box)"
                )
            if own <= 0 and volume.shape[0] != size:
                raise InputError(f"{one.path}: has another box and no voxel size; write both")
            array[row] = fourier_resize(volume, box)
            progress(row + 1, len(maps))
    columns = {
        "ac4dVolumeName": [one.path.stem for one in maps],
        "rlnReferenceImage": [str(one.path) for one in maps],
        "ac4dBatch": [one.batch for one in maps],
        "ac4dFold": [folds.index(one.fold) + 1 for one in maps],
        "rlnClassNumber": [one.number for one in maps],
        "ac4dParentClass": [0] * len(maps),
        "ac4dParticleCount": counts,
        "rlnEstimatedResolution": [999.0] * len(maps),
        "rlnPixelSize": [(field or size) / box] * len(maps),
        "rlnImageSize": [box] * len(maps),
    }
    return [
        write_tables(output / files.VOLUMES_STAR, {"volumes": columns}),
        output / files.VOLUMES_NPY,
    ]
