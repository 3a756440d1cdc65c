"""Reconstruction of every state with half maps, FSC and difference maps."""

from __future__ import annotations

import dataclasses
import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import recorded_inputs, start_job
from alphacryo4d.core.progress import Progress, no_progress, show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.maths.fsc import difference_map
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.reconstruction.map_stage import StateImages, reconstruct_state, rounded
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.voting.output_stage import input_particles, state_table
from alphacryo4d.voting.recorded_stage import (
    read_mask,
    recorded_of,
    resample_of,
    symmetry_of,
)

logger = logging.getLogger(__name__)

OPTIMISTIC = (
    "These FSC curves are optimistic: the classification that chose the particles saw both "
    "halves. Refine a state with independent halves (vote refine) for a resolution to report."
)


def run_reconstruct(
    folder: Path,
    output: Path,
    *,
    options: ReconstructOptions | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Reconstruct the states of a voting folder into a folder of its own.

    The stacks are inputs as the tables are: one with another content makes the maps again, or is
    refused where it is not that of the resampling.

    Parameters
    ----------
    folder : Path
        Folder with ``particles.star`` of `vote`, `vote count`, `nearest` or `reclassify`.
    output : Path
        Output folder.
    options : ReconstructOptions, optional
    flags : RunFlags, optional
    """
    options = options or ReconstructOptions()
    options = dataclasses.replace(options, symmetry=symmetry_of(folder, options.symmetry))
    particles = source_particles(folder)
    inputs = [folder / files.PARTICLES_STAR, *([options.mask] if options.mask else [])]
    inputs += particles.stacks
    recorded = {"reconstruct": options}
    with start_job(
        output,
        stage="reconstruct",
        options=recorded,
        inputs=inputs,
        flags=flags,
    ) as job:
        if job.finished:
            return job.outputs
        outputs = reconstruct_states(
            folder, job.folder, options=options, threads=flags.threads, particles=particles
        )
        job.complete("reconstruct", outputs)
        return job.outputs


def source_table(folder: Path) -> Path:
    """Table whose rows, in order, are those of a voting folder; its image names hold there."""
    for path in recorded_inputs(folder)[:1]:
        if path.is_file() and path.suffix.lower() in (".star", ".cs"):
            return path
    return folder / files.PARTICLES_STAR


def source_particles(folder: Path, table: Path | None = None) -> ParticleSet:
    """Particles of a voting folder, or of one of its tables, with their images.

    The images are where the record of the resampling behind the folder has them.
    """
    resample = resample_of(folder)
    path = source_table(folder) if table is None else table
    return read_particles(path) if resample is None else input_particles(resample, path)


def reconstruct_states(
    folder: Path,
    output: Path,
    *,
    options: ReconstructOptions | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
    particles: ParticleSet | None = None,
) -> list[Path]:
    """Write map, half maps and FSC of every state; returns the paths.

    The particles are those of the folder unless they are given.
    """
    options = options or ReconstructOptions()
    recorded = recorded_of(folder).with_symmetry(options.symmetry)
    states = open_table(folder / files.PARTICLES_STAR).read(["rlnClassNumber"])["rlnClassNumber"]
    particles = recorded.on_grid(source_particles(folder) if particles is None else particles)
    if len(particles) != len(states):
        raise InputError(
            f"{particles.table.path}: has {len(particles)} particles, but "
            f"{folder / files.PARTICLES_STAR} has {len(states)}"
        )
    mask = None if options.mask is None else read_mask(options.mask, particles)
    numbers = [int(k) for k in np.unique(states) if k > 0]
    if options.difference_to is not None and options.difference_to not in numbers:
        raise UsageError(f"--difference-to {options.difference_to}: no such state with particles")
    if recorded.symmetry != "C1":
        logger.info("maps of the point group %s", recorded.symmetry)
    source = StateImages(particles, states, recorded, options.memory / 2, output, threads)
    made: list[tuple[dict[str, Any], list[Path]]] = []
    # One state is reconstructed while the images of the next are read.
    with show_progress("reconstruct states") as shown, ThreadPoolExecutor(1) as behind:
        running: Future[tuple[dict[str, Any], list[Path]]] | None = None
        for done, state in enumerate(numbers):
            shown(done, len(numbers), f"state {state}")
            progress(done, len(numbers))
            entry, read = source.read(state)
            if running is not None:
                made.append(running.result())
            running = behind.submit(reconstruct_state, entry, read, mask, output, options, threads)
        if running is not None:
            made.append(running.result())
        shown(len(numbers), len(numbers))
    entries = [entry for entry, _ in made]
    outputs = [path for _, paths in made for path in paths]
    if options.difference_to is not None:
        outputs += _differences(output, entries, options.difference_to)
    split = "a fixed random split" if particles.random_subset is None else "rlnRandomSubset"
    report = {
        "halves": split,
        "symmetry": recorded.symmetry,
        "note": OPTIMISTIC,
        "states": entries,
    }
    outputs.append(
        files.write_text(output / files.RECONSTRUCTION_JSON, json.dumps(report, indent=1) + "\n")
    )
    logger.info("%s", OPTIMISTIC)
    return outputs


def _differences(output: Path, entries: list[dict[str, Any]], reference: int) -> list[Path]:
    known = {entry["state"]: entry for entry in entries if "resolution_unmasked" in entry}
    if reference not in known:
        return []
    base, voxel = read_volume(state_table(output, reference, ".mrc"))
    coarsest = base.shape[0] * voxel
    paths = []
    for state, entry in known.items():
        if state == reference:
            continue
        volume, _ = read_volume(state_table(output, state, ".mrc"))
        limit = max(known[k]["resolution_masked"] or coarsest for k in (state, reference))
        difference = difference_map(volume, base, limit, voxel)
        path = output / f"class{state:03d}_minus_class{reference:03d}.mrc"
        paths.append(write_volume(path, difference, voxel))
        entry |= {"difference_to": reference, "difference_resolution": rounded(limit)}
    return paths
