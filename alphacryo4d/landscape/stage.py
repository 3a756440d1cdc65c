"""The landscape stage: files in, files out."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job, Step, Work, start_work
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.landscape import curves_stage
from alphacryo4d.landscape.distances import low_pass_coefficients, squared_distances
from alphacryo4d.landscape.embedding import embed
from alphacryo4d.landscape.figures_stage import colourings, draw, draw_energies
from alphacryo4d.landscape.find_stage import Evidence, find_states, write_states
from alphacryo4d.landscape.inputs_stage import (
    StageInputs,
    VolumeTable,
    read_inputs,
)
from alphacryo4d.landscape.options import (
    CENTERS,
    DENSITY,
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    StatesOptions,
)
from alphacryo4d.landscape.particle_basins_stage import basin_files, evidence_of
from alphacryo4d.landscape.path_stage import path_step
from alphacryo4d.landscape.plane import Landscape, landscape_of
from alphacryo4d.landscape.space_stage import space_step
from alphacryo4d.landscape.stability import stability
from alphacryo4d.landscape.tables_stage import write_csv

logger = logging.getLogger(__name__)

DISTANCES_NPY = "distances.npy"
_STEPS = (
    Step("embed", ("embed.*", "!embed.stability", "!embed.dimensions", "seed")),
    Step("stability", ("embed.stability",), (), after=("embed",)),
    Step("energy", ("energy.*",), (), after=("embed",)),
    Step("energies", (), (), after=("energy",)),
    Step("path", ("path.*", "!path.range", "seed"), (), after=("energy",)),
    Step("states", ("states.*", "seed"), ("*",), after=("path",)),
    Step("figures", ("path.range",), (), after=("states",)),
    Step("space", ("embed.dimensions",), (), after=("states",)),
)


def run_landscape(
    resample: Path,
    features: Path | None,
    output: Path,
    *,
    options: LandscapeOptions | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
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
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        Main outputs.
    """
    options = options or LandscapeOptions()
    inputs = read_inputs(resample, features)
    paths = (*inputs.paths, *basin_files(resample, options.states))
    work = landscape_work(paths, options, seed)
    with start_work(output, work, flags=flags) as job:
        if not job.finished:
            distances, embedding = embed_step(job, inputs, options.embed, seed, flags.threads)
            if options.embed.stability and not job.completed("stability"):
                stability_step(job, distances, embedding, options.embed)
            landscape = energy_step(job, embedding, inputs.table, options.energy)
            evidence = evidence_of(distances, inputs, resample, options.states)
            finish(job, landscape, options, evidence, inputs.table, seed)
        return job.outputs


def landscape_work(inputs: tuple[Path, ...], options: LandscapeOptions, seed: int = 0) -> Work:
    """Graph of the stage: embedding, energy, path, states, figures.

    Parameters
    ----------
    inputs : tuple of Path
        Files of the stages before.
    options : LandscapeOptions
    seed : int
    """
    sections = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    paths = (*inputs, *centers_file(options.states))
    steps: tuple[Step, ...] = _STEPS
    if not options.path.path:  # then it depends on the rule of the states whether there is one
        last = Step("path", ("path.*", "states.centers", "seed"), (), after=("energy",))
        steps = tuple(last if step.name == "path" else step for step in _STEPS)
    return Work(files.LANDSCAPE, sections, paths, seed, steps)


def centers_file(options: StatesOptions) -> list[Path]:
    """The file of centers, where the states come from one."""
    named = options.centers not in (*CENTERS, DENSITY)
    return [Path(options.centers)] if named else []


def embed_step(
    job: Job,
    inputs: StageInputs,
    options: EmbedOptions,
    seed: int,
    threads: int | None,
    *,
    given: Array | None = None,
) -> tuple[Array, Array]:
    """Distances and embedding; read back where an earlier run has made them.

    An embedding (V, 2) that is ``given`` is returned in the place of one by t-SNE.
    """
    from threadpoolctl import threadpool_limits

    paths = [job.folder / DISTANCES_NPY, job.folder / files.EMBEDDING_NPY]
    if job.completed("embed"):
        kept = files.load_array(paths[1], ndim=2) if given is None else given
        return files.load_array(paths[0]), kept
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
    files.save_array(paths[0], distances)
    if given is not None:
        job.complete("embed", paths[:1])
        return distances, given
    embedding = embed(distances, options, seed=seed)
    files.save_array(paths[1], embedding)
    job.complete("embed", paths)
    return distances, embedding


def stability_step(job: Job, distances: Array, embedding: Array, options: EmbedOptions) -> None:
    """Embeddings with other seeds and perplexities: figure and numbers."""
    reference = np.asarray(embedding, np.float64)
    with show_progress("stability") as progress:
        variants = stability(distances, reference, options, progress=progress)
    figure = curves_stage.draw_stability(
        [job.folder / "stability.png", job.folder / "stability.pdf"], reference, variants
    )
    columns = {
        "seed": np.array([v.seed for v in variants]),
        "perplexity": np.array([v.perplexity for v in variants]),
        "procrustes_disparity": np.array([v.disparity for v in variants]),
        "kept_neighbours": np.array([v.kept_neighbours for v in variants]),
    }
    places = {"rc1": reference[:, 0], "rc2": reference[:, 1]}
    for number, variant in enumerate(variants, 1):
        places |= {f"variant{number}_rc{i + 1}": variant.embedding[:, i] for i in (0, 1)}
    tables = [
        write_csv(job.folder / "stability.csv", columns),
        write_csv(job.folder / "stability_embeddings.csv", places),
    ]
    job.complete("stability", [*figure, *tables])


def energy_step(
    job: Job, embedding: Array, table: VolumeTable, options: EnergyOptions
) -> Landscape:
    """Energies and their errors."""
    landscape = landscape_of(
        embedding, table.counts, table.fold_numbers, options, table.left_out, table.images
    )
    if not job.completed("energy"):
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
    landscape_path = None
    if options.path.path or options.states.centers == "path":
        names = None if table is None else table.names
        landscape_path = path_step(job, landscape, options.path, names, seed)
    path = None if landscape_path is None else landscape_path.path
    states = find_states(landscape, options.states, path, evidence, seed)
    if not job.completed("states"):
        write_states(job, states)
    if not job.completed("energies"):
        draw_energies(job, landscape)
    if not job.completed("figures"):
        draw(job, landscape, options.path, table, landscape_path, states)
    if options.embed.dimensions == 3 and evidence.distances is not None:
        count = len(landscape.counts)
        names = np.arange(1, count + 1) if table is None else table.names
        columns = colourings(landscape, table, states)
        space_step(job, evidence.distances, options.embed, seed, names, columns)
