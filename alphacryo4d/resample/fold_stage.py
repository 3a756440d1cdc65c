"""The classification of one fold on disk, under RELION's names, from either engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import ParticleTable, read_tables, write_tables
from alphacryo4d.particles.open import open_table

IntArray = np.ndarray[Any, np.dtype[np.int32]]

HELDOUT = "heldout_class.npy"
"""Class, from 1, that each particle of the left-out group fits best (-1: none is left)."""


CHECKPOINT = "checkpoint.npz"
"""State of a classification that is running (native engine)."""

CLASS_VOLUMES = "class_volumes.npy"
"""Class volumes of the classification itself, low-passed to its resolution: float32, in the order
of the classes of the model table, at the smallest box that holds them (native engine). Without it
the MRC maps serve."""


@dataclass(frozen=True)
class FoldClass:
    """One class of a fold.

    Attributes
    ----------
    number : int
        Class number from 1; a hierarchy leaves gaps.
    parent : int
        Class that it was split from, from 1; 0 where there is one level.
    particles : int
        Particles whose most probable class it is.
    resolution : float
        Resolution by its half maps in Angstrom.
    """

    number: int
    parent: int
    particles: int
    resolution: float


@dataclass(frozen=True)
class FoldClasses:
    """The classification of one fold.

    Attributes
    ----------
    labels : (n,) int32 array
        Class number of every particle of the fold, from 1, in row order of the fold's table; 0 of
        images unlike all others.
    classes : list of FoldClass
        Classes with a volume, by number.
    """

    labels: IntArray
    classes: list[FoldClass]


def model_table(folder: Path, iteration: int) -> Path:
    """Table of the classes as RELION names it, ``run_it025_model.star``."""
    return folder / f"run_it{iteration:03d}_model.star"


def write_fold(
    folder: Path,
    iteration: int,
    *,
    table: ParticleTable,
    rows: Any,
    result: FoldClasses,
    certainty: np.ndarray[Any, Any] | None = None,
) -> list[Path]:
    """Write the assignments and the table of the classes of one fold.

    Parameters
    ----------
    folder : Path
        Folder of the fold; its class volumes are there already.
    iteration : int
        Number in the file names.
    table : ParticleTable
        Table of all particles.
    rows : (n,) int array
        Rows of the fold, ascending.
    result : FoldClasses
        Classes and labels.
    certainty : (n,) array, optional
        Largest posterior of every particle.
    """
    columns: dict[str, Any] = {"rlnClassNumber": result.labels}
    if certainty is not None:
        columns["rlnMaxValueProbDistribution"] = np.asarray(certainty, dtype=np.float64).round(6)
    data = table.write_with_columns(files.data_table(folder, iteration), columns, rows=rows)
    total = max(1, len(result.labels))
    classes = result.classes
    model = {
        "rlnReferenceImage": [
            files.class_volume(folder, iteration, item.number).name for item in classes
        ],
        "rlnClassNumber": [item.number for item in classes],
        "rlnClassDistribution": [item.particles / total for item in classes],
        "rlnEstimatedResolution": [round(item.resolution, 3) for item in classes],
        "ac4dParentClass": [item.parent for item in classes],
        "ac4dParticleCount": [item.particles for item in classes],
    }
    return [data, write_tables(model_table(folder, iteration), {"model_classes": model})]


def read_fold(folder: Path, iteration: int, *, particles: int) -> FoldClasses:
    """Read the classification of one fold, whichever engine wrote it.

    Parameters
    ----------
    folder : Path
        Folder of the fold.
    iteration : int
        Number in the file names.
    particles : int
        Rows that the fold has.

    Raises
    ------
    InputError
        A file is missing or does not fit the fold.
    """
    data = files.data_table(folder, iteration)
    table = open_table(data)
    if table.rows != particles:
        raise InputError(
            f"{data}: has {table.rows} rows, its fold has {particles}; classify the fold again"
        )
    labels = np.asarray(table.read(["rlnClassNumber"])["rlnClassNumber"], dtype=np.int32)
    model = read_tables(model_table(folder, iteration))["model_classes"]
    classes = [
        FoldClass(int(number), int(parent), int(count), float(resolution))
        for number, parent, count, resolution in zip(
            model["rlnClassNumber"],
            model["ac4dParentClass"],
            model["ac4dParticleCount"],
            model["rlnEstimatedResolution"],
            strict=True,
        )
    ]
    for item in classes:
        path = files.class_volume(folder, iteration, item.number)
        if not path.is_file():
            raise InputError(f"{path}: no such file; classify the fold again")
    return FoldClasses(labels, classes)
