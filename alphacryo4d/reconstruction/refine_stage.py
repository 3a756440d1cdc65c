"""`vote refine`: RELION's refinement of every state, written as commands or run."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, MissingProgramError, ProgramError
from alphacryo4d.core.job import Job, read_job, start_job
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.particles.copies import half_sets, half_sets_within, image_count, particle_images
from alphacryo4d.particles.origins import SUBSET
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.recorded import recorded_stacks
from alphacryo4d.particles.stacks import KnownStacks
from alphacryo4d.reconstruction.options import RefineOptions, chosen_states
from alphacryo4d.reconstruction.refine_script import refine_script
from alphacryo4d.reconstruction.stage import source_particles
from alphacryo4d.relion.commands import Alignment, consensus_command
from alphacryo4d.relion.launching import relion_lines, run_relion
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.relion.preflight import check_particles, image_root, name_from
from alphacryo4d.relion.version import Version, installed_version
from alphacryo4d.voting.output_stage import state_table
from alphacryo4d.voting.recorded_stage import resample_of, symmetry_of

logger = logging.getLogger(__name__)

COMMANDS, REFINE_SH = "commands.txt", "refine.sh"
ASSUMED = Version(3, 1, 3)


def run_refine(
    folder: Path,
    output: Path,
    *,
    options: RefineOptions | None = None,
    seed: int = 0,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Write, and with ``engine`` relion run, the refinement of every state.

    Parameters
    ----------
    folder, output : Path
        Voting folder with ``class001.star`` and ``class001.mrc`` ...; a state is refined in
        ``class001/`` of the output folder.
    options : RefineOptions, optional
    seed, gpu : int, str
        Random seed of RELION, GPU ids.
    flags : RunFlags, optional
        Threads are those of each MPI rank.

    Returns
    -------
    list of Path
        Tables where half-sets were made, ``commands.txt``, ``refine.sh``, and the refined maps.
    """
    options = options or RefineOptions()
    options = dataclasses.replace(options, symmetry=symmetry_of(folder, options.symmetry))
    states = refinable_states(folder, options.states)
    tables = [state_table(folder, state) for state in states]
    with start_job(
        output, stage="refine", options={"refine": options}, inputs=tables, seed=seed,
        flags=flags, in_place=True,
    ) as job:  # fmt: skip
        if job.finished:
            return job.outputs
        wanted = _write_commands(job, folder, output, states, options, seed, flags.threads, gpu)
        if options.engine == "relion":
            _run_states(job, output, wanted)
        return job.outputs


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Commands and tables by state, the folder that RELION starts from, and its version."""

    commands: dict[int, list[str]]
    tables: dict[int, Path]
    root: Path
    version: Version
    known: KnownStacks | None


def _run_states(job: Job, output: Path, wanted: _Wanted) -> None:
    """Run RELION for every state that has no map yet."""
    for state, table in wanted.tables.items():
        step = f"class{state:03d}"
        if job.completed(step):
            continue
        place = output / step
        place.mkdir(exist_ok=True)
        check_particles(table, version=wanted.version, stacks_of=wanted.known)
        logger.info("refinement of state %d", state)
        log = (place / "run.log").absolute()
        run_relion(wanted.commands[state], log=log, folder=wanted.root)
        job.complete(step, [finished_map(place)])


def _write_commands(
    job: Job,
    folder: Path,
    output: Path,
    states: list[int],
    options: RefineOptions,
    seed: int,
    threads: int | None,
    gpu: str | None,
) -> _Wanted:
    """Tables with their half-sets, ``commands.txt`` and ``refine.sh``."""
    try:
        version = installed_version()
    except MissingProgramError:
        if options.engine == "relion":
            raise
        version = ASSUMED
    tables, policy, written = _tables(folder, output, states, options, seed)
    root = image_root(source_particles(folder, state_table(folder, states[0])))
    commands = {
        state: state_command(folder, output, state, tables[state], root, options, version, seed,
                             threads, gpu)
        for state in states
    }  # fmt: skip
    script = refine_script(
        commands,
        {state: name_from(root, output / f"class{state:03d}") for state in states},
        root=root,
        output=output,
        policy=policy,
        seed=seed,
        version=str(version),
    )
    written.append(files.write_text(output / COMMANDS, relion_lines(commands.values())))
    path = files.write_text(output / REFINE_SH, script)
    path.chmod(path.stat().st_mode | 0o111)
    written.append(path)
    logger.info("run %s; it starts RELION from %s", path, root)
    job.complete("commands", written)
    resample = resample_of(folder)
    known = None if resample is None else recorded_stacks(resample, tables[states[0]])
    return _Wanted(commands, tables, root, version, known)


def _tables(
    folder: Path, output: Path, states: list[int], options: RefineOptions, seed: int
) -> tuple[dict[int, Path], str, list[Path]]:
    """Table of every state with its half-sets, the policy of these, and tables that were made."""
    tables, policy, written = {}, "kept", []
    whole: ParticleSet | None = None
    for state in states:
        particles = source_particles(folder, state_table(folder, state))
        tables[state] = particles.path
        if options.half_sets == "fresh" or particles.random_subset is None:
            policy = "fresh" if options.half_sets == "fresh" else "own"
            tables[state] = state_table(output, state)
            whole = whole or source_particles(folder)
            written.append(_with_half_sets(particles, whole, tables[state], policy, seed))
        else:
            half_sets(particles)  # refuses copies of an image in both half-sets
    if policy == "kept" and _moved_poses(folder):
        policy = "seen"
    return tables, policy, written


def _moved_poses(folder: Path) -> bool:
    """Whether the tables of the states have poses that a reclassification found."""
    options = (read_job(folder) or {}).get("options", {}).get("reclassify")
    return isinstance(options, dict) and bool(options.get("write_poses"))


def _with_half_sets(
    particles: ParticleSet, whole: ParticleSet, path: Path, policy: str, seed: int
) -> Path:
    """Table of a state with half-sets; those that it had are kept under another name.

    Beside a fresh split these are the halves that the state's half maps were made of: those of all
    particles of the voting folder, ``whole``.
    """
    if policy == "fresh":
        ids = particle_images(particles)
        images = image_count(ids)
        split = np.arange(images) % 2
        mine = np.random.default_rng([seed, 1]).permutation(split)[ids]
    else:
        mine = half_sets_within(particles, whole)
    return particles.table.write_with_columns(path, {SUBSET: mine.astype(np.int32) + 1})


def refinable_states(folder: Path, wanted: str) -> list[int]:
    """States of a voting folder that have a table and a reference."""
    available = sorted(int(path.stem[5:]) for path in folder.glob("class[0-9][0-9][0-9].star"))
    states = available if wanted == "all" else chosen_states(wanted)
    for state in states:
        table = state_table(folder, state)
        if not table.is_file():
            named = ", ".join(map(str, available)) or "none"
            raise InputError(f"{table}: no such file; the states with particles are: {named}")
        reference = state_table(folder, state, ".mrc")
        if not reference.is_file():
            raise InputError(
                f"{reference}: no such file; make it with `vote reconstruct --i {folder} "
                f"--o {folder}`, or run `vote` with --reconstruct"
            )
    if not states:
        raise InputError(f"{folder}: no class001.star or others; run `alphacryo4d vote` first")
    return states


def state_command(
    folder: Path,
    output: Path,
    state: int,
    table: Path,
    root: Path,
    options: RefineOptions,
    version: Version,
    seed: int,
    threads: int | None,
    gpu: str | None,
) -> list[str]:
    """``relion_refine_mpi`` with independent half-sets, local searches around the poses."""
    run = Alignment(
        table=name_from(root, table),
        root=name_from(root, output / f"class{state:03d}" / "run"),
        reference=name_from(root, state_table(folder, state, ".mrc")),
        ranks=options.ranks,
        threads=threads or 1,
        gpu=gpu,
        seed=seed,
    )
    alignment = ConsensusOptions(
        initial_lowpass=options.initial_lowpass,
        healpix_order=options.healpix_order,
        offset_range=options.offset_range,
        particle_diameter=options.particle_diameter,
        mask=None if options.mask is None else name_from(root, options.mask),
    )
    relion = RelionOptions(
        symmetry=options.symmetry or "C1",
        mpi_launcher=options.mpi_launcher,
        relion_args=options.relion_args,
    )
    return consensus_command(run, alignment, relion, version=version)


def finished_map(place: Path) -> Path:
    """Map of a refinement that ended well: ``run_class001.mrc``, finite."""
    path = place / "run_class001.mrc"
    try:
        read_volume(path)
    except InputError as error:
        raise ProgramError(
            f"RELION ended with exit code 0, but its map is no use: {error}; see {place}/run.log"
        ) from error
    return path
