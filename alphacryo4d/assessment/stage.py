"""Simulation as files: conformers in; table, stack, truth and true poses out."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.assessment.conformers import Atoms, Conformer
from alphacryo4d.assessment.conformers_stage import (
    find_conformers,
    is_molecule,
    load_conformers,
)
from alphacryo4d.assessment.junk import coloured_noise, other_molecule, with_junk
from alphacryo4d.assessment.options import DEMO_OPTIONS, SimulateOptions
from alphacryo4d.assessment.simulate import (
    SimulatedTable,
    add_noise,
    draw_table,
    noise_variance,
    population_fractions,
    simulate_rows,
)
from alphacryo4d.assessment.table_stage import write_table
from alphacryo4d.core.errors import ResourceError
from alphacryo4d.core.files import PARTICLES_STAR, new_map, save_array
from alphacryo4d.core.job import start_job
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.core.words import plural
from alphacryo4d.io.mrc import write_stack
from alphacryo4d.maths.threads import thread_count

logger = logging.getLogger(__name__)

STACK, TRUTH_NPY, TRUE_POSES_NPY = "particles.mrcs", "truth.npy", "true_poses.npy"
BLOCK = 256
"""Rows that share one seed of noise; part of what a seed means."""
SCRATCH = ".signal."


@dataclass(frozen=True)
class Plan:
    """What a simulation will write, and how long that takes here."""

    states: int
    particles: int
    bytes_on_disk: int
    seconds: float


def plan_simulation(
    conformers: Sequence[Conformer], options: SimulateOptions, *, threads: int
) -> Plan:
    """Size of a simulation, and its time from a trial of a few particles."""
    particles = len(conformers) * options.particles_per_state
    trial = 48 if isinstance(conformers[0], Atoms) else 256
    few = SimulateOptions(particles_per_state=trial, box=options.box, pixel_size=options.pixel_size)
    table = draw_table(1, few, np.random.default_rng(0))
    begun = time.perf_counter()
    images = simulate_rows(conformers[0], table, np.arange(trial), few)
    add_noise(images, 1.0, [0])
    seconds = (time.perf_counter() - begun) / trial * particles / threads
    return Plan(len(conformers), particles, particles * options.box**2 * 4, seconds)


def run_simulate(
    inputs: Sequence[str],
    output: Path,
    *,
    options: SimulateOptions,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
    progress: Progress = no_progress,
) -> list[Path]:
    """Simulate particles of conformers into a folder.

    Parameters
    ----------
    inputs : sequence of str
        PDB, mmCIF or MRC files, or folders of them, state k being the k-th file; or the name of
        one molecule of :mod:`alphacryo4d.assessment.hinge`.
    output : Path
        Folder for ``particles.star``, ``particles.mrcs``, ``truth.npy`` and ``true_poses.npy``.
    options : SimulateOptions
        The protocol.
    seed : int
        The same seed gives the same files, whatever the threads.
    flags : RunFlags, optional
    progress : Progress
        Callback.

    Returns
    -------
    list of Path
        Table and truth.
    """
    built = is_molecule(inputs)
    paths = [] if built else find_conformers([Path(name) for name in inputs])
    results = [output / PARTICLES_STAR, output / TRUTH_NPY]
    conformers = load_conformers(inputs, box=options.box, pixel_size=options.pixel_size)
    population_fractions(options.populations, len(conformers))  # wrong ones never claim the folder
    with start_job(
        output,
        stage="simulate",
        options={"simulate": options, "molecule": inputs[0] if built else None},
        inputs=paths + options.pose_files,
        seed=seed,
        flags=flags, in_place=True,
    ) as job:  # fmt: skip
        if job.finished:
            return results
        notes = write_simulation(
            conformers, output, options=options, seed=seed,
            threads=thread_count(flags.threads), progress=progress,
        )  # fmt: skip
        job.note(**notes)
        job.add_outputs([output / STACK, *results, output / TRUE_POSES_NPY])
    return results


def simulate_demo(
    folder: Path,
    *,
    seed: int = 0,
    flags: RunFlags = RunFlags(),
    progress: Progress = no_progress,
) -> list[Path]:
    """Simulate the hinge protein at 8 angles: small and easy; for ``alphacryo4d demo``."""
    return run_simulate(
        ["hinge"],
        folder,
        options=DEMO_OPTIONS,
        seed=seed,
        flags=flags,
        progress=progress,
    )


def write_simulation(
    conformers: Sequence[Conformer],
    output: Path,
    *,
    options: SimulateOptions,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Simulate conformers that are in memory; writes the files of :func:`run_simulate`.

    Returns
    -------
    dict
        Particles per state and the variances of signal and noise.
    """
    table = draw_table(len(conformers), options, np.random.default_rng([seed, 0]))
    if options.junk:
        table = with_junk(table, options.junk, np.random.default_rng([seed, 3]))
    for path in options.pose_files:
        from alphacryo4d.assessment.given_poses_stage import with_poses_of

        table = with_poses_of(table, path)
    needed = 2 * len(table) * options.box**2 * 4
    output.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(output).free
    if needed > free:
        raise ResourceError(
            f"{output}: {needed / 2**30:.1f} GiB are needed while working, {free / 2**30:.1f} GiB "
            "are free; take fewer --particles-per-state or another --o"
        )
    for remnant in output.glob(f"{SCRATCH}*"):  # of a run that was killed
        shutil.rmtree(remnant)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=output) as scratch:
        shape = (len(table), options.box, options.box)
        signal = new_map(Path(scratch, "signal.npy"), shape, np.float32)
        with ThreadPoolExecutor(threads) as pool:
            variance = _write_signal(pool, conformers, table, options, signal, progress)
            noise = noise_variance(variance, options)
            _write_stack(pool, signal, output / STACK, noise, options, seed)
        del signal
        if options.poses == "consensus":
            start = (table, options, np.random.default_rng([seed, 2]))
            table = _consensus(output, Path(scratch), *start, threads=threads, progress=progress)
    save_array(output / TRUTH_NPY, table.truth)
    save_array(output / TRUE_POSES_NPY, np.hstack([table.true_angles, table.true_shifts]))
    write_table(output / PARTICLES_STAR, table, options, stack=output / STACK)
    counts = np.bincount(table.truth, minlength=len(conformers) + 1)[1:]
    logger.info("%s: %d particles of %s", output, len(table), plural(len(conformers), "state"))
    return {
        "particles_per_state": counts.tolist(),
        "signal_variance": variance,
        "noise_variance": noise,
    }


def _consensus(
    output: Path,
    scratch: Path,
    table: SimulatedTable,
    options: SimulateOptions,
    rng: np.random.Generator,
    *,
    threads: int,
    progress: Progress,
) -> SimulatedTable:
    """The table with consensus poses; the stack is there."""
    from alphacryo4d.assessment.given_poses_stage import further_from_truth, with_consensus_poses

    start = further_from_truth(table, rng)
    write_table(scratch / PARTICLES_STAR, start, options, stack=output / STACK)
    return with_consensus_poses(
        start, scratch / PARTICLES_STAR, scratch, threads=threads, progress=progress
    )


def _write_signal(
    pool: ThreadPoolExecutor,
    conformers: Sequence[Conformer],
    table: SimulatedTable,
    options: SimulateOptions,
    signal: np.ndarray[Any, Any],
    progress: Progress,
) -> float:
    """Fill the noise-free images, blocks of one conformer at a time; their variance."""
    total = len(table)
    if options.snr == 0:
        return 0.0
    shown = table.truth if table.shown is None else table.shown
    molecules: list[Conformer] = [*conformers, other_molecule(conformers, options)]
    blocks: list[tuple[Conformer, Any]] = []
    for state, molecule in zip([*range(1, len(conformers) + 1), -1], molecules, strict=True):
        rows = np.flatnonzero(shown == state)
        blocks += [(molecule, rows[i : i + BLOCK]) for i in range(0, len(rows), BLOCK)]

    def work(block: tuple[Conformer, Any]) -> tuple[int, float, float]:
        molecule, rows = block
        images = simulate_rows(molecule, table, rows, options)
        signal[rows] = images
        images = images[table.truth[rows] > 0]
        wide = images.astype(np.float64)
        return len(images), float(wide.sum()), float((wide**2).sum())

    done, first, second = 0, 0.0, 0.0
    for count, once, squared in pool.map(work, blocks):
        done, first, second = done + count, first + once, second + squared
        progress(done, total)
    pixels = done * options.box**2
    return second / pixels - (first / pixels) ** 2


def _write_stack(
    pool: ThreadPoolExecutor,
    signal: np.ndarray[Any, Any],
    path: Path,
    noise: float,
    options: SimulateOptions,
    seed: int,
) -> None:
    """Add noise block by block and append to the stack, in order, with bounded memory."""
    deviation = float(np.sqrt(noise))
    coloured = options.noise == "coloured"
    noise_generator = coloured_noise(len(signal), deviation, options, seed) if coloured else None

    def work(start: int) -> np.ndarray[Any, Any]:
        images = signal[start : start + BLOCK]
        if noise_generator is not None:
            return noise_generator.images(np.asarray(images), start)
        if deviation == 0:
            return np.asarray(images)
        return add_noise(images, deviation, (seed, 1, start // BLOCK))

    waiting: list[Future[np.ndarray[Any, Any]]] = []
    with write_stack(path, options.pixel_size) as stack:
        for start in range(0, len(signal), BLOCK):
            waiting.append(pool.submit(work, start))
            if len(waiting) > 8:
                stack.append(waiting.pop(0).result())
        for future in waiting:
            stack.append(future.result())
