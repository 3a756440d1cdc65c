"""Commands of the deepfeature stage."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.help import HelpCommand, HelpGroup
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    Command,
    build_settings,
    gpu_option,
    input_option,
    job_options,
    json_option,
    max_time_option,
    output_option,
    require_options,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.deepfeature.options import DeepFeatureOptions, NetworkOptions, TrainOptions

logger = logging.getLogger(__name__)

_INPUT = "Folder of the resample stage (volumes.npy), or one .npy of volumes (V, n, n, n)."


def _training_options(command: Command) -> Command:
    for decorate in (
        max_time_option,
        job_options,
        gpu_option,
        threads_option,
        settings_options(NetworkOptions, title="Network"),
        settings_options(TrainOptions, title="Training"),
        output_option("Output folder.", required=False),
        input_option(_INPUT, required=False),
    ):
        command = decorate(command)
    return command


def _report(outputs: Iterable[Path], as_json: bool) -> None:
    paths = [str(path) for path in outputs]
    click.echo(json.dumps({"outputs": paths}) if as_json else "\n".join(paths))


def _train(values: dict[str, Any], *, extract: bool = True) -> None:
    from alphacryo4d.core import files
    from alphacryo4d.core.here import fill_from_project

    fill_from_project(values, input_path=files.RESAMPLE, output_path=files.DEEPFEATURE)
    source, output = values.pop("input_path"), values.pop("output_path")
    require_options(i=source, o=output)
    options = DeepFeatureOptions(
        build_settings(NetworkOptions, values), build_settings(TrainOptions, values)
    )
    as_json = values.pop("as_json")
    if values.pop("dry_run"):
        from alphacryo4d.core.foresight import say_work
        from alphacryo4d.core.words import option_words
        from alphacryo4d.deepfeature.devices import parse_gpus
        from alphacryo4d.deepfeature.work_stage import deepfeature_work

        what = "train the autoencoder" + (" and extract features" if extract else "")
        logger.info("would %s: %s to %s", what, source, output)
        logger.info("with %s", option_words(options))
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        parse_gpus(values["gpu"])
        if extract and source.is_dir():
            say_work(output, deepfeature_work(source, options, values["seed"]))
        return
    from alphacryo4d.deepfeature.stage import run_deepfeature

    flags = take_flags(values)
    outputs = run_deepfeature(
        source, output, options=options, extract=extract, flags=flags, **values
    )
    if extract:
        from alphacryo4d.report.ending import say_ending

        say_ending("deepfeature", output)
    _report(outputs, as_json)


@click.group(cls=HelpGroup, invoke_without_command=True, context_settings=CONTEXT)
@_training_options
@click.pass_context
def deepfeature(ctx: click.Context, /, **values: Any) -> None:
    """Deep features of the volumes by a 3D residual autoencoder; without a subcommand all steps."""
    if ctx.invoked_subcommand is None:
        _train(values)


@click.command("train", cls=HelpCommand, context_settings=CONTEXT)
@_training_options
def train_stage(**values: Any) -> None:
    """Train the autoencoder on the volumes and extract their features: the whole stage."""
    _train(values)


@deepfeature.command(context_settings=CONTEXT)
@_training_options
def train(**values: Any) -> None:
    """Train the autoencoder only."""
    _train(values, extract=False)


@deepfeature.command(context_settings=CONTEXT)
@input_option(_INPUT)
@output_option("File to write, such as data_dl.npy.")
@json_option
def prepare(input_path: Path, output_path: Path, as_json: bool) -> None:
    """Write the volumes as the network takes them: min-max normalised each by itself."""
    from alphacryo4d.deepfeature.volumes_stage import prepare_volumes

    _report([prepare_volumes(input_path, output_path)], as_json)


@deepfeature.command(context_settings=CONTEXT)
@input_option(_INPUT)
@output_option("Output folder for features.npy.")
@click.option(
    "--model", type=PATH, required=True, help="Folder of a training (weights.npz, network.toml)."
)
@click.option("--batch-size", "--batchsize", type=click.IntRange(min=1), default=8)
@threads_option
@job_options
def extract(
    input_path: Path, output_path: Path, *, dry_run: bool, as_json: bool, seed: int, **values: Any
) -> None:
    """Feature maps of volumes by a network that was trained before."""
    del seed
    if dry_run:
        logger.info("would extract features of %s with %s", input_path, values["model"])
        return
    from alphacryo4d.deepfeature.stage import run_extract

    flags = take_flags(values)
    _report(run_extract(input_path, output_path, flags=flags, **values), as_json)
