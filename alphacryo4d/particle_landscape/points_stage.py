"""Points of the landscape as the command line names them: coordinates, states, path, grid, file."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import read_job
from alphacryo4d.core.reading import load_archive
from alphacryo4d.particle_landscape.density_stage import DENSITY_NPZ, STATES_CSV
from alphacryo4d.particle_landscape.frame_stage import COORDINATES
from alphacryo4d.particle_landscape.mixture import GaussianMixture
from alphacryo4d.particle_landscape.surface import DensitySurface, energy_of_share

ALONG_PATH = 10
"""Points along the path where no number is given."""
WITH_DATA = 0.95
"""Share of the particles in the region of the points of a grid."""
MOST_POINTS = 1000
_FILES = (".csv", ".npy", ".txt")


def kept_components(landscape: Path) -> int:
    """Components that a particle landscape has; refuses one without structure."""
    path = landscape / COORDINATES
    if not path.is_file():
        raise InputError(f"{path}: no such file; `alphacryo4d landscape particles` writes it")
    if (read_job(landscape) or {}).get("results", {}).get("components") == 0:
        raise InputError(
            f"{landscape}: no structure was found, all points are one map; `vote reconstruct` "
            "makes it"
        )
    return int(files.load_array(path, dtype=np.floating, ndim=2, memory_map=True).shape[1])


def read_points(text: str, landscape: Path, kept: int) -> tuple[list[Array], list[str]]:
    """Points (any number of coordinates each) and what each of them is.

    Parameters
    ----------
    text : str
        As ``--at`` takes it.
    landscape : Path
        Folder of the particle landscape.
    kept : int
        Components that the landscape has.

    Raises
    ------
    UsageError, InputError
        No such point, too many coordinates, or a file that is missing or holds no points.
    """
    points: list[Array] = []
    names: list[str] = []
    for part in (each.strip() for each in text.split(";")):
        if not part:
            continue
        coordinates, called = _points_of(part, landscape)
        points += list(coordinates)
        names += called
    for point, name in zip(points, names, strict=True):
        if len(point) > kept:
            raise UsageError(
                f"--at {name}: has {len(point)} coordinates, but the landscape has {kept} "
                f"component{'s' * (kept != 1)}; give at most as many"
            )
    if not points:
        raise UsageError(f"--at {text}: names no point")
    if len(points) > MOST_POINTS:
        raise UsageError(f"--at {text}: {len(points)} points, more than {MOST_POINTS}; take fewer")
    return points, names


def _points_of(part: str, landscape: Path) -> tuple[Array, list[str]]:
    kind, _, number = part.partition(":")
    if kind == "states":
        return _states(landscape, part, number)
    if kind == "path":
        return _along_path(landscape, part, number)
    if kind == "grid":
        return _grid(landscape, part, number)
    if Path(part).suffix.lower() in _FILES:
        points = read_point_file(Path(part))
        return points, [f"{Path(part).name} row {row}" for row in range(1, len(points) + 1)]
    try:
        point = np.array([float(value) for value in part.split(",")])
    except ValueError as error:
        raise UsageError(
            f"--at {part}: neither coordinates with commas nor states, path:N, grid:N or a .csv, "
            ".npy or .txt file"
        ) from error
    if not np.isfinite(point).all():
        raise UsageError(f"--at {part}: coordinates must be finite")
    return point[None], [part]


def _whole(part: str, number: str, least: int, default: int | None = None) -> int:
    if not number and default is not None:
        return default
    if not number.isdecimal() or int(number) < least:
        kind = part.partition(":")[0]
        raise UsageError(f"--at {part}: give a number of at least {least}, such as {kind}:10")
    return int(number)


def _states(landscape: Path, part: str, number: str) -> tuple[Array, list[str]]:
    minima = read_table(landscape / STATES_CSV)
    try:
        chosen = [int(one) for one in number.split(",")] if number else [*range(1, len(minima) + 1)]
    except ValueError as error:
        raise UsageError(f"--at {part}: give numbers of states, such as states:1,3") from error
    for state in chosen:
        if not 1 <= state <= len(minima):
            raise UsageError(f"--at {part}: the density has states 1 to {len(minima)}")
    return minima[np.array(chosen) - 1], [f"state {state}" for state in chosen]


def _along_path(landscape: Path, part: str, number: str) -> tuple[Array, list[str]]:
    path = landscape / files.PATH_NPY
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; the density has one state or none: `alphacryo4d landscape "
            "particles` makes a path with --start and --end"
        )
    count = _whole(part, number, 2, ALONG_PATH)
    images = files.load_array(path, dtype=np.floating, ndim=2)
    if count > len(images):
        raise UsageError(f"--at {part}: the path has {len(images)} images; give at most as many")
    rows = np.rint(np.linspace(0, len(images) - 1, count)).astype(int)
    return images[rows], [f"path, image {row + 1} of {len(images)}" for row in rows]


def _grid(landscape: Path, part: str, number: str) -> tuple[Array, list[str]]:
    count = _whole(part, number, 1)
    arrays = load_archive(landscape / DENSITY_NPZ)
    mixture = GaussianMixture(arrays["proportions"], arrays["means"], arrays["covariances"])
    drawn = mixture.drawn(20_000, np.random.default_rng(0))
    d = drawn.shape[1]
    if count**d > 100_000:
        raise UsageError(f"--at {part}: {count**d} points in {d} dimensions; take fewer")
    cuts = np.linspace(0, 1, count + 2)[1:-1]
    low, high = np.quantile(drawn, (0.01, 0.99), axis=0)
    axes = [low[k] + (high[k] - low[k]) * cuts for k in range(d)]
    points = np.array(list(itertools.product(*axes)))
    inside = DensitySurface(mixture).values(points) <= energy_of_share(mixture, WITH_DATA)
    names = [f"grid, {', '.join(f'{value:.3g}' for value in point)}" for point in points[inside]]
    return points[inside], names


def read_point_file(path: Path) -> Array:
    """Points (N, k) of a ``.npy`` array or of a table with a point a row.

    A header line is skipped; in a ``.csv`` that has columns ``z1``, ``z2`` ... only these count.
    """
    files.require_file(path)
    if path.suffix.lower() == ".npy":
        points = files.load_array(path, dtype=np.number, ndim=2).astype(np.float64)
    else:
        points = read_table(path)
    if points.size == 0 or not np.isfinite(points).all():
        raise InputError(f"{path}: holds no points, or values that are not finite")
    return points


def read_table(path: Path) -> Array:
    """Coordinates (N, k) of a table: the columns ``z1`` ... where there are any, else all.

    Values are apart by commas or blanks.
    """
    files.require_file(path)
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        rows = list(csv.reader(lines)) if path.suffix.lower() == ".csv" else [
            line.replace(",", " ").split() for line in lines
        ]  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    columns: list[int] | None = None
    if rows and not _numbers(rows[0]):
        named = [n for n, name in enumerate(rows[0]) if name.strip() in _coordinate_names(rows[0])]
        columns, rows = named or None, rows[1:]
    points = []
    for number, row in enumerate(rows, 1):
        values = row if columns is None else [row[n] for n in columns if n < len(row)]
        if not _numbers(values) or len(values) != len(columns or rows[0]):
            raise InputError(f"{path}: row {number} is not numbers, as many as in the first row")
        points.append([float(value) for value in values])
    return np.array(points, np.float64).reshape(len(points), -1)


def _coordinate_names(header: list[str]) -> set[str]:
    return {f"z{axis}" for axis in range(1, len(header) + 1)}


def _numbers(values: list[str]) -> bool:
    try:
        return all(np.isfinite(float(value)) for value in values) and bool(values)
    except ValueError:
        return False
