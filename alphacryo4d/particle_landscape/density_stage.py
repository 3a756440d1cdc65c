"""The density of a project's particles: its states, a path, and the files of all of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.words import plural
from alphacryo4d.landscape.barriers import arc_lengths
from alphacryo4d.landscape.tables_stage import write_csv
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.particle_landscape.basins import DensityStates, find_states
from alphacryo4d.particle_landscape.density import Density, fit_density
from alphacryo4d.particle_landscape.discrete import points_or_continuum
from alphacryo4d.particle_landscape.figures_stage import draw
from alphacryo4d.particle_landscape.fold_stage import FoldInputs
from alphacryo4d.particle_landscape.frame import likelihood_of, unpacked
from alphacryo4d.particle_landscape.frame_stage import COORDINATES, COVARIANCES
from alphacryo4d.particle_landscape.lowest import farthest_along, lowest_route
from alphacryo4d.particle_landscape.mixture import Likelihoods
from alphacryo4d.particle_landscape.options import MOST_GAUSSIANS, DensityOptions
from alphacryo4d.particle_landscape.paths import DensityPath, density_path
from alphacryo4d.particle_landscape.volume_stage import write_path_volumes

DENSITY_NPZ, GAUSSIANS_CSV, STATES_CSV = "density.npz", "gaussians.csv", "density_states.csv"
BASINS_NPZ, DISCRETE_CSV = files.BASINS_NPZ, "discrete.csv"
PATH_CSV, BARRIERS_CSV = "path.csv", "barriers.csv"

logger = logging.getLogger(__name__)


def write_density(
    job: Job, options: DensityOptions, inputs: FoldInputs, *, seed: int, flags: RunFlags
) -> None:
    """Fit the density, find its states and the path, write and draw them."""
    workers = thread_count(flags.threads)
    data, chosen = read_likelihoods(job.folder, options, inputs.outliers, seed, workers)
    data = replace(data, images=inputs.images_of(chosen))
    with show_progress("density") as progress:
        density = fit_density(
            data,
            inputs.groups[chosen, 1],
            most=options.gaussians,
            seed=seed,
            progress=progress,
            check=flags.deadline.check,
        )
    states = find_states(density, depth=options.depth, seed=seed)
    _say(data.dimensions, density, len(states), options)
    discreteness = points_or_continuum(
        data, inputs.groups[chosen, 1], density, seed=seed, check=flags.deadline.check
    )
    logger.info("%s", discreteness.sentence)
    outputs = [
        write_csv(job.folder / DISCRETE_CSV, discreteness.columns),
        _write_arrays(job.folder / DENSITY_NPZ, density),
        _write_gaussians(job.folder / GAUSSIANS_CSV, density),
        _write_states(job.folder / STATES_CSV, states),
        _write_basins(job.folder / BASINS_NPZ, states),
    ]
    path = None
    ends = path_ends(options, density, states, seed=seed)
    if ends is None:
        logger.info("one state: no path without --start and --end")
    else:
        with show_progress("path", foresees=False) as progress:
            path = density_path(
                density,
                lowest_route(density, ends, seed=seed),
                images=options.images,
                depth=options.depth,
                particles=(data, inputs.groups[chosen, 1]),
                progress=progress,
                check=flags.deadline.check,
            )
        outputs += _write_path(job.folder, path)
        if options.path_volumes:
            outputs += write_path_volumes(
                job.folder, inputs, path.path.images, options.path_volumes
            )
    barriers = [] if path is None else [one.forward for one, _, _ in path.barriers]
    job.note(
        dimensions=data.dimensions, gaussians=density.gaussians, density_states=len(states),
        gain_over_one_gaussian=density.gain, barriers=barriers, discreteness=discreteness.sentence,
        verdict=discreteness.verdict,
    )  # fmt: skip
    outputs += draw(job.folder, density, states, path)
    job.complete("density", outputs)


def _say(dimensions: int, density: Density, states: int, options: DensityOptions) -> None:
    logger.info(
        "density over %s: %s, held-out log-likelihood gain over one %.4f nats "
        "per particle; %s at least %g kT deep",
        plural(dimensions, "component"), plural(density.gaussians, "Gaussian"), density.gain,
        plural(states, "state"), options.depth,
    )  # fmt: skip
    if density.gaussians == options.gaussians < MOST_GAUSSIANS:
        logger.warning(
            "held-out particles ask for as many Gaussians as are tried: with too few, barriers are "
            "off; try --gaussians %d", min(options.gaussians + 4, MOST_GAUSSIANS),
        )  # fmt: skip


def read_likelihoods(
    folder: Path, options: DensityOptions, outliers: Array, seed: int, workers: int
) -> tuple[Likelihoods, Array]:
    """What data say of the first components of some particles, and which these are; no junk."""
    coordinates = files.load_array(folder / COORDINATES, ndim=2, memory_map=True)
    covariances = files.load_array(folder / COVARIANCES, ndim=2, memory_map=True)
    count, q = coordinates.shape
    d = min(options.dimensions or 2, q)
    if options.dimensions is not None and d < options.dimensions:
        raise InputError(
            f"--dimensions {options.dimensions}: held-out particles support {q} component"
            f"{'s' * (q != 1)} only; take --dimensions {q}"
        )
    chosen = np.setdiff1d(np.arange(count), outliers)
    if len(chosen) > options.density_particles:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(chosen, options.density_particles, replace=False))
    own = unpacked(covariances[chosen].astype(np.float64), q)[:, :d, :d]
    projected, information = likelihood_of(coordinates[chosen, :d], own)
    return Likelihoods(projected, np.ascontiguousarray(information), workers), chosen


def path_ends(
    options: DensityOptions, density: Density, states: DensityStates, *, seed: int
) -> Array | None:
    """Start and end (2, d) of the path; None where there is one state and no end was given."""
    if options.start is not None and options.end is not None:
        return np.array(
            [_end("--start", options.start, states), _end("--end", options.end, states)]
        )
    if len(states) < 2:
        return None
    return states.minima[list(farthest_along(density, states.minima, seed=seed))]


def _end(option: str, text: str, states: DensityStates) -> Array:
    """Coordinates that an end names."""
    d = states.minima.shape[1]
    if text.isdecimal():
        if not 1 <= int(text) <= len(states):
            raise InputError(
                f"{option} {text}: the density has states 1 to {len(states)} "
                f"({STATES_CSV}); take one of them, or coordinates"
            )
        return np.asarray(states.minima[int(text) - 1])
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError as error:
        raise InputError(f"{option} {text}: neither a state nor numbers with commas") from error
    if len(values) != d or not np.isfinite(values).all():
        raise InputError(f"{option} {text}: the density has {d} dimensions; give as many numbers")
    return values


def _write_arrays(path: Path, density: Density) -> Path:
    """The mixture, and those without each group as ``proportions_1`` ..."""
    arrays: dict[str, Array] = {}
    for number, one in enumerate((density.mixture, *density.replicates)):
        end = f"_{number}" if number else ""
        arrays |= {
            f"proportions{end}": one.proportions,
            f"means{end}": one.means,
            f"covariances{end}": one.covariances,
        }
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **({"table": density.table} | arrays))  # type: ignore[arg-type]
    return path


def _write_gaussians(path: Path, density: Density) -> Path:
    columns = ("gaussians", "heldout_gain_nats", "error_of_difference", "weight")
    table = dict(zip(columns, density.table.T, strict=True))
    table["gaussians"] = table["gaussians"].astype(int)
    return write_csv(path, table)


def _coordinate_columns(points: Array) -> dict[str, Array]:
    return {f"z{axis}": column for axis, column in enumerate(points.T, 1)}


def _write_states(path: Path, states: DensityStates) -> Path:
    columns = {"state": np.arange(1, len(states) + 1)} | _coordinate_columns(states.minima)
    columns |= {
        "energy_kt": states.energies,
        "energy_error_kt": states.energy_errors,
        "population": states.populations,
        "population_error": states.population_errors,
    }
    return write_csv(path, columns)


def _write_basins(path: Path, states: DensityStates) -> Path:
    """Points of the density, the share of the particles of each, and its state."""
    arrays = {"points": states.points, "shares": states.shares, "states": states.labels + 1}
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    return path


def _write_path(folder: Path, whole_path: DensityPath) -> list[Path]:
    path = whole_path.path
    if not path.converged:
        logger.warning(
            "path: NOT converged after %d steps, displacement %.1e", path.iterations,
            path.displacement,
        )  # fmt: skip
    columns = {"length": arc_lengths(path.images)} | _coordinate_columns(path.images)
    columns |= {"energy_kt": path.energies, "error_kt": whole_path.errors}
    barriers = whole_path.barriers
    rows: dict[str, Array] = {
        "start": np.array([one.start for one, _, _ in barriers]),
        "top": np.array([one.top for one, _, _ in barriers]),
        "end": np.array([one.end for one, _, _ in barriers]),
    }
    rows |= _coordinate_columns(
        np.array([one.place for one, _, _ in barriers]).reshape(-1, path.images.shape[1])
    )
    for name, place in (("forward", 1), ("backward", 2)):
        for what in ("value", "low", "high"):
            rows[f"{name}_{what}_kt"] = np.array([getattr(row[place], what) for row in barriers])
    for one, forward, backward in barriers:
        logger.info(
            "barrier %.2f kT (%.2f to %.2f) forward, %.2f (%.2f to %.2f) backward, 90%% intervals",
            one.forward, forward.low, forward.high, one.backward, backward.low, backward.high,
        )  # fmt: skip
    return [
        files.save_array(folder / files.PATH_NPY, path.images),
        write_csv(folder / PATH_CSV, columns),
        write_csv(folder / BARRIERS_CSV, rows),
    ]
