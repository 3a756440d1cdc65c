"""Commands `simulate` and `score`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.errors import UsageError
from alphacryo4d.options import (
    CONTEXT,
    PATH,
    build_settings,
    job_options,
    output_option,
    settings_options,
    threads_option,
)


@click.command(context_settings=CONTEXT)
@click.option(
    "--i",
    "--input",
    "inputs",
    type=PATH,
    multiple=True,
    help="Conformers: PDB, mmCIF or MRC files, or a folder of them; may be repeated.",
)
@click.argument("more", type=PATH, nargs=-1, metavar="[CONFORMER]...")
@output_option("Folder for particles.star, particles.mrcs and truth.npy.")
@settings_options(SimulateOptions)
@threads_option
@job_options
def simulate(
    inputs: tuple[Path, ...],
    more: tuple[Path, ...],
    output_path: Path,
    threads: int | None,
    seed: int,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Synthetic particles of known conformers, by the protocol of the blind assessment.

    `alphacryo4d simulate --i conformers/*.pdb --o data` writes a particle table with slightly
    wrong poses, its stack, and in truth.npy the state of every row (from 1, in the order of
    the files). true_poses.npy holds rot, tilt, psi and shifts that made the images.
    """
    options = build_settings(SimulateOptions, values)
    paths = [*inputs, *more]
    if not paths:
        raise UsageError("--i must be given: conformers as PDB, mmCIF or MRC files")
    threads = threads or os.cpu_count() or 1
    if dry_run:
        _say_plan(paths, output_path, options, threads=threads, as_json=as_json)
        return
    from alphacryo4d.assessment.stage import run_simulate
    from alphacryo4d.progress import show_progress

    with show_progress("simulate") as progress:
        results = run_simulate(
            paths,
            output_path,
            options=options,
            seed=seed,
            threads=threads,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps({"particles": str(results[0]), "truth": str(results[1])}))
    else:
        click.echo("\n".join(map(str, results)))


def _say_plan(
    paths: list[Path], output: Path, options: SimulateOptions, *, threads: int, as_json: bool
) -> None:
    from alphacryo4d.assessment.stage import find_conformers, plan_simulation, read_conformers
    from alphacryo4d.progress import format_duration

    found = find_conformers(paths)
    conformers = read_conformers(found, box=options.box, pixel_size=options.pixel_size)
    plan = plan_simulation(conformers, options, threads=threads)
    if as_json:
        click.echo(json.dumps(vars(plan)))
        return
    click.echo(
        f"{output}: {plan.particles} particles of {plan.states} states, "
        f"{plan.bytes_on_disk / 2**20:.0f} MiB, about {format_duration(plan.seconds)}"
    )
