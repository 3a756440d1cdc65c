"""The path step: ends, string method, barriers with intervals, and their files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.reading import load_archive
from alphacryo4d.landscape.barriers import (
    Barrier,
    Interval,
    LowestPath,
    arc_lengths,
    barriers_along,
    bootstrap,
    corrected_interval,
    lowest_path,
)
from alphacryo4d.landscape.heights import Heights, barriers_said
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.plane import Landscape
from alphacryo4d.landscape.string_method import EnergyPath, minimum_energy_path
from alphacryo4d.landscape.surface import Surface, triangulated_surface
from alphacryo4d.landscape.tables_stage import write_csv

PATH_NPZ = "path.npz"
SurfaceMaker = Callable[[Array, Array], Surface]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LandscapePath:
    """A path, its barriers, and the standard error of its energy (n,) after a bootstrap."""

    path: EnergyPath
    error: Array | None
    barriers: tuple[tuple[Barrier, Heights], ...]


def path_ends(landscape: Landscape, options: PathOptions, names: Array | None) -> Array:
    """Start, points to pass and end (P, 2).

    Without a start or end: the two volumes furthest apart among the half of lowest energy, from the
    lesser RC1 to the greater, so that states are numbered in this direction.
    """
    low = np.flatnonzero(landscape.energies <= np.median(landscape.energies))
    points = landscape.embedding[low]
    between = ((points[:, None] - points[None]) ** 2).sum(2)
    first, last = np.unravel_index(between.argmax(), between.shape)
    if points[first, 0] > points[last, 0]:
        first, last = last, first
    start = _end(options.start, options.start_volume, points[first], landscape, names)
    end = _end(options.end, options.end_volume, points[last], landscape, names)
    ends = np.array([start, *options.via, end], np.float64)
    moved, count = landscape.surface.bring_back(ends)
    if count:
        logger.warning(
            "path: %d of its given points are outside the landscape; the nearest points of its "
            "edge are taken",
            count,
        )
    if np.allclose(moved[0], moved[-1]) and len(moved) == 2:
        raise InputError("path: start and end are the same point; give two that differ")
    return moved


def _end(
    given: tuple[float, float] | None,
    volume: str | None,
    default: Array,
    landscape: Landscape,
    names: Array | None,
) -> Array:
    if given is not None:
        return np.array(given)
    if volume is None:
        logger.info("path: end chosen at %.2f %.2f, from where it slides to a minimum", *default)
        return default
    if names is None or volume not in names:
        raise InputError(f"volume {volume} is not in volumes.star; take a name from there")
    chosen: Array = landscape.embedding[names.tolist().index(volume)]
    logger.info("path: end at %s, %.2f %.2f, from where it slides to a minimum", volume, *chosen)
    return chosen


def path_step(
    job: Job, landscape: Landscape, options: PathOptions, names: Array | None, seed: int
) -> LandscapePath:
    """Find the path, write it, and report how it converged and how high its barriers are.

    A path that is there already is read back.
    """
    if job.completed("path") and (job.folder / PATH_NPZ).is_file():
        return _read_back(job.folder / PATH_NPZ)
    points = path_ends(landscape, options, names)
    with show_progress("path", foresees=False) as progress:
        path = minimum_energy_path(landscape.surface, points, options, progress=progress)
    log = logger.info if path.converged else logger.warning
    log(
        "path: %s after %d steps, displacement %.2e, residual %.2e kT per unit, images brought "
        "back to the surface: %d",
        "converged" if path.converged else "NOT converged",
        path.iterations,
        path.displacement,
        path.residual,
        path.returned,
    )
    written = [files.save_array(job.folder / files.PATH_NPY, path.images)]
    error, barriers = _barriers(job, landscape, options, path, seed)
    columns = {"length": arc_lengths(path.images), "rc1": path.images[:, 0]}
    columns |= {"rc2": path.images[:, 1], "energy_kt": path.energies}
    if error is not None:
        columns["error_kt"] = error
    written.append(write_csv(job.folder / "path.csv", columns))
    job.note(
        path={
            "converged": path.converged,
            "iterations": path.iterations,
            "displacement": path.displacement,
            "residual": path.residual,
            "returned": path.returned,
        }
    )
    landscape_path = LandscapePath(path, error, barriers)
    written.append(_keep(job.folder / PATH_NPZ, landscape_path))
    job.complete("path", [*written, job.folder / "barriers.csv"])
    return landscape_path


def _keep(file: Path, landscape_path: LandscapePath) -> Path:
    """Write everything about a path, so that the steps after it can be done again."""
    path = landscape_path.path
    pairs = landscape_path.barriers
    numbers = [(b.start, b.top, b.end, b.forward, b.backward, *b.place) for b, _ in pairs]
    with files.atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            images=path.images,
            energies=path.energies,
            found=np.array([path.iterations, path.displacement, path.residual, path.returned]),
            converged=np.array(path.converged),
            error=np.zeros(0) if landscape_path.error is None else landscape_path.error,
            barriers=np.array(numbers, np.float64).reshape(-1, 7),
            intervals=np.array(
                [(i.value, i.low, i.high) for _, h in pairs for i in (h.forward, h.backward)]
            ).reshape(-1, 2, 3),
        )
    return file


def _read_back(file: Path) -> LandscapePath:
    data = load_archive(file)
    iterations, displacement, residual, returned = data["found"].tolist()
    path = EnergyPath(
        images=data["images"],
        energies=data["energies"],
        iterations=int(iterations),
        displacement=displacement,
        residual=residual,
        converged=bool(data["converged"]),
        returned=int(returned),
    )
    barriers = tuple(
        (
            Barrier(row[0], row[1], row[2], row[3], row[4], row[5:]),
            Heights(Interval(*ways[0]), Interval(*ways[-1])),
        )
        for row, ways in zip(
            data["barriers"], data["intervals"].reshape(len(data["barriers"]), -1, 3), strict=True
        )
    )
    return LandscapePath(path, data["error"] if len(data["error"]) else None, barriers)


def _global_surfaces(landscape: Landscape) -> dict[str, SurfaceMaker]:
    """Surfaces on which the lowest path is looked for, by the name of their rows.

    A kernel surface smooths, which lowers narrow barriers by more than the bootstrap can know; so
    the surface that passes through the volumes is searched, too. Its interval holds true barriers
    (``scripts/bench/landscape.py coverage``); that of the kernel surface covers the sampling alone.
    """

    def through(rows: Array, energies: Array) -> Surface:
        return triangulated_surface(landscape.embedding[rows], energies, kind="cubic")

    surfaces: dict[str, SurfaceMaker] = {"lowest path": landscape.remade}
    if landscape.options.interpolate == "kernel":
        surfaces["lowest path through the volumes"] = through
    return surfaces


def _barriers(
    job: Job, landscape: Landscape, options: PathOptions, path: EnergyPath, seed: int
) -> tuple[Array | None, tuple[tuple[Barrier, Heights], ...]]:
    """Write ``barriers.csv``; returns the error of the energy along the path, and the barriers."""
    limits = np.array([landscape.embedding.min(0), landscape.embedding.max(0)])
    ends = path.images[0], path.images[-1]
    surfaces = _global_surfaces(landscape)
    everything = np.arange(len(landscape.basis))
    lowest = [
        lowest_path(make(everything, landscape.basis), *ends, limits) for make in surfaces.values()
    ]
    barriers = barriers_along(path.images, path.energies)
    lengths = arc_lengths(path.images)
    spots = np.array([(b.start, b.top, b.end) for b in barriers]).reshape(-1, 3)
    rows = np.minimum(np.searchsorted(lengths, spots), len(lengths) - 1)
    values = np.array([b.forward for b in barriers] + [b.backward for b in barriers])
    values = np.append(values, [height for one in lowest for height in (one.forward, one.backward)])
    error, intervals = None, [Interval(v, np.nan, np.nan) for v in values]
    if options.bootstrap >= 2:

        def estimate(chosen: Array, energies: Array) -> Array:
            surface = landscape.remade(chosen, energies)
            along = surface.values(surface.bring_back(path.images)[0])
            others = []
            for make in surfaces.values():
                other = lowest_path(make(chosen, energies), *ends, limits, size=100)
                others += [other.forward, other.backward]
            forward = along[rows[:, 1]] - along[rows[:, 0]]
            backward = along[rows[:, 1]] - along[rows[:, 2]]
            return np.concatenate([along, forward, backward, others])

        draws = bootstrap(
            estimate,
            landscape.basis,
            landscape.errors,
            replicates=options.bootstrap,
            rng=np.random.default_rng(seed),
        )
        if len(draws) >= 2:
            error = draws[:, : len(lengths)].std(0, ddof=1)
            parts = draws[:, len(lengths) :].T
            intervals = [
                corrected_interval(float(v), d) for v, d in zip(values, parts, strict=True)
            ]
    count = len(barriers)
    rest = intervals[2 * count :]
    along = [Heights(intervals[i], intervals[count + i]) for i in range(count)]
    others = [Heights(*both) for both in zip(rest[::2], rest[1::2], strict=True)]
    _write_barriers(job, barriers, dict(zip(surfaces, lowest, strict=True)), along, others)
    logger.info("%s", barriers_said(along, others[0]))
    return error, tuple(zip(barriers, along, strict=True))


def _write_barriers(
    job: Job,
    barriers: list[Barrier],
    lowest: dict[str, LowestPath],
    along: list[Heights],
    others: list[Heights],
) -> None:
    """Write ``barriers.csv``: the barriers of the path, both ways, then those of lowest paths.

    Both rows of a barrier say whether it is resolved.
    """
    numbers = range(1, len(barriers) + 1)
    names = [f"{i} {way}" for way in ("forward", "backward") for i in numbers]
    names += [f"{name} {way}" for name in lowest for way in ("forward", "backward")]
    places = [*(b.place for b in barriers), *(b.place for b in barriers)]
    places += [one.place for one in lowest.values() for _ in range(2)]
    rows = [(one, one.forward) for one in along] + [(one, one.backward) for one in along]
    rows += [(one, way) for one in others for way in (one.forward, one.backward)]
    write_csv(
        job.folder / "barriers.csv",
        {
            "barrier": np.array(names),
            "top_rc1": np.array([p[0] for p in places]),
            "top_rc2": np.array([p[1] for p in places]),
            "height_kt": np.array([i.value for _, i in rows]),
            "low_kt": np.array([i.low for _, i in rows]),
            "high_kt": np.array([i.high for _, i in rows]),
            "resolved": np.array(
                ["-" if not one.known else "yes" if one.resolved else "no" for one, _ in rows]
            ),
        },
    )
