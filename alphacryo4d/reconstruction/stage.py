"""Reconstruction of every state with half maps, FSC and difference maps."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import recorded_inputs, start_job
from alphacryo4d.core.progress import Progress, no_progress, show_progress
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.maths.contrast import INVERTED, looks_inverted
from alphacryo4d.maths.fsc import Correlation, correlate_halves, difference_map, soft_mask
from alphacryo4d.maths.local_resolution import LOCAL_LIMIT, local_resolution, window_diameter
from alphacryo4d.particles.copies import half_sets
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.voting.output_stage import input_particles, state_table
from alphacryo4d.voting.recorded_stage import (
    Recorded,
    prepare_recorded,
    read_mask,
    recorded_of,
    resample_of,
    symmetry_of,
)

logger = logging.getLogger(__name__)


RECONSTRUCTION_JSON = "reconstruction.json"
OPTIMISTIC = (
    "These FSC curves are optimistic: the classification that chose the particles saw both "
    "halves. Refine a state with independent halves (vote refine) for a resolution to report."
)
_FEWEST = 4


def run_reconstruct(
    folder: Path,
    output: Path,
    *,
    options: ReconstructOptions | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Reconstruct the states of a voting folder into a folder of its own.

    Parameters
    ----------
    folder : Path
        Folder with ``particles.star`` of `vote`, `vote count`, `nearest` or `reclassify`.
    output : Path
        Output folder.
    options : ReconstructOptions, optional
    threads : int, optional
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.
    """
    options = options or ReconstructOptions()
    options = dataclasses.replace(options, symmetry=symmetry_of(folder, options.symmetry))
    inputs = [folder / files.PARTICLES_STAR, *([options.mask] if options.mask else [])]
    recorded = {"reconstruct": options}
    with start_job(
        output,
        stage="reconstruct",
        options=recorded,
        inputs=inputs,
        overwrite=overwrite,
        resume=resume,
    ) as job:
        if job.finished:
            return job.outputs
        outputs = reconstruct_states(folder, job.folder, options=options, threads=threads)
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
) -> list[Path]:
    """Write map, half maps and FSC of every state; returns the paths."""
    options = options or ReconstructOptions()
    recorded = recorded_of(folder).with_symmetry(options.symmetry)
    states = open_table(folder / files.PARTICLES_STAR).read(["rlnClassNumber"])["rlnClassNumber"]
    particles = recorded.on_grid(source_particles(folder))
    if len(particles) != len(states):
        raise InputError(
            f"{particles.table.path}: has {len(particles)} particles, but "
            f"{folder / files.PARTICLES_STAR} has {len(states)}"
        )
    mask = None if options.mask is None else read_mask(options.mask, particles)
    numbers = [int(k) for k in np.unique(states) if k > 0]
    if options.difference_to is not None and options.difference_to not in numbers:
        raise UsageError(f"--difference-to {options.difference_to}: no such state with particles")
    halves = half_sets(particles)
    if recorded.symmetry != "C1":
        logger.info("maps of the point group %s", recorded.symmetry)
    outputs: list[Path] = []
    entries: list[dict[str, Any]] = []
    with show_progress("reconstruct states") as shown:
        for done, state in enumerate(numbers):
            shown(done, len(numbers), f"state {state}")
            progress(done, len(numbers))
            rows = np.flatnonzero(states == state)
            entry, made = _one_state(
                particles, rows, halves[rows], state, output, options, recorded, mask, threads
            )
            entries.append(entry)
            outputs += made
        shown(len(numbers), len(numbers))
    if options.difference_to is not None:
        outputs += _differences(output, entries, options.difference_to)
    source = "a fixed random split" if particles.random_subset is None else "rlnRandomSubset"
    report = {
        "halves": source,
        "symmetry": recorded.symmetry,
        "note": OPTIMISTIC,
        "states": entries,
    }
    outputs.append(
        files.write_text(output / RECONSTRUCTION_JSON, json.dumps(report, indent=1) + "\n")
    )
    logger.info("%s", OPTIMISTIC)
    return outputs


def _one_state(
    particles: ParticleSet,
    rows: Array,
    halves: Array,
    state: int,
    output: Path,
    options: ReconstructOptions,
    recorded: Recorded,
    mask: Array | None,
    threads: int | None,
) -> tuple[dict[str, Any], list[Path]]:
    entry: dict[str, Any] = {"state": state, "particles": len(rows)}
    if min((halves == 0).sum(), (halves == 1).sum()) < _FEWEST:
        logger.info("state %d has %d particles, too few for half maps", state, len(rows))
        return entry | {"note": "too few particles for half maps"}, []
    from alphacryo4d.ml3d.reconstruct import reconstruct

    voxel = particles.pixel_size
    images = prepare_recorded(
        particles,
        rows,
        recorded,
        None,
        threads=threads,
        memory=options.memory,
        scratch=output / ".scratch",
    )
    found = next(iter(reconstruct(images, np.zeros(len(rows), np.int32), halves=halves)))
    del images
    remove_scratch(output / ".scratch")
    if looks_inverted(found.volume):
        entry["inverted"] = True
        logger.warning("state %d: %s", state, INVERTED)
    mask = soft_mask(found.halves.mean(axis=0), voxel) if mask is None else mask
    curves = correlate_halves(found.halves[0], found.halves[1], voxel, mask=mask)
    paths = [
        write_volume(state_table(output, state, ".mrc"), found.volume, voxel),
        write_volume(state_table(output, state, "_half1_unfil.mrc"), found.halves[0], voxel),
        write_volume(state_table(output, state, "_half2_unfil.mrc"), found.halves[1], voxel),
        write_curves(state_table(output, state, "_fsc.csv"), curves),
    ]
    entry |= {
        "resolution_unmasked": _rounded(curves.resolution_unmasked),
        "resolution_masked": _rounded(curves.resolution),
    }
    logger.info(
        "state %d: %d particles, %s A%s (%s A without mask)",
        state,
        len(rows),
        entry["resolution_masked"],
        " or finer, the limit of the pixels" if curves.resolution <= 2 * voxel else "",
        entry["resolution_unmasked"],
    )
    if options.local_resolution:
        local, path = _local_resolution(found.halves, curves, mask, state, output, threads)
        entry["local_resolution"] = local
        paths.append(path)
    return entry, paths


def _local_resolution(
    halves: Array,
    curves: Correlation,
    mask: Array,
    state: int,
    output: Path,
    threads: int | None,
) -> tuple[dict[str, Any], Path]:
    """``class001_locres.mrc``, and what it says inside the mask, in Angstrom."""
    voxel = curves.voxel_size
    window = window_diameter(curves.resolution, len(mask), voxel)
    with show_progress(f"local resolution of state {state}") as progress:
        found = local_resolution(
            halves[0], halves[1], voxel, window=window, threads=threads, progress=progress
        )
    low, middle, high = np.percentile(found[mask > 0.5], [5, 50, 95])
    logger.info(
        "state %d: local resolution %.1f A (5%% of the molecule finer than %.1f A, 5%% coarser "
        "than %.1f A), in windows of %.0f A",
        state, middle, low, high, window,
    )  # fmt: skip
    entry = {
        "median_angstrom": _rounded(middle),
        "percentile_5_angstrom": _rounded(low),
        "percentile_95_angstrom": _rounded(high),
        "window_angstrom": _rounded(window),
        "correlation": LOCAL_LIMIT,
    }
    return entry, write_volume(state_table(output, state, "_locres.mrc"), found, voxel)


def _rounded(value: float) -> float | None:
    return round(value, 2) if np.isfinite(value) else None


def remove_scratch(folder: Path) -> None:
    """Remove the samples that did not fit into memory."""
    for path in folder.glob("*.npy"):
        path.unlink()
    if folder.is_dir():
        folder.rmdir()


def write_curves(path: Path, curves: Correlation) -> Path:
    """FSC curves as CSV: shell, resolution in Angstrom, and the three correlations."""
    lines = ["shell,resolution_angstrom,fsc_unmasked,fsc_masked,fsc_corrected"]
    values = (curves.shell_resolution, curves.unmasked, curves.masked, curves.corrected)
    for shell, (resolution, *row) in enumerate(zip(*values, strict=True)):
        shown = ",".join(f"{value:.6f}" for value in row)
        lines.append(f"{shell},{resolution:.4f},{shown}")
    return files.write_text(path, "\n".join(lines) + "\n")


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
        entry |= {"difference_to": reference, "difference_resolution": _rounded(limit)}
    return paths
