"""``alphacryo4d run`` and ``alphacryo4d demo``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.core.help import STATES, HelpCommand, HelpOption
from alphacryo4d.core.here import is_project, table_of_project
from alphacryo4d.core.options import (
    CONTEXT,
    OPTICS,
    build_settings,
    gpu_option,
    input_option,
    job_options,
    max_time_option,
    optics_options,
    output_option,
    require_options,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.deepfeature.options import DeepFeatureOptions, TrainOptions
from alphacryo4d.landscape.options import (
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.pipeline.options import ParticleLandscapeOptions, PipelineOptions
from alphacryo4d.pipeline.stages import run_part, run_pipeline
from alphacryo4d.pipeline.submit import PARTS, repeat_words, submit_run
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.voting.options import VoteOptions

logger = logging.getLogger(__name__)

NOT_REPEATED = frozenset(ClusterOptions.__dataclass_fields__) | {
    *OPTICS, "threads", "overwrite", "resume", "dry_run", "as_json", "only",
    "input_path", "output_path",
}  # fmt: skip
"""Parameters of `run` that its jobs on a cluster do not get, or get anew."""


@click.command(cls=HelpCommand, context_settings=CONTEXT)
@input_option(
    "Particle table with consensus poses (RELION STAR); that of the project by default.",
    required=False,
)
@output_option("Project folder; the one that one works in by default.", required=False)
@settings_options(ResampleOptions)
@settings_options(ClassifyOptions, title="Classification")
@settings_options(
    TrainOptions,
    only=("epochs", "regularization"),
    prefix="train_",
    title="Training of the network",
    short=False,
)
@settings_options(StatesOptions, only=("states", "centers"), prefix="states_")
@settings_options(
    EmbedOptions, only=("perplexity",), prefix="embed_", title="Embedding", short=False
)
@settings_options(
    VoteOptions, only=("assign", "threshold"), prefix="vote_", title="Votes", short=False
)
@settings_options(RelionOptions, title="RELION")
@settings_options(ClusterOptions, title="Cluster")
@optics_options
@click.option(
    "--reclassify",
    cls=HelpOption,
    help_group=STATES,
    is_flag=True,
    help="Go on with `vote reclassify`: states, poses and finer Fourier shells together (native "
    "engine); as long again as the classification, and much better states.",
)
@click.option(
    "--realign/--no-realign",
    cls=HelpOption,
    help_group=STATES,
    default=None,
    help="Begin with `resample consensus --engine native`, around the poses of the table. By "
    "default where these are best fits to a coarser map than the images allow, or much worse "
    "than the images would leave them.",
)
@click.option(
    "--particle-landscape",
    cls=HelpOption,
    help_group=STATES,
    is_flag=True,
    help="End with `landscape particles`: a place for every particle, the density of all of them "
    "with energies in kT, and the path between its states.",
)
@click.option("--only", type=click.Choice(PARTS), default=None, hidden=True)
@threads_option
@gpu_option
@max_time_option
@job_options
@click.pass_context
def run(
    context: click.Context,
    /,
    input_path: Path | None,
    output_path: Path | None,
    gpu: str | None,
    seed: int,
    dry_run: bool,
    as_json: bool,
    reclassify: bool,
    realign: bool | None,
    particle_landscape: bool,
    only: str | None,
    **values: Any,
) -> None:
    """All four stages: from a particle table to states on a landscape.

    A table without poses gets them first, with --reference MAP; poses that were fitted to a
    coarser map than the images allow, or are much worse than these would leave them, are refined
    first (--realign, --no-realign).

    Finer options of a stage: run the stages one by one, `alphacryo4d resample --help` and so on;
    they read and write the same project folder.
    """
    input_path, output_path = _places(input_path, output_path)
    given = {name: values.pop(name) for name in OPTICS}
    options = _options(values, reclassify=reclassify, particles=particle_landscape)
    cluster = build_settings(ClusterOptions, values)
    flags = take_flags(values)
    if only is not None:
        results = run_part(
            only, input_path, output_path, options=options, seed=seed, gpu=gpu, flags=flags
        )
        _answer(results, as_json)
        return
    from alphacryo4d.pipeline.beginning import outlook_of

    outlook = outlook_of(
        input_path, output_path, options, realign=realign, given=given, seed=seed, gpu=gpu,
        flags=flags, here=not cluster.submit, dry_run=dry_run,
    )  # fmt: skip
    if outlook is None:
        return
    input_path, options = outlook.table, outlook.options
    if cluster.submit:
        jobs = submit_run(
            input_path, output_path, options, cluster, seed=seed,
            words=["run", *repeat_words(context, leave_out=NOT_REPEATED)],
            gpu=gpu, flags=flags, dry_run=dry_run,
        )  # fmt: skip
        _answer_jobs(jobs, as_json)
        return
    if dry_run:
        outlook.say(flags.threads)
        return
    results = run_pipeline(
        input_path, output_path, options=options, seed=seed, gpu=gpu, flags=flags
    )
    _end(results, output_path, as_json)


def _options(values: dict[str, Any], *, reclassify: bool, particles: bool) -> PipelineOptions:
    """Options of all stages, taken out of the values of `run`."""
    return PipelineOptions(
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
        relion=build_settings(RelionOptions, values),
        reclassify=ReclassifyOptions() if reclassify else None,
        particle_landscape=ParticleLandscapeOptions() if particles else None,
    )


@click.command(cls=HelpCommand, context_settings=CONTEXT)
@output_option("Folder for the data and the project.", default=Path("demo"))
@threads_option
@gpu_option
@job_options
def demo(
    output_path: Path,
    gpu: str | None,
    seed: int,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """A known answer, start to end: 4,000 particles of a hinge protein in 8 states.

    Simulates the particles, runs all four stages, and scores the states against the truth. Takes
    a few minutes.
    """
    if dry_run:
        logger.info("would simulate 4,000 particles in %s and run all stages on them", output_path)
        return
    from alphacryo4d.pipeline.stages import run_demo

    report, again, results = run_demo(output_path, seed=seed, gpu=gpu, flags=take_flags(values))
    figures = [
        output_path / "project" / "landscape" / name for name in ("landscape.png", "embedding.png")
    ]
    *results, page = results
    if as_json:
        made = [str(path) for path in [*results, *figures, page]]
        click.echo(json.dumps({"score": report, "reclassified": again, "results": made}))
        return
    from alphacryo4d.assessment.score_stage import format_report

    logger.info("\nvotes:\n%s\n", format_report(report))
    if again is not None:
        logger.info("after reclassification:\n%s\n", format_report(again))
    _end([*figures, page], output_path / "project", as_json)


def _places(table: Path | None, project: Path | None) -> tuple[Path, Path]:
    """Table and project folder; those of the project where they are not given."""
    if project is None and is_project(Path()):
        project = Path()
    if table is None and project is not None:
        table = table_of_project(project)
    require_options(i=table, o=project)
    assert table is not None
    assert project is not None
    return table, project


def _end(results: list[Path], project: Path, as_json: bool) -> None:
    """Result paths on stdout, and the last lines of the run."""
    from alphacryo4d.report.ending import RUN, say_ending

    say_ending(RUN, project)
    _answer(results, as_json)


def _answer_jobs(jobs: dict[str, str], as_json: bool) -> None:
    """Job ids on stdout, one a line or as one JSON object by name."""
    if as_json:
        click.echo(json.dumps({"jobs": jobs}))
    else:
        for number in jobs.values():
            click.echo(number)


def _answer(results: list[Path], as_json: bool) -> None:
    """Result paths on stdout, one a line or as one JSON object."""
    if as_json:
        click.echo(json.dumps({"results": [str(path) for path in results]}))
    else:
        for path in results:
            click.echo(path)
