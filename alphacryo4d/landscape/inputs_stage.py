"""What the stage reads: the volume table, stacks, assignments, counts and embeddings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import (
    ASSIGNMENTS_NPY,
    FEATURES_NPY,
    IMAGES_NPY,
    SIGNAL_NPY,
    VOLUMES_NPY,
    VOLUMES_STAR,
    load_array,
)
from alphacryo4d.core.reading import read_numbers
from alphacryo4d.io.star import read_table
from alphacryo4d.particles.copies import images_of_volumes
from alphacryo4d.voting.junk import groups_of_junk

_OF_PARTICLES = (ASSIGNMENTS_NPY, SIGNAL_NPY, IMAGES_NPY)
_NUMBERS, _TEXTS = (
    ("ac4dBatch", "ac4dParticleCount", "rlnPixelSize"),
    ("ac4dVolumeName", "ac4dFold"),
)


@dataclass(frozen=True)
class VolumeTable:
    """Columns of ``volumes.star``; row order is that of every array of volumes.

    Attributes
    ----------
    names : (V,) array of str
    counts : (V,) int64 array
        Particles per volume.
    batch : (V,) int64 array
    fold : (V,) array of str
        Name of the fold: the groups that it holds, such as u123.
    resolution : (V,) float64 array
        Estimated resolution in Angstrom; NaN where unknown.
    voxel_size : float
        Voxel size of ``volumes.npy`` in Angstrom.
    images : (V,) array or None
        Images per volume, where some of its particles are copies of one.
    """

    names: Array
    counts: Array
    batch: Array
    fold: Array
    resolution: Array
    voxel_size: float
    images: Array | None = None

    @property
    def fold_numbers(self) -> Array:
        """Number (V,) from 0 for every fold of every batch."""
        names = np.array([f"{b:06d} {f}" for b, f in zip(self.batch, self.fold, strict=True)])
        numbers: Array = np.unique(names, return_inverse=True)[1]
        return numbers

    @property
    def left_out(self) -> Array:
        """Number (V,) from 0 of the group that the fold leaves out, the same in all batches."""
        numbers: Array = np.unique(self.fold, return_inverse=True)[1]
        return numbers


def read_volume_table(path: Path) -> VolumeTable:
    """Read and check ``volumes.star``.

    Raises
    ------
    InputError
        The file is missing or lacks the table or a column, a name is twice there, or a class
        is empty.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; --i names the folder that `resample` wrote")
    table = read_table(path, "volumes", numbers=_NUMBERS, texts=_TEXTS)
    names = np.array([str(name) for name in table["ac4dVolumeName"]])
    values, repeats = np.unique(names, return_counts=True)
    if (repeats > 1).any():
        raise InputError(f"{path}: volume {values[repeats > 1][0]} is there twice; remove one")
    counts = np.asarray(table["ac4dParticleCount"], np.int64)
    if (counts <= 0).any():
        row = int(np.flatnonzero(counts <= 0)[0])
        raise InputError(
            f"{path}: row {row + 1} ({names[row]}) has {counts[row]} particles; an empty class "
            "has no energy, remove it"
        )
    known = "rlnEstimatedResolution" in table
    return VolumeTable(
        names=names,
        counts=counts,
        batch=np.asarray(table["ac4dBatch"], np.int64),
        fold=_fold_names(names, table["ac4dFold"]),
        resolution=(
            _numbers_or_nan(table["rlnEstimatedResolution"])
            if known
            else np.full(len(names), np.nan)
        ),
        voxel_size=float(np.asarray(table["rlnPixelSize"], np.float64)[0]),
    )


def _numbers_or_nan(column: Any) -> Array:
    """Column as numbers, NaN for what is none."""
    import pandas

    values: Array = pandas.to_numeric(column, errors="coerce").to_numpy(float)
    return values


def _fold_names(names: Array, folds: Array) -> Array:
    """Name of each volume's fold: ``u123`` of ``u123_b1_c001``; its number in other names."""
    matches = [re.match(r"(u\d+)_b\d+_c\d+$", name) for name in names]
    return np.array(
        [
            str(fold) if match is None else match[1]
            for match, fold in zip(matches, folds, strict=True)
        ]
    )


@dataclass(frozen=True)
class StageInputs:
    """Everything that the stage works on; volumes and features are memory maps.

    ``junk`` (V,) bool says of which volumes the images show no particle, where that was measured;
    ``copies`` (P,) int is the image of every particle, where some share one.
    """

    table: VolumeTable
    volumes: Array
    features: Array | None
    assignments: Array | None
    junk: Array | None
    paths: tuple[Path, ...]
    copies: Array | None = None


def input_paths(resample: Path, features: Path | None) -> tuple[Path, ...]:
    """Files that :func:`read_inputs` takes, in its order."""
    paths = [resample / VOLUMES_STAR, resample / VOLUMES_NPY]
    if features is not None:
        paths.append(features if features.suffix == ".npy" else features / FEATURES_NPY)
    paths += [resample / name for name in _OF_PARTICLES if (resample / name).is_file()]
    return tuple(paths)


def read_inputs(resample: Path, features: Path | None) -> StageInputs:
    """Open the files of the stages before, and check that they belong together.

    Raises
    ------
    InputError
        A file is missing, lengths differ, the counts contradict the assignments, or every fold
        made one class.
    """
    table = read_volume_table(resample / VOLUMES_STAR)
    path = resample / VOLUMES_NPY
    volumes = load_array(path, dtype=np.floating, memory_map=True)
    _require_rows(path, volumes, len(table.names))
    maps = None
    if features is not None:
        path = features if features.suffix == ".npy" else features / FEATURES_NPY
        maps = load_array(path, dtype=np.floating, memory_map=True)
        _require_rows(path, maps, len(table.names))
    assignments = None
    path = resample / ASSIGNMENTS_NPY
    if path.is_file():
        assignments = _read_assignments(path, table)
        _require_classes(resample, table)
    junk = None
    path = resample / SIGNAL_NPY
    if path.is_file():
        signal = load_array(path, dtype=np.floating, ndim=2)
        if assignments is not None and len(signal) == len(assignments):
            junk = groups_of_junk(signal[:, 0], assignments, len(table.names))
    copies = None
    path = resample / IMAGES_NPY
    if path.is_file():
        copies = load_array(path, dtype=np.integer, ndim=1)
        if assignments is not None:
            table = _with_images(table, assignments, copies, path)
    paths = input_paths(resample, features)
    return StageInputs(table, volumes, maps, assignments, junk, paths, copies)


def read_counted_table(resample: Path) -> tuple[VolumeTable, list[Path]]:
    """Volume table of a resampling with the images of its volumes, and the files that tell them."""
    paths = [resample / VOLUMES_STAR]
    table = read_volume_table(paths[0])
    assigned, images = resample / ASSIGNMENTS_NPY, resample / IMAGES_NPY
    if not (assigned.is_file() and images.is_file()):
        return table, paths
    assignments = _read_assignments(assigned, table)
    copies = load_array(images, dtype=np.integer, ndim=1)
    return _with_images(table, assignments, copies, images), [*paths, assigned, images]


def _read_assignments(path: Path, table: VolumeTable) -> Array:
    assignments = load_array(path, dtype=np.integer, ndim=2)
    _require_same_counts(path, assignments, table)
    return assignments


def _with_images(table: VolumeTable, assignments: Array, copies: Array, path: Path) -> VolumeTable:
    if len(copies) != len(assignments):
        raise InputError(
            f"{path}: has {len(copies)} particles, {ASSIGNMENTS_NPY} has {len(assignments)}; run "
            "`alphacryo4d resample` again"
        )
    return replace(table, images=images_of_volumes(assignments, copies, len(table.names)))


def _require_rows(path: Path, array: Array, rows: int) -> None:
    if array.ndim < 2 or len(array) != rows:
        raise InputError(
            f"{path}: shape {array.shape}, but volumes.star has {rows} rows; run the stage that "
            "wrote it again"
        )


def _require_same_counts(path: Path, assignments: Array, table: VolumeTable) -> None:
    count = len(table.names)
    if assignments.max(initial=-1) >= count:
        raise InputError(
            f"{path}: names volume {assignments.max() + 1}, but volumes.star has {count} rows"
        )
    held = np.bincount(assignments[assignments >= 0], minlength=count)
    wrong = np.flatnonzero(held != table.counts)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{path}: volume {table.names[row]} (row {row + 1}) has {held[row]} particles there "
            f"and {table.counts[row]} in volumes.star: another order of the volumes? Run "
            "`alphacryo4d resample collect` again"
        )


def _require_classes(resample: Path, table: VolumeTable) -> None:
    if len(np.unique(table.fold_numbers)) == len(table.names):
        raise InputError(
            f"{resample / VOLUMES_STAR}: no structure: every fold put all particles into one "
            "class, as noise or a single conformation leave it; `alphacryo4d landscape particles "
            f"--i {resample.parent}` asks the single particles"
        )


def read_embedding(path: Path) -> Array:
    """Embedding (V, 2) as float64 from ``.npy`` or a text table.

    Raises
    ------
    InputError
        It is not a table of two finite columns.
    """
    embedding = _read_numbers(path)
    if embedding.ndim != 2 or embedding.shape[1] != 2:
        raise InputError(f"{path}: shape {embedding.shape}, but (volumes, 2) is needed")
    bad = np.flatnonzero(~np.isfinite(embedding).all(1))
    if len(bad):
        raise InputError(f"{path}: row {bad[0] + 1} is not finite; embed the volumes again")
    return embedding


def read_counts(path: Path, rows: int) -> Array:
    """Particles per volume (V,) from ``volumes.star``, ``.npy`` or one count a line."""
    if path.suffix == ".star":
        counts: Array = read_volume_table(path).counts.astype(np.float64)
    else:
        counts = _read_numbers(path).reshape(-1)
    if len(counts) != rows:
        raise InputError(f"{path}: {len(counts)} counts, but the embedding has {rows} rows")
    return counts


def read_centers(path: Path) -> Array:
    """Centers (K, 2) from ``.npy``, a text table, or ``states.star``."""
    if path.suffix != ".star":
        return read_embedding(path)
    needed = ("ac4dCenterX", "ac4dCenterY")
    table = read_table(path, "states", numbers=needed)
    return np.stack([table[name].to_numpy(float) for name in needed], axis=1)


def _read_numbers(path: Path) -> Array:
    if path.suffix == ".npy":
        return load_array(path, dtype=np.number).astype(np.float64)
    return read_numbers(path, dtype=np.float64)
