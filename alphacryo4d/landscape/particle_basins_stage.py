"""Basins of the density of single particles as states of volumes (``--centers density``)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.reading import load_archive
from alphacryo4d.landscape.find_stage import Evidence
from alphacryo4d.landscape.inputs_stage import StageInputs
from alphacryo4d.landscape.options import DENSITY, StatesOptions
from alphacryo4d.particle_landscape.frame import likelihood_of, unpacked
from alphacryo4d.particle_landscape.membership import likeliest_basins

logger = logging.getLogger(__name__)


def basin_files(resample: Path, options: StatesOptions) -> list[Path]:
    """Files of the project's ``particle_landscape`` that the states are made of; else none."""
    if options.centers != DENSITY:
        return []
    folder = resample.parent / files.PARTICLE_LANDSCAPE
    names = (files.BASINS_NPZ, files.COORDINATES_NPY, files.COVARIANCES_NPY)
    if not (folder / files.BASINS_NPZ).is_file():
        raise InputError(
            f"{folder / files.BASINS_NPZ}: missing; --centers density takes what `alphacryo4d "
            f"landscape particles --i {resample.parent}` writes where there is a structure"
        )
    return [folder / name for name in names]


def evidence_of(
    distances: Array, inputs: StageInputs, resample: Path, options: StatesOptions
) -> Evidence:
    """What the full space and the particles say of the volumes."""
    basins = None
    paths = basin_files(resample, options)
    if paths:
        basins = _volume_basins(paths, inputs, resample)
    return Evidence(distances, inputs.assignments, inputs.junk, basins, inputs.copies)


def _volume_basins(paths: list[Path], inputs: StageInputs, resample: Path) -> Array:
    """Basin (V,) from 0 of the density that most particles of every volume lie in.

    Particles lie where the fold that has not seen them puts them.
    """
    if inputs.assignments is None:
        raise InputError(
            f"{resample / files.ASSIGNMENTS_NPY}: missing; --centers density needs to know which "
            "particles a volume holds"
        )
    stored = load_archive(paths[0])
    points, labels = stored["points"], stored["states"].astype(np.int64) - 1
    mean = files.load_array(paths[1], ndim=2)
    packed = files.load_array(paths[2], ndim=2)
    if len(mean) != len(inputs.assignments):
        raise InputError(
            f"{paths[1]}: has {len(mean)} particles, {resample / files.ASSIGNMENTS_NPY} has "
            f"{len(inputs.assignments)}; run `landscape particles` again"
        )
    d, count = points.shape[1], int(labels.max()) + 1
    own = unpacked(packed.astype(np.float64), mean.shape[1])[:, :d, :d]
    projected, information = likelihood_of(mean[:, :d], own)
    basins = likeliest_basins(projected, information, points, stored["shares"], labels, count)
    volumes = len(inputs.table.names)
    held = np.zeros(volumes * count, np.int64)
    for column in inputs.assignments.T:
        inside = column >= 0
        held += np.bincount(column[inside] * count + basins[inside], minlength=len(held))
    best: Array = held.reshape(volumes, count).argmax(axis=1)
    used = len(np.unique(best))
    if used < count:
        logger.warning(
            "states: %d of the %d basins of the density are most of no volume", count - used, count
        )
    return best
