"""Commands `simulate` and `score`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from alphacryo4d.assessment.options import ReferenceOptions, SimulateOptions
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    build_settings,
    images_option,
    input_option,
    job_options,
    json_option,
    output_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.core.words import plural


@click.command(context_settings=CONTEXT)
@click.option(
    "--i",
    "--input",
    "inputs",
    type=str,
    multiple=True,
    help="Conformers: PDB, mmCIF or MRC files, or a folder of them; may be repeated. Or a built-in "
    "molecule: hinge, small-hinge, subunits, rigid.",
)
@click.argument("more", type=str, nargs=-1, metavar="[CONFORMER]...")
@output_option("Folder for particles.star, particles.mrcs and truth.npy.")
@settings_options(SimulateOptions)
@threads_option
@job_options
def simulate(
    inputs: tuple[str, ...],
    more: tuple[str, ...],
    output_path: Path,
    seed: int,
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
    flags = take_flags(values)
    if dry_run:
        threads = flags.threads or os.cpu_count() or 1
        _say_plan(paths, output_path, options, threads=threads, as_json=as_json)
        return
    from alphacryo4d.assessment.stage import run_simulate
    from alphacryo4d.core.progress import show_progress

    with show_progress("simulate") as progress:
        results = run_simulate(
            paths, output_path, options=options, seed=seed, flags=flags, progress=progress
        )
    if as_json:
        click.echo(json.dumps({"particles": str(results[0]), "truth": str(results[1])}))
    else:
        click.echo("\n".join(map(str, results)))


def _say_plan(
    given: list[str], output: Path, options: SimulateOptions, *, threads: int, as_json: bool
) -> None:
    from alphacryo4d.assessment.conformers_stage import load_conformers
    from alphacryo4d.assessment.stage import plan_simulation
    from alphacryo4d.core.progress import format_duration

    conformers = load_conformers(given, box=options.box, pixel_size=options.pixel_size)
    plan = plan_simulation(conformers, options, threads=threads)
    if as_json:
        click.echo(json.dumps(vars(plan)))
        return
    click.echo(
        f"{output}: {plan.particles} particles of {plural(plan.states, 'state')}, "
        f"{plan.bytes_on_disk / 2**20:.0f} MiB, about {format_duration(plan.seconds)}"
    )


@click.command(context_settings=CONTEXT)
@input_option("Table with rlnClassNumber (0: voted out), such as project/vote/particles.star.")
@click.option("--truth", type=PATH, required=True, help="truth.npy of the simulation.")
@click.option(
    "--order", type=PATH, help="Table that the truth follows, where --i has other rows or order."
)
@click.option(
    "--assignments",
    type=PATH,
    help="resample/assignments.npy: adds the purity of the volumes, and votes with true labels.",
)
@click.option(
    "--reference",
    type=str,
    multiple=True,
    help="Conformers (files, a folder, a built-in molecule) or a saved .npy: adds the ratio to "
    "the classifier that knows them.",
)
@click.option("--save-reference", type=PATH, help="Keep the reference's labels as .npy.")
@click.option(
    "--true-poses",
    type=PATH,
    help="true_poses.npy of the simulation: adds the errors of the poses in the table.",
)
@settings_options(ReferenceOptions)
@images_option
@threads_option
@json_option
def score(
    input_path: Path,
    truth: Path,
    order: Path | None,
    assignments: Path | None,
    reference: tuple[str, ...],
    save_reference: Path | None,
    true_poses: Path | None,
    threads: int | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Precision, recall, states found and share kept of classes, against the truth."""
    options = build_settings(ReferenceOptions, values)
    from alphacryo4d.assessment.score_stage import format_report, run_score
    from alphacryo4d.core.progress import show_progress

    with show_progress("reference") as progress:
        _, report = run_score(
            input_path,
            truth,
            order=order,
            assignments=assignments,
            reference=reference,
            save_reference=save_reference,
            true_poses=true_poses,
            options=options,
            threads=threads or os.cpu_count() or 1,
            progress=progress,
        )
    click.echo(json.dumps(report) if as_json else format_report(report))
