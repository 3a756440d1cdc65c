"""``resample consensus``: one pose for every particle, by RELION, or those that are there."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, ProgramError, UsageError
from alphacryo4d.core.job import Job, Work, start_work
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.relion.commands import (
    Alignment,
    consensus_command,
    continue_consensus_command,
)
from alphacryo4d.relion.launching import relion_lines
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.relion.outputs import last_optimiser, with_suffix
from alphacryo4d.relion.preflight import check_map, check_particles, image_root, name_from
from alphacryo4d.relion.running import Runner
from alphacryo4d.relion.version import installed_version
from alphacryo4d.resample.native_consensus_stage import (
    CHECKPOINT,
    align_natively,
    native_plan,
)

logger = logging.getLogger(__name__)

CONSENSUS_STAR = "particles.star"
_BEGUN = "beginning of the refinement"


def choose_ranks(consensus: ConsensusOptions, options: RelionOptions) -> int:
    """MPI ranks: three for auto-refinement, which needs a leader and two half-sets.

    Raises
    ------
    UsageError
        Fewer are asked for.
    """
    ranks = options.ranks or (3 if consensus.relion_models == 1 else 1)
    if consensus.relion_models == 1 and ranks < 3:
        raise UsageError(
            f"--ranks {ranks}: auto-refinement with half-sets needs 3 MPI ranks or more"
        )
    return ranks


def consensus_work(
    table: Path, consensus: ConsensusOptions, relion: RelionOptions, seed: int
) -> Work:
    """What decides the results of an alignment; its faults are raised here."""
    if consensus.engine == "native" and not consensus.keep_poses:
        particles = native_plan(table, consensus, relion).particles
    else:
        if table.suffix.lower() == ".cs" and not consensus.keep_poses:
            raise InputError(
                f"{table}: RELION reads STAR tables alone; take --engine native, or convert it "
                f"first: alphacryo4d convert --i {table} --o {table.stem}.star"
            )
        particles = read_particles(table, need_poses=consensus.keep_poses)
    maps = [path for path in (relion.reference, consensus.mask) if path is not None]
    return Work(
        "consensus",
        {"consensus": asdict(consensus), "relion": asdict(relion)},
        (table, *particles.stacks, *maps),
        seed,
        remnants=(CHECKPOINT,),
    )


def run_consensus(
    table: Path,
    output: Path,
    *,
    consensus: ConsensusOptions,
    relion: RelionOptions,
    seed: int = 0,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Align all particles to one consensus model, or to several coarse ones.

    Parameters
    ----------
    table : Path
        Particle table; poses are needed only where no reference is given.
    output : Path
        Output folder: ``particles.star`` with the poses, the maps, RELION's own files.
    consensus, relion : dataclasses
        The alignment, and how RELION is run.
    seed, gpu : int, str
        Random seed, GPU ids.
    flags : RunFlags, optional
        Threads are those of every rank, one by default.

    Returns
    -------
    list of Path
        ``particles.star`` and the maps.
    """
    work = consensus_work(table, consensus, relion, seed)
    with start_work(output, work, flags=flags, in_place=True) as job:
        if job.finished:
            return job.outputs
        if consensus.keep_poses:
            outputs = _keep(table, output)
        elif consensus.engine == "native":
            outputs = align_natively(table, output, consensus, relion, flags)
        else:
            outputs = _align(table, job, consensus, relion, seed, gpu, flags)
        job.add_outputs(outputs)
        return outputs


def _keep(table: Path, output: Path) -> list[Path]:
    """Accept the poses that are there after a check."""
    particles = read_particles(table)
    if not np.any(particles.angles):
        raise InputError(f"{table}: every pose is 0; align the particles without --keep-poses")
    rows = np.ones(len(particles), bool)
    return [particles.table.write_rows(output / CONSENSUS_STAR, rows)]


def _align(
    table: Path,
    job: Job,
    consensus: ConsensusOptions,
    relion: RelionOptions,
    seed: int,
    gpu: str | None,
    flags: RunFlags,
) -> list[Path]:
    output = job.folder
    version = installed_version()
    with show_progress("check images") as progress:
        particles = check_particles(
            table, version=version, need_poses=relion.reference is None, progress=progress
        )
    for path, what in ((relion.reference, "reference"), (consensus.mask, "mask")):
        if path is not None:
            check_map(path, particles, what=what, is_mask=what == "mask")
    ranks = choose_ranks(consensus, relion)
    runner = Runner(
        options=relion,
        version=version,
        ranks=ranks,
        root=image_root(particles),
        watch=flags.deadline.check,
    )
    # on record only where these options and inputs began what lies here
    begun = job.completed(_BEGUN)
    if not begun:
        for old in output.glob("run_*"):
            old.unlink()
    reference = relion.reference
    if reference is None:
        reference = output / "reference.mrc"
        if not begun:
            reference.unlink(missing_ok=True)
        runner.reconstruct(table, reference)
    run = Alignment(
        table=runner.named(table),
        root=runner.named(output / "run"),
        reference=runner.named(reference),
        ranks=ranks,
        threads=flags.threads or 1,
        gpu=gpu,
        seed=seed,
    )
    job.complete(_BEGUN)
    optimiser = last_optimiser(output / "run") if begun else None
    if optimiser is not None:
        logger.info("going on after %s", optimiser)
        command = continue_consensus_command(run, relion, runner.named(optimiser))
    else:
        command = consensus_command(run, consensus, relion, version=version)
    runner.start(command, log=output / "run.log")
    return _results(particles, output, consensus)


def _results(particles: ParticleSet, output: Path, consensus: ConsensusOptions) -> list[Path]:
    """Check what RELION wrote: every particle once, finite poses, finite maps."""
    start = output / "run"
    if consensus.relion_models > 1:
        start = output / f"run_it{consensus.iterations:03d}"
    maps = [with_suffix(start, f"_class{k:03d}.mrc") for k in range(1, consensus.relion_models + 1)]
    if consensus.relion_models == 1:
        maps += [with_suffix(start, f"_half{half}_class001_unfil.mrc") for half in (1, 2)]
    try:
        aligned = read_particles(with_suffix(start, "_data.star"), need_images=False)
        for path in maps:
            read_volume(path)
    except InputError as error:
        raise ProgramError(
            f"RELION ended with exit code 0, but its output is no use: {error}"
        ) from error
    if len(aligned) != len(particles):
        raise ProgramError(f"{aligned.path}: holds {len(aligned)} of {len(particles)} particles")
    table = output / CONSENSUS_STAR
    with files.atomic_path(table) as temporary:
        temporary.write_bytes(aligned.path.read_bytes())
    return [table, *maps]


def plan_consensus(
    table: Path,
    output: Path,
    *,
    consensus: ConsensusOptions,
    relion: RelionOptions,
    seed: int,
    gpu: str | None,
    flags: RunFlags,
) -> str:
    """Commands of the alignment as text for ``--dry-run``."""
    from alphacryo4d.relion.commands import reconstruct_command

    if consensus.engine == "native" and not consensus.keep_poses:
        return native_plan(table, consensus, relion).words(consensus, relion) + "\n"
    root = Path.cwd()
    ranks = choose_ranks(consensus, relion)
    commands = []
    reference = relion.reference
    if reference is None:
        reference = output / "reference.mrc"
        commands.append(
            reconstruct_command(
                table,
                reference,
                symmetry=relion.symmetry,
                ranks=ranks,
                launcher=relion.mpi_launcher,
            )
        )
    run = Alignment(
        table=name_from(root, table),
        root=name_from(root, output / "run"),
        reference=name_from(root, reference),
        ranks=ranks,
        threads=flags.threads or 1,
        gpu=gpu,
        seed=seed,
    )
    version = installed_version()
    commands.append(consensus_command(run, consensus, relion, version=version))
    return relion_lines(commands)
