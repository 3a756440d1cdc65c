"""Commands of the landscape stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from alphacryo4d.core import files
from alphacryo4d.core.help import INPUT, HelpGroup, HelpOption
from alphacryo4d.core.here import fill_from_project
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    build_settings,
    input_option,
    job_options,
    output_option,
    require_options,
    selection_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.landscape.edit_cli import edit_here, edit_options
from alphacryo4d.landscape.options import (
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)
from alphacryo4d.particle_landscape.cli import particles_command

features_option = click.option(
    "--features",
    cls=HelpOption,
    help_group=INPUT,
    type=PATH,
    default=None,
    help="Folder of the deepfeature stage.",
)
embedding_option = click.option(
    "--embedding",
    cls=HelpOption,
    help_group=INPUT,
    type=PATH,
    default=None,
    help="Embedding (V, 2), .npy or text.",
)
counts_option = click.option(
    "--counts",
    cls=HelpOption,
    help_group=INPUT,
    type=PATH,
    default=None,
    help="Particles per volume: volumes.star, .npy or text.",
)
via_option = click.option(
    "--via", nargs=2, type=float, multiple=True, help="Point to pass (RC1 RC2); may be repeated."
)


def _show(paths: list[Path], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"outputs": [str(path) for path in paths]}))
        return
    for path in paths:
        click.echo(str(path))


def _end(stage: str, folder: Path, outputs: list[Path], as_json: bool) -> None:
    """Result paths on stdout, after the last lines of the stage."""
    from alphacryo4d.report.ending import say_ending

    say_ending(stage, folder)
    _show(outputs, as_json)


def _build(values: dict[str, Any]) -> LandscapeOptions:
    """Options of all steps; those that a command does not have keep their defaults."""
    return LandscapeOptions(
        embed=build_settings(EmbedOptions, values),
        energy=build_settings(EnergyOptions, values),
        path=build_settings(PathOptions, values),
        states=build_settings(StatesOptions, values),
    )


@click.group(cls=HelpGroup, invoke_without_command=True, context_settings=CONTEXT)
@input_option("Folder of the resample stage.", required=False)
@features_option
@output_option("Folder for the landscape.", required=False)
@settings_options(StatesOptions)
@settings_options(PathOptions, title="Path")
@via_option
@settings_options(EnergyOptions)
@settings_options(EmbedOptions, title="Embedding")
@threads_option
@job_options
@click.pass_context
def landscape(ctx: click.Context, /, **values: Any) -> None:
    """Embedding, energy, path and states of the resampled volumes.

    Without a subcommand the whole stage runs: distances between the standardised volumes (and
    feature maps), t-SNE, energies with errors, states, and a path where one is asked for.
    """
    if ctx.invoked_subcommand:
        return
    fill_from_project(
        values,
        input_path=files.RESAMPLE,
        features=files.DEEPFEATURE,
        output_path=files.LANDSCAPE,
    )
    require_options(i=values["input_path"], o=values["output_path"])
    run(values)


landscape.add_command(particles_command)


def run(values: dict[str, Any]) -> None:
    """Run the whole stage from the values of a command."""
    from alphacryo4d.landscape.stage import run_landscape

    dry_run, as_json = values.pop("dry_run"), values.pop("as_json")
    resample, output = values.pop("input_path"), values.pop("output_path")
    features, seed, flags = values.pop("features"), values.pop("seed"), take_flags(values)
    options = _build(values)
    if dry_run:
        from alphacryo4d.core.foresight import say_work
        from alphacryo4d.landscape.inputs_stage import input_paths
        from alphacryo4d.landscape.stage import landscape_work

        work = landscape_work(input_paths(resample, features), options, seed)
        click.echo(f"would embed the volumes of {resample} into {output}", err=True)
        say_work(output, work)
        return
    outputs = run_landscape(resample, features, output, options=options, seed=seed, flags=flags)
    _end("landscape", output, outputs, as_json)


@landscape.command(context_settings=CONTEXT)
@input_option("Folder of the resample stage.", required=False)
@features_option
@output_option("Folder for the embedding.")
@settings_options(EmbedOptions, title="Embedding")
@threads_option
@job_options
def embed(**values: Any) -> None:
    """Distances between the volumes, and their embedding."""
    from alphacryo4d.landscape.steps_stage import run_embed

    fill_from_project(values, input_path=files.RESAMPLE, features=files.DEEPFEATURE)
    require_options(i=values["input_path"])
    _step(run_embed, values)


@landscape.command(context_settings=CONTEXT)
@embedding_option
@counts_option
@input_option("Folder of the resample stage: counts and folds.", required=False)
@output_option("Folder for the energies.")
@settings_options(EnergyOptions)
@job_options
def energy(**values: Any) -> None:
    """Energy of every volume (eq. 6), its error, and the landscape."""
    from alphacryo4d.landscape.steps_stage import run_energy

    _fill_points(values)
    _step(run_energy, values)


@landscape.command(context_settings=CONTEXT)
@embedding_option
@counts_option
@input_option("Folder of the resample stage: counts, folds, names.", required=False)
@output_option("Folder for the path.")
@settings_options(PathOptions, title="Path")
@via_option
@settings_options(EnergyOptions)
@click.option(
    "--kcenters", "--states", "number", type=click.IntRange(min=1), default=20,
    help="Number of centers along the path.",
)  # fmt: skip
@click.option(
    "--along",
    type=click.Choice(["spaced", "minima"]),
    default="spaced",
    help="Centers at equal arc length, or moved to minima.",
)
@click.option("--radius", type=float, default=None, help="Radius of every state.")
@job_options
def path(**values: Any) -> None:
    """Minimum-energy path by the string method, and centers along it."""
    from alphacryo4d.landscape.steps_stage import run_path

    _fill_points(values)
    values["states"] = str(values.pop("number"))
    _step(run_path, values, centers="path")


@landscape.command(context_settings=CONTEXT)
@embedding_option
@counts_option
@input_option("Folder of the resample stage: volumes, counts, folds.", required=False)
@features_option
@output_option("Folder for the states.", required=False)
@edit_options
@settings_options(StatesOptions)
@settings_options(PathOptions, title="Path")
@via_option
@settings_options(EnergyOptions)
@settings_options(EmbedOptions, title="Embedding")
@threads_option
@job_options
def states(**values: Any) -> None:
    """States of an embedding: centers, boundaries, members and energies.

    With --merge, --drop or --name states of a project are edited, as `alphacryo4d vote --edits`
    does: each edit is judged by held-out particles first, and the result is vote-2, vote-3 ...
    """
    made = edit_here(values)
    if made is not None:
        if made:
            _end(files.VOTE, made[0].parent, made, values["as_json"])
        else:
            _show(made, values["as_json"])
        return
    require_options(o=values["output_path"])
    _fill_points(values, features=files.DEEPFEATURE)
    from alphacryo4d.landscape.steps_stage import run_states

    _step(run_states, values)


@landscape.command(context_settings=CONTEXT)
@input_option("Project folder, with resample and landscape.", required=False)
@output_option("Folder of the sub-project.")
@click.option("--state", default=None, metavar="NUMBER|NAME", help="State to zoom into.")
@selection_option("the reclassification by default, else the votes")
@click.option(
    "--polygon", type=PATH, default=None, help="Corners (RC1 RC2) to zoom into, .npy or text."
)
@job_options
def zoom(**values: Any) -> None:
    """Particles of one state as the input of a sub-project, and whether it is worth it."""
    from alphacryo4d.landscape.zoom_stage import run_zoom

    dry_run, as_json = values.pop("dry_run"), values.pop("as_json")
    fill_from_project(values, input_path=".")
    require_options(i=values["input_path"])
    project, output = values.pop("input_path"), values.pop("output_path")
    if dry_run:
        click.echo(f"would write {output}/particles.star", err=True)
        return
    flags = take_flags(values)
    _end("zoom", output, run_zoom(project, output, flags=flags, **values), as_json)


def _fill_points(values: dict[str, Any], **places: str) -> None:
    """The embedding and the counts of the project that one works in, unless others are given."""
    if values["embedding"] is None and values["counts"] is None:
        embedding = f"{files.LANDSCAPE}/{files.EMBEDDING_NPY}"
        fill_from_project(values, embedding=embedding, input_path=files.RESAMPLE, **places)


def _step(function: Any, values: dict[str, Any], **fixed: Any) -> None:
    dry_run, as_json = values.pop("dry_run"), values.pop("as_json")
    names = ("embedding", "counts", "features", "seed")
    arguments = {name: values.pop(name) for name in names if name in values}
    arguments["flags"] = take_flags(values)
    resample, output = values.pop("input_path"), values.pop("output_path")
    options = _build(values | fixed)
    if dry_run:
        click.echo(f"would write to {output}", err=True)
        return
    _show(function(output, resample=resample, options=options, **arguments), as_json)
