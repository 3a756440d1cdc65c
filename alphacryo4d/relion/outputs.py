"""What RELION wrote -> arrays: class of every particle, maps, resolutions, the last iteration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import AlphaCryo4DError, InputError, ProgramError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.particles.open import open_table

ROW_COLUMN = "ac4dRow"
"""Column by which rows are known again: RELION sorts its tables by micrograph."""


@dataclass(frozen=True)
class RunResult:
    """What one run of ``relion_refine`` found.

    Attributes
    ----------
    classes : (n,) int32 array
        Class of every particle, from 1, in the order of the table that RELION got.
    probabilities : (n,) float64 array
        Probability of that class.
    maps : tuple of Path
        One map a class.
    resolutions : tuple of float
        RELION's estimate for every class in Angstrom.
    """

    classes: Array
    probabilities: Array
    maps: tuple[Path, ...]
    resolutions: tuple[float, ...]


def iteration_root(root: Path, iteration: int) -> Path:
    """How the file names of one iteration begin, ``folder/run_it025``."""
    return root.parent / f"{root.name}_it{iteration:03d}"


def with_suffix(root: Path, suffix: str) -> Path:
    """``folder/run_it025`` and ``_data.star`` -> ``folder/run_it025_data.star``."""
    return root.parent / (root.name + suffix)


def last_optimiser(root: Path, *, before: int | None = None) -> Path | None:
    """Optimiser file of the last iteration whose files are whole, or None.

    Parameters
    ----------
    root : Path
        How the names of the run begin, ``folder/run``.
    before : int, optional
        Take an iteration below this one.
    """
    pattern = re.compile(re.escape(root.name) + r"_it(\d+)_optimiser\.star")
    iterations = sorted(
        (
            int(match[1])
            for path in root.parent.glob("*")
            if (match := pattern.fullmatch(path.name))
        ),
        reverse=True,
    )
    for iteration in iterations:
        if (before is None or iteration < before) and iteration > 0:
            start = iteration_root(root, iteration)
            if _is_whole(start):
                return with_suffix(start, "_optimiser.star")
    return None


def _is_whole(start: Path) -> bool:
    """Whether an iteration was written to its end and holds finite maps.

    Auto-refinement writes a model and maps for each half-set.
    """
    sides = ("_half1", "_half2") if with_suffix(start, "_half1_model.star").is_file() else ("",)
    try:
        tables = read_tables(with_suffix(start, "_optimiser.star"))
        open_table(with_suffix(start, "_data.star"))
        for side in sides:
            model = read_tables(with_suffix(start, f"{side}_model.star"))
            for number in range(1, len(model["model_classes"]) + 1):
                read_volume(with_suffix(start, f"{side}_class{number:03d}.mrc"))
    except (AlphaCryo4DError, KeyError, OSError):
        return False
    return "optimiser_general" in tables


def read_run(root: Path, *, iteration: int | None, classes: int, rows: Array) -> RunResult:
    """Read the outputs of a finished run and check that they are whole and finite.

    Parameters
    ----------
    root : Path
        How the names of the run begin, ``folder/run``.
    iteration : int or None
        Iteration to read; None for the final files of an auto-refinement.
    classes : int
        Number that the run was started with.
    rows : (n,) int array
        Ascending rows, from 0, of the whole table that the run was started with.

    Raises
    ------
    ProgramError
        A file is missing, or holds something else than such a run writes, or other particles.
    """
    start = root if iteration is None else iteration_root(root, iteration)
    try:
        labels, probabilities = _read_particles(with_suffix(start, "_data.star"), rows)
        resolutions = _read_resolutions(with_suffix(start, "_model.star"), classes)
        maps = tuple(
            with_suffix(start, f"_class{number:03d}.mrc") for number in range(1, classes + 1)
        )
        for path in maps:
            read_volume(path)
    except InputError as error:
        raise ProgramError(
            f"RELION ended with exit code 0, but its output is no use: {error}"
        ) from error
    if labels.min() < 1 or labels.max() > classes:
        raise ProgramError(f"{start}_data.star: class numbers outside 1 to {classes}")
    return RunResult(labels, probabilities, maps, resolutions)


def _read_particles(path: Path, members: Array) -> tuple[Array, Array]:
    names = ["rlnClassNumber", "rlnMaxValueProbDistribution", ROW_COLUMN]
    columns = open_table(path).read(names)
    rows = columns[ROW_COLUMN].astype(np.int64)
    order = np.argsort(rows, kind="stable")
    if len(rows) != len(members):
        raise InputError(f"{path}: holds {len(rows)} particles where {len(members)} went in")
    if (wrong := rows[order] != members + 1).any():
        raise InputError(
            f"{path}: holds row {rows[order][wrong][0]} of the input where row "
            f"{members[wrong][0] + 1} went in; remove {path.parent} and give the command again"
        )
    probabilities = columns["rlnMaxValueProbDistribution"].astype(np.float64)[order]
    if not np.isfinite(probabilities).all():
        raise InputError(f"{path}: a probability is not finite; check the images for bad pixels")
    return columns["rlnClassNumber"].astype(np.int32)[order], probabilities


def _read_resolutions(path: Path, classes: int) -> tuple[float, ...]:
    tables = read_tables(path)
    if "model_classes" not in tables:
        raise InputError(f"{path}: has no table data_model_classes; the run was cut off")
    values = [float(value) for value in tables["model_classes"]["rlnEstimatedResolution"]]
    if len(values) != classes:
        raise InputError(f"{path}: describes {len(values)} classes instead of {classes}")
    return tuple(values)
