"""``alphacryo4d run`` and ``alphacryo4d demo``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click

from alphacryo4d.deepfeature.options import DeepFeatureOptions, TrainOptions
from alphacryo4d.job import Deadline
from alphacryo4d.landscape.options import (
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.options import (
    CONTEXT,
    build_settings,
    gpu_option,
    input_option,
    job_options,
    max_time_option,
    output_option,
    settings_options,
    threads_option,
)
from alphacryo4d.pipeline import PipelineOptions, Resources, run_pipeline
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.voting.options import VoteOptions

logger = logging.getLogger(__name__)


@click.command(context_settings=CONTEXT)
@input_option("Particle table with consensus poses (RELION STAR).")
@output_option("Project folder.")
@settings_options(ResampleOptions)
@settings_options(ClassifyOptions)
@settings_options(TrainOptions, only=("epochs", "regularization"), prefix="train_")
@settings_options(StatesOptions, only=("states", "centers"), prefix="states_")
@settings_options(EmbedOptions, only=("perplexity",), prefix="embed_")
@settings_options(VoteOptions, only=("assign", "threshold"), prefix="vote_")
@threads_option
@gpu_option
@max_time_option
@job_options
def run(
    input_path: Path,
    output_path: Path,
    threads: int | None,
    gpu: str | None,
    max_time: float | None,
    seed: int,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """All four stages: from a particle table to states on a landscape.

    Finer options of a stage: run the stages one by one, `alphacryo4d resample --help` and so on;
    they read and write the same project folder.
    """
    options = PipelineOptions(
        resample=build_settings(ResampleOptions, values),
        classify=build_settings(ClassifyOptions, values),
        deepfeature=DeepFeatureOptions(train=build_settings(TrainOptions, values, prefix="train_")),
        landscape=LandscapeOptions(
            embed=build_settings(EmbedOptions, values, prefix="embed_"),
            energy=EnergyOptions(),
            path=PathOptions(),
            states=build_settings(StatesOptions, values, prefix="states_"),
        ),
        vote=build_settings(VoteOptions, values, prefix="vote_"),
    )
    from alphacryo4d.check import require_sound

    require_sound(input_path)
    if dry_run:
        logger.info("%s", _plan(input_path, output_path, options))
        return
    results = run_pipeline(
        input_path,
        output_path,
        options=options,
        seed=seed,
        resources=Resources(threads, gpu, Deadline(max_time)),
        overwrite=overwrite,
        resume=resume,
    )
    _answer(results, as_json)


def _plan(table: Path, project: Path, options: PipelineOptions) -> str:
    folds = options.resample.folds + 1
    return (
        f"would split {table} into {folds} folds, classify each into "
        f"{options.classify.classes} classes, and write {project}/resample, deepfeature, "
        "landscape and vote"
    )


def _answer(results: list[Path], as_json: bool) -> None:
    """Result paths on stdout, one a line or as one JSON object."""
    if as_json:
        click.echo(json.dumps({"results": [str(path) for path in results]}))
    else:
        for path in results:
            click.echo(path)
