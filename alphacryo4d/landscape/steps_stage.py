"""Single steps of the stage, on the files of this package or of the authors' prototype."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import Job, start_job
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.landscape import stage
from alphacryo4d.landscape.energy import free_energy
from alphacryo4d.landscape.figures_stage import draw, draw_energies
from alphacryo4d.landscape.find_stage import Evidence
from alphacryo4d.landscape.inputs_stage import (
    VolumeTable,
    read_counted_table,
    read_counts,
    read_embedding,
    read_inputs,
)
from alphacryo4d.landscape.options import DENSITY, EnergyOptions, LandscapeOptions
from alphacryo4d.landscape.particle_basins_stage import basin_files, evidence_of
from alphacryo4d.landscape.plane import Landscape, landscape_of
from alphacryo4d.landscape.space_stage import space_step


def _start(
    output: Path, name: str, options: Any, inputs: Iterable[Path], seed: int, flags: RunFlags
) -> AbstractContextManager[Job]:
    return start_job(
        output,
        stage=f"landscape {name}",
        options=dataclasses.asdict(options),
        inputs=inputs,
        seed=seed,
        flags=flags,
    )


def run_embed(
    output: Path,
    *,
    resample: Path,
    options: LandscapeOptions,
    features: Path | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Distances and embedding alone."""
    inputs = read_inputs(resample, features)
    with _start(output, "embed", options.embed, inputs.paths, seed, flags) as job:
        if not job.finished:
            distances, embedding = stage.embed_step(job, inputs, options.embed, seed, flags.threads)
            if options.embed.stability:
                stage.stability_step(job, distances, embedding, options.embed)
            if options.embed.dimensions == 3:
                table = inputs.table
                columns = [
                    ("Energy (kT)", free_energy(table.counts), "number"),
                    ("Particles", table.counts, "number"),
                    ("Fold", table.fold, "category"),
                ]
                space_step(job, distances, options.embed, seed, table.names, columns)
        return job.outputs


@dataclasses.dataclass(frozen=True)
class _Points:
    """An embedding with its counts and folds, and the files they came from."""

    embedding: Array
    counts: Array
    folds: Array
    table: VolumeTable | None
    paths: tuple[Path, ...]

    def landscape(self, options: EnergyOptions) -> Landscape:
        """Energies and the surface."""
        left_out, images = None, None
        if self.table is not None:
            left_out, images = self.table.left_out, self.table.images
        return landscape_of(self.embedding, self.counts, self.folds, options, left_out, images)


def _points(embedding: Path | None, counts: Path | None, resample: Path | None) -> _Points:
    if embedding is None:
        raise UsageError("--embedding must be given; --help shows all options")
    if counts is None and resample is None:
        raise UsageError("--counts (or --i, the resample folder) must be given")
    points = read_embedding(embedding)
    table, paths = None, [embedding, *([counts] if counts else [])]
    if resample is not None:
        table, more = read_counted_table(resample)
        if len(table.names) != len(points):
            raise InputError(
                f"{embedding}: {len(points)} rows, but {more[0]} has {len(table.names)} volumes"
            )
        paths += more
    if counts is not None:
        values = read_counts(counts, len(points))
    else:
        assert table is not None
        values = table.counts
    folds = np.zeros(len(points), int) if table is None else table.fold_numbers
    return _Points(points, values, folds, table, tuple(paths))


def _keep_embedding(job: Job, path: Path, embedding: Array) -> None:
    """Put the embedding (V, 2) that was given beside its states, as `vote` wants it."""
    if path.resolve() != (job.target / files.EMBEDDING_NPY).resolve():  # else it is the user's own
        kept = files.save_array(job.folder / files.EMBEDDING_NPY, embedding)
        job.complete("embedding", [kept])


def run_energy(
    output: Path,
    *,
    options: LandscapeOptions,
    embedding: Path | None,
    counts: Path | None,
    resample: Path | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Energies, errors and the figure of an embedding."""
    points = _points(embedding, counts, resample)
    with _start(output, "energy", options.energy, points.paths, seed, flags) as job:
        if not job.finished:
            landscape = points.landscape(options.energy)
            job.complete("energy", stage.write_energies(job, landscape))
            draw_energies(job, landscape)
            draw(job, landscape, options.path, points.table, None, None)
        return job.outputs


def run_path(
    output: Path,
    *,
    options: LandscapeOptions,
    embedding: Path | None,
    counts: Path | None,
    resample: Path | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Path and centers along it."""
    return run_states(
        output,
        options=options,
        embedding=embedding,
        counts=counts,
        resample=resample,
        seed=seed,
        flags=flags,
        name="path",
    )


def run_states(
    output: Path,
    *,
    options: LandscapeOptions,
    embedding: Path | None,
    counts: Path | None,
    resample: Path | None = None,
    features: Path | None = None,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
    name: str = "states",
) -> list[Path]:
    """States of an embedding that is there, or made here where ``--i`` is given."""
    inputs = None
    if options.states.centers in ("volumes", DENSITY) and resample is not None:
        inputs = read_inputs(resample, features)
    points = _points(embedding, counts, resample) if embedding or inputs is None else None
    paths = [*(points.paths if points else ()), *(inputs.paths if inputs else ())]
    if inputs is not None and resample is not None:
        paths += basin_files(resample, options.states)
    paths += stage.centers_file(options.states)
    with _start(output, name, options, list(dict.fromkeys(paths)), seed, flags) as job:
        if job.finished:
            return job.outputs
        evidence, given = Evidence(), None if points is None else points.embedding
        if inputs is not None and resample is not None:
            distances, made = stage.embed_step(
                job, inputs, options.embed, seed, flags.threads, given=given
            )
            evidence = evidence_of(distances, inputs, resample, options.states)
            if points is None:
                table = inputs.table
                points = _Points(
                    np.asarray(made, np.float64), table.counts, table.fold_numbers, table, ()
                )
        if embedding is not None and given is not None:
            _keep_embedding(job, embedding, given)
        assert points is not None
        landscape = points.landscape(options.energy)
        stage.finish(job, landscape, options, evidence, points.table, seed)
        return job.outputs
