"""The landscape stage: files in, files out."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d import files
from alphacryo4d.errors import InputError
from alphacryo4d.job import Job, start_job
from alphacryo4d.landscape import plots
from alphacryo4d.landscape.distances import low_pass_coefficients, squared_distances
from alphacryo4d.landscape.embedding import embed
from alphacryo4d.landscape.energy import density_energy, energy_error, free_energy
from alphacryo4d.landscape.find_stage import Evidence, Landscape, find_states, write_states
from alphacryo4d.landscape.inputs_stage import (
    StageInputs,
    VolumeTable,
    read_inputs,
)
from alphacryo4d.landscape.kernel_surface import kernel_surface
from alphacryo4d.landscape.options import (
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.string_method import EnergyPath, minimum_energy_path
from alphacryo4d.landscape.surface import Surface, triangulated_surface
from alphacryo4d.progress import show_progress

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)

DISTANCES_NPY = "distances.npy"


def run_landscape(
    resample: Path,
    features: Path | None,
    output: Path,
    *,
    options: LandscapeOptions | None = None,
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Run the whole stage.

    Parameters
    ----------
    resample : Path
        Folder of the resample stage.
    features : Path, optional
        Folder of the deepfeature stage (or its ``features.npy``); volumes alone without it.
    output : Path
        Folder for the landscape.
    options : LandscapeOptions, optional
        Options of all steps.
    seed : int
        Random seed.
    threads : int, optional
        Threads of the distance step; they change no result.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.

    Returns
    -------
    list of Path
        Main outputs.
    """
    options = options or LandscapeOptions()
    inputs = read_inputs(resample, features)
    extra = _centers_file(options.states)
    with start_job(
        output,
        stage="landscape",
        options=dataclasses.asdict(options),
        inputs=[*inputs.paths, *extra],
        seed=seed,
        overwrite=overwrite,
        resume=resume,
    ) as job:
        if not job.finished:
            distances, embedding = embed_step(job, inputs, options.embed, seed, threads)
            landscape = energy_step(job, embedding, inputs.table, options.energy)
            evidence = Evidence(distances, inputs.assignments)
            finish(job, landscape, options, evidence, inputs.table.names, seed)
        return job.outputs


def _centers_file(options: StatesOptions) -> list[Path]:
    named = options.centers not in ("volumes", "path", "minima")
    return [Path(options.centers)] if named else []


def embed_step(
    job: Job, inputs: StageInputs, options: EmbedOptions, seed: int, threads: int | None
) -> tuple[Array, Array]:
    """Distances and embedding; read back where an earlier run has made them."""
    from threadpoolctl import threadpool_limits

    paths = [job.folder / DISTANCES_NPY, job.folder / files.EMBEDDING_NPY]
    if job.completed("embed"):
        return files.load_array(paths[0]), files.load_array(paths[1], ndim=2)
    parts = [inputs.volumes] if inputs.features is None else [inputs.volumes, inputs.features]
    if options.low_pass is not None:
        voxel_size = inputs.table.voxel_size
        parts[0] = low_pass_coefficients(inputs.volumes, voxel_size, options.low_pass)
    with show_progress("distances") as progress, threadpool_limits(limits=threads):
        distances = squared_distances(
            parts,
            standardize=options.low_pass is None,
            memory=options.memory,
            progress=progress,
        )
    embedding = embed(distances, options, seed=seed)
    files.save_array(paths[0], distances)
    files.save_array(paths[1], embedding)
    job.complete("embed", paths)
    return distances, embedding


def energy_step(
    job: Job, embedding: Array, table: VolumeTable, options: EnergyOptions
) -> Landscape:
    """Energies and their errors."""
    landscape = landscape_of(embedding, table.counts, table.fold_numbers, options)
    job.complete("energy", write_energies(job, landscape))
    return landscape


def write_energies(job: Job, landscape: Landscape) -> list[Path]:
    """Write ``energy.npy`` and ``energy_error.npy``."""
    return [
        files.save_array(job.folder / files.ENERGY_NPY, landscape.energies),
        files.save_array(job.folder / files.ENERGY_ERROR_NPY, landscape.errors),
    ]


def landscape_of(
    embedding: Array, counts: Array, folds: Array, options: EnergyOptions
) -> Landscape:
    """Energies, errors and the surface of an embedding."""
    points = np.asarray(embedding, np.float64)
    energies = free_energy(counts)
    shown = energies if options.energy_from == "class" else density_energy(points, counts)
    surface: Surface = (
        kernel_surface(points, counts)
        if options.interpolate == "kernel"
        else triangulated_surface(points, shown, kind=options.interpolate)
    )
    errors = energy_error(points, counts, folds)
    return Landscape(points, np.asarray(counts, np.float64), folds, energies, errors, surface)


def finish(
    job: Job,
    landscape: Landscape,
    options: LandscapeOptions,
    evidence: Evidence,
    names: Array | None,
    seed: int,
) -> None:
    """Path, states and figures."""
    path = None
    if options.path.wanted or options.states.centers == "path":
        path = path_step(job, landscape, options.path, names)
    found = find_states(landscape, options.states, path, evidence, seed)
    write_states(job, found)
    columns = [("State", found.volumes, "category"), *columns_of(landscape)]
    draw(job, landscape, options.path, path, found, columns)


def columns_of(landscape: Landscape) -> list[tuple[str, Array, str]]:
    """What the embedding is coloured by: title, values, kind."""
    return [
        ("Energy (kT)", landscape.energies, "number"),
        ("Particles", landscape.counts, "number"),
        ("Fold", landscape.folds, "category"),
    ]


def path_ends(landscape: Landscape, options: PathOptions, names: Array | None) -> Array:
    """Start, points to pass and end (P, 2); the two ends of the embedding where none are given.

    Without a start or end the two volumes furthest apart among the half of lowest energy.
    """
    low = np.flatnonzero(landscape.energies <= np.median(landscape.energies))
    points = landscape.embedding[low]
    between = ((points[:, None] - points[None]) ** 2).sum(2)
    first, last = np.unravel_index(between.argmax(), between.shape)
    start = _end(options.start, options.start_volume, points[first], landscape, names)
    end = _end(options.end, options.end_volume, points[last], landscape, names)
    return np.array([start, *options.via, end], np.float64)


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
        logger.info("path: end chosen at %.2f %.2f", *default)
        return default
    if names is None or volume not in names:
        raise InputError(f"volume {volume} is not in volumes.star; take a name from there")
    chosen: Array = landscape.embedding[names.tolist().index(volume)]
    return chosen


def path_step(
    job: Job, landscape: Landscape, options: PathOptions, names: Array | None
) -> EnergyPath:
    """Find the path, write it and report how it converged."""
    points = path_ends(landscape, options, names)
    with show_progress("path") as progress:
        path = minimum_energy_path(landscape.surface, points, options, progress=progress)
    log = logger.info if path.converged else logger.warning
    log(
        "path: %s after %d steps, displacement %.2e, residual %.2e kT per unit, %d images were "
        "brought back to the surface",
        "converged" if path.converged else "NOT converged",
        path.iterations,
        path.displacement,
        path.residual,
        path.returned,
    )
    job.note(
        path={
            "converged": path.converged,
            "iterations": path.iterations,
            "displacement": path.displacement,
            "residual": path.residual,
            "returned": path.returned,
        }
    )
    written = files.save_array(job.folder / files.PATH_NPY, path.images)
    job.complete("path", [written])
    return path


def draw(
    job: Job,
    landscape: Landscape,
    options: PathOptions,
    path: EnergyPath | None,
    found: States | None,
    columns: list[tuple[str, Array, str]],
) -> None:
    """Figures of the stage."""
    folder, extent = job.folder, options.range
    drawn = plots.draw_landscape(
        [folder / "landscape.png", folder / "landscape.pdf"],
        landscape.embedding,
        landscape.energies,
        landscape.surface,
        path=path,
        states=found,
        extent=extent,
    )
    drawn += plots.draw_embedding(
        [folder / "embedding.png", folder / "embedding.pdf"],
        landscape.embedding,
        columns,
        extent=extent,
    )
    if path is not None:
        drawn += plots.draw_path([folder / "path.png", folder / "path.pdf"], path, states=found)
    job.complete("figures", drawn)
