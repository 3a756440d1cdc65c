"""``alphacryo4d resample`` and its steps."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from alphacryo4d.core.help import HelpGroup
from alphacryo4d.core.options import (
    CONTEXT,
    OPTICS,
    answer,
    build_settings,
    gpu_option,
    input_option,
    job_options,
    max_time_option,
    memory_option,
    optics_options,
    output_option,
    require_options,
    scratch_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.core.words import plural
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.components_cli import components_command
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.relion_cli import align_command, collect_command, consensus_command

logger = logging.getLogger(__name__)


@click.group(cls=HelpGroup, invoke_without_command=True, context_settings=CONTEXT)
@input_option("Particle table with consensus poses (RELION STAR).", required=False)
@output_option("Folder of the stage.", required=False)
@settings_options(ResampleOptions)
@settings_options(ClassifyOptions, title="Classification")
@settings_options(RelionOptions, title="RELION")
@optics_options
@threads_option
@gpu_option
@memory_option
@scratch_option
@max_time_option
@job_options
@click.pass_context
def resample(
    context: click.Context,
    /,
    input_path: Path | None,
    output_path: Path | None,
    **values: Any,
) -> None:
    """Shuffled folds and their 3D classes (4.1).

    Without a subcommand the whole stage runs: every particle is put into M of M+1 folds, every
    fold is classified without alignment, and all class volumes are gathered.
    """
    if context.invoked_subcommand:
        return
    require_options(i=input_path, o=output_path)
    assert input_path is not None
    assert output_path is not None
    run = _take_run_options(values)
    options = build_settings(ResampleOptions, values)
    classify = build_settings(ClassifyOptions, values)
    relion = build_settings(RelionOptions, values)
    dry_run = run.pop("dry_run")
    given = any(values[name] is not None for name in OPTICS)
    input_path = _sound_input(input_path, output_path, values, options, classify, not dry_run)
    if not (dry_run and given):
        kept = None if run["flags"].overwrite else output_path
        classify = _require_possible(input_path, kept, options, classify, relion, run["gpu"])
    if dry_run:
        _plan(input_path, output_path, options, classify, relion, run)
        return
    from alphacryo4d.resample.stage import run_resample

    as_json = run.pop("as_json")
    results = run_resample(
        input_path,
        output_path,
        options=options,
        classify=classify,
        relion=relion,
        **run,
    )
    from alphacryo4d.report.ending import say_ending

    say_ending("resample", output_path)
    answer(results, as_json=as_json)


def _require_possible(
    table: Path,
    folder: Path | None,
    options: ResampleOptions,
    classify: ClassifyOptions,
    relion: RelionOptions,
    gpu: str | None,
) -> ClassifyOptions:
    """Refuse what the stage would refuse later; the options with what the images decide."""
    from alphacryo4d.particles.particle_set import read_particles
    from alphacryo4d.particles.views import settled
    from alphacryo4d.pipeline.preflight import require_resample

    particles = read_particles(table).on_grid(*classify.grid)
    require_resample(particles, options, classify, relion, gpu=gpu)
    return settled(classify, particles, engine=options.engine, folder=folder)


def _sound_input(
    table: Path,
    output: Path,
    values: dict[str, Any],
    options: ResampleOptions,
    classify: ClassifyOptions,
    write: bool,
) -> Path:
    """Checked input, with the optics that the user gave filled in."""
    from alphacryo4d.core.foresight import require_writable
    from alphacryo4d.particles.views import asked
    from alphacryo4d.tools.check import require_sound
    from alphacryo4d.tools.convert_fill import completed_input

    given = {name: values.pop(name) for name in OPTICS}
    require_sound(table, given=given, normalise=asked(classify.normalise, options.engine))
    require_writable(output)
    return completed_input(table, output, given) if write else table


def _take_run_options(values: dict[str, Any]) -> dict[str, Any]:
    """Options that every command has, out of all values."""
    names = ("gpu", "memory", "scratch", "seed", "dry_run", "as_json")
    return {name: values.pop(name) for name in names} | {"flags": take_flags(values)}


def _plan(
    table: Path,
    output: Path,
    options: ResampleOptions,
    classify: ClassifyOptions,
    relion: RelionOptions,
    run: dict[str, Any],
) -> None:
    """Say what the stage would do, fold by fold."""
    from alphacryo4d.core.files import fold_folder
    from alphacryo4d.particles.open import open_table

    particles = open_table(table).rows
    batches = -(-particles // options.batch_size)
    logger.info(
        "%d particles, %s, %d folds each, classes %s by %s",
        particles, plural(batches, "batch", "batches"), options.folds + 1, classify.classes,
        options.engine,
    )  # fmt: skip
    for batch in range(1, batches + 1):
        for left_out in range(options.folds + 1, 0, -1):
            folder = fold_folder(output, batch, left_out, options.folds + 1)
            if options.engine == "relion":
                from alphacryo4d.relion.plan import dry_run_text
                from alphacryo4d.resample.relion_stage import relion_request

                request = relion_request(classify, run["seed"], (batch, left_out))
                click.echo(dry_run_text(folder, request, relion, threads=run["flags"].threads))
            else:
                click.echo(folder)


@resample.command("split", context_settings=CONTEXT)
@input_option("Particle table.")
@output_option("Folder of the stage.")
@settings_options(ResampleOptions, only=("folds", "batch_size"))
@job_options
def split_command(input_path: Path, output_path: Path, as_json: bool, **values: Any) -> None:
    """Batches, groups and folds: groups.npy and the tables of every batch and fold."""
    options = build_settings(ResampleOptions, values)
    from alphacryo4d.resample.steps_stage import run_split

    flags = take_flags(values)
    results = run_split(input_path, output_path, options=options, flags=flags, **values)
    answer(results, as_json=as_json)


@resample.command("shuffle", context_settings=CONTEXT)
@input_option("Particle table of one batch.")
@output_option("Folder for the tables of its folds.")
@settings_options(ResampleOptions, only=("folds",))
@job_options
def shuffle_command(input_path: Path, output_path: Path, as_json: bool, **values: Any) -> None:
    """Folds of one batch: union123.star and so on, every particle in M of M+1."""
    options = build_settings(ResampleOptions, values)
    from alphacryo4d.resample.steps_stage import run_shuffle

    flags = take_flags(values)
    results = run_shuffle(input_path, output_path, options=options, flags=flags, **values)
    answer(results, as_json=as_json)


@resample.command("classify", context_settings=CONTEXT)
@input_option("Particle table with poses.")
@output_option("Folder for the volumes and run_it025_data.star.")
@settings_options(ResampleOptions, only=("engine",))
@settings_options(ClassifyOptions, title="Classification")
@settings_options(RelionOptions, title="RELION")
@optics_options
@threads_option
@gpu_option
@memory_option
@scratch_option
@max_time_option
@job_options
def classify_command(input_path: Path, output_path: Path, **values: Any) -> None:
    """One classification of a table without alignment: volumes and run_it025_data.star."""
    run = _take_run_options(values)
    options = build_settings(ResampleOptions, values)
    classify = build_settings(ClassifyOptions, values)
    relion = build_settings(RelionOptions, values)
    dry_run = run.pop("dry_run")
    input_path = _sound_input(input_path, output_path, values, options, classify, not dry_run)
    if dry_run:
        if options.engine == "relion":
            from alphacryo4d.relion.plan import dry_run_text
            from alphacryo4d.resample.relion_stage import relion_request

            request = relion_request(classify, run["seed"], ())
            click.echo(dry_run_text(output_path, request, relion, threads=run["flags"].threads))
        else:
            logger.info("would classify %s, --classes %s", input_path, classify.classes)
        return
    from alphacryo4d.resample.steps_stage import run_classify

    as_json = run.pop("as_json")
    results = run_classify(
        input_path,
        output_path,
        options=options,
        classify=classify,
        relion=relion,
        **run,
    )
    answer(results, as_json=as_json)


for command in (components_command, consensus_command, align_command, collect_command):
    resample.add_command(command)
