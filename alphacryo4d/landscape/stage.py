"""The landscape stage: files in, files out."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d import files
from alphacryo4d.job import Job, start_job
from alphacryo4d.landscape import plots
from alphacryo4d.landscape.distances import low_pass_coefficients, squared_distances
from alphacryo4d.landscape.embedding import embed
from alphacryo4d.landscape.find_stage import (
    Evidence,
    Landscape,
    find_states,
    landscape_of,
    write_states,
)
from alphacryo4d.landscape.inputs_stage import (
    StageInputs,
    VolumeTable,
    read_inputs,
)
from alphacryo4d.landscape.options import (
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)
from alphacryo4d.landscape.path_stage import FoundPath, path_step
from alphacryo4d.landscape.stability import stability
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.tables_stage import write_csv
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
            if options.embed.stability:
                stability_step(job, distances, embedding, options.embed)
            landscape = energy_step(job, embedding, inputs.table, options.energy)
            evidence = Evidence(distances, inputs.assignments)
            finish(job, landscape, options, evidence, inputs.table, seed)
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


def stability_step(job: Job, distances: Array, embedding: Array, options: EmbedOptions) -> None:
    """Embeddings with other seeds and perplexities: figure and numbers."""
    reference = np.asarray(embedding, np.float64)
    with show_progress("stability") as progress:
        variants = stability(distances, reference, options, progress=progress)
    figure = plots.draw_stability(
        [job.folder / "stability.png", job.folder / "stability.pdf"], reference, variants
    )
    columns = {
        "seed": np.array([v.seed for v in variants]),
        "perplexity": np.array([v.perplexity for v in variants]),
        "procrustes_disparity": np.array([v.disparity for v in variants]),
        "kept_neighbours": np.array([v.kept_neighbours for v in variants]),
    }
    job.complete("stability", [*figure, write_csv(job.folder / "stability.csv", columns)])


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


def finish(
    job: Job,
    landscape: Landscape,
    options: LandscapeOptions,
    evidence: Evidence,
    table: VolumeTable | None,
    seed: int,
) -> None:
    """Path, states and figures."""
    found_path = None
    if options.path.path or options.states.centers == "path":
        names = None if table is None else table.names
        found_path = path_step(job, landscape, options.path, names, seed)
    path = None if found_path is None else found_path.path
    found = find_states(landscape, options.states, path, evidence, seed)
    write_states(job, found)
    draw(job, landscape, options.path, table, found_path, found)


def colourings(
    landscape: Landscape, table: VolumeTable | None, found: States | None
) -> list[tuple[str, Array, str]]:
    """What the embedding is coloured by: title, values, kind."""
    columns: list[tuple[str, Array, str]] = [
        ("Energy (kT)", landscape.energies, "number"),
        ("Error of the energy (kT)", landscape.errors, "number"),
        ("Particles", landscape.counts, "number"),
    ]
    if found is not None:
        columns.insert(0, ("State", found.volumes, "category"))
    if table is not None:
        columns.append(("Fold", table.fold, "category"))
        if len(np.unique(table.batch)) > 1:
            columns.append(("Batch", table.batch, "category"))
        if np.isfinite(table.resolution).all():
            columns.append(("Resolution (\u00c5)", table.resolution, "number"))
    return columns


def draw(
    job: Job,
    landscape: Landscape,
    options: PathOptions,
    table: VolumeTable | None,
    found_path: FoundPath | None,
    found: States | None,
) -> None:
    """Figures of the stage, and the data behind each as CSV."""
    folder, extent = job.folder, options.range
    path = None if found_path is None else found_path.path
    drawn = plots.draw_landscape(
        [folder / "landscape.png", folder / "landscape.pdf"],
        landscape.embedding,
        landscape.shown,
        landscape.surface,
        path=path,
        states=found,
        extent=extent,
    )
    columns = colourings(landscape, table, found)
    drawn += plots.draw_embedding(
        [folder / "embedding.png", folder / "embedding.pdf"],
        landscape.embedding,
        columns,
        extent=extent,
    )
    if found_path is not None:
        drawn += plots.draw_path(
            [folder / "path.png", folder / "path.pdf"],
            found_path.path,
            error=found_path.error,
            states=found,
        )
    limits = plots.figure_limits(landscape.embedding, extent)
    x, y, values = plots.surface_grid(landscape.surface, limits, 120)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    shown = np.isfinite(values.ravel())
    drawn.append(
        write_csv(
            folder / "landscape.csv",
            {"rc1": grid[shown, 0], "rc2": grid[shown, 1], "energy_kt": values.ravel()[shown]},
        )
    )
    drawn.append(write_csv(folder / "embedding.csv", _embedding_table(landscape, table, columns)))
    job.complete("figures", drawn)


def _embedding_table(
    landscape: Landscape, table: VolumeTable | None, columns: list[tuple[str, Array, str]]
) -> dict[str, Array]:
    numbers = np.arange(1, len(landscape.counts) + 1)
    data = {"volume": numbers if table is None else table.names}
    data |= {"rc1": landscape.embedding[:, 0], "rc2": landscape.embedding[:, 1]}
    return data | {title.split(" (")[0].lower().replace(" ", "_"): v for title, v, _ in columns}
