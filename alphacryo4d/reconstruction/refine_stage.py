"""`vote refine`: RELION's refinement of every state, written as commands or run."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, ProgramError
from alphacryo4d.core.job import start_job
from alphacryo4d.core.program import command_lines, run_program
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.reconstruction.options import RefineOptions, chosen_states
from alphacryo4d.reconstruction.stage import source_particles
from alphacryo4d.relion.commands import Alignment, consensus_command
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.relion.preflight import check_particles, image_root, name_from
from alphacryo4d.relion.version import Version, installed_version
from alphacryo4d.voting.output_stage import state_table
from alphacryo4d.voting.recorded_stage import symmetry_of

logger = logging.getLogger(__name__)

COMMANDS = "commands.txt"
ASSUMED = Version(3, 1, 3)


def run_refine(
    folder: Path,
    output: Path,
    *,
    options: RefineOptions | None = None,
    seed: int = 0,
    threads: int | None = None,
    gpu: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Write, and with ``engine`` relion run, the refinement of every state.

    Parameters
    ----------
    folder : Path
        Voting folder with ``class001.star`` and ``class001.mrc`` ...
    output : Path
        Output folder; a state is refined in ``class001/``.
    options : RefineOptions, optional
    seed : int
        Random seed of RELION.
    threads : int, optional
        Threads of each MPI rank.
    gpu : str, optional
        GPU ids for RELION.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.

    Returns
    -------
    list of Path
        ``commands.txt``, and the refined maps.
    """
    options = options or RefineOptions()
    options = dataclasses.replace(options, symmetry=symmetry_of(folder, options.symmetry))
    states = refinable_states(folder, options.states)
    tables = [state_table(folder, state) for state in states]
    with start_job(
        output,
        stage="refine",
        options={"refine": options},
        inputs=tables,
        seed=seed,
        overwrite=overwrite, resume=resume, in_place=True,
    ) as job:  # fmt: skip
        if job.finished:
            return job.outputs
        version = installed_version() if options.engine == "relion" else ASSUMED
        root = image_root(source_particles(folder, tables[0]))
        commands = {
            state: state_command(folder, output, state, root, options, version, seed, threads, gpu)
            for state in states
        }
        outputs = [files.write_text(output / COMMANDS, command_lines(commands.values()))]
        logger.info("RELION's commands are in %s; run them from %s", outputs[0], root)
        job.complete("commands", outputs)
        for state, command in commands.items():
            step = f"class{state:03d}"
            if options.engine != "relion" or job.completed(step):
                continue
            place = output / step
            place.mkdir(exist_ok=True)
            check_particles(state_table(folder, state), version=version)
            logger.info("refinement of state %d", state)
            run_program(command, log=(place / "run.log").absolute(), folder=root)
            outputs.append(finished_map(place))
            job.complete(step, outputs[-1:])
    return outputs


def refinable_states(folder: Path, wanted: str) -> list[int]:
    """States of a voting folder that have a table and a reference."""
    found = sorted(int(path.stem[5:]) for path in folder.glob("class[0-9][0-9][0-9].star"))
    states = found if wanted == "all" else chosen_states(wanted)
    for state in states:
        table = state_table(folder, state)
        if not table.is_file():
            raise InputError(f"{table}: no such file; that state has no particles")
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
    root: Path,
    options: RefineOptions,
    version: Version,
    seed: int,
    threads: int | None,
    gpu: str | None,
) -> list[str]:
    """``relion_refine_mpi`` with independent half-sets, local searches around the poses."""
    run = Alignment(
        table=name_from(root, state_table(folder, state)),
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
    return consensus_command(run, alignment, relion, version=version, as_root=os.geteuid() == 0)


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
