"""Commands of the voting stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alphacryo4d.core import files
from alphacryo4d.core.help import INPUT, HelpGroup, HelpOption
from alphacryo4d.core.here import fill_from_project, states_here
from alphacryo4d.core.options import (
    CONTEXT,
    build_settings,
    continue_option,
    dry_run_option,
    gpu_option,
    images_option,
    input_option,
    json_option,
    max_time_option,
    output_option,
    overwrite_option,
    require_options,
    seed_option,
    selection_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.core.words import plural
from alphacryo4d.particle_landscape.votes_cli import density_command
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.reconstruction.options import ReconstructOptions, RefineOptions
from alphacryo4d.selection.sets_stage import selection_folder, states_folder
from alphacryo4d.voting.options import VoteOptions

_OF_IMAGES = ("reconstruct", "test", "null", "symmetry")
"""Options of what reads the images again."""

landscape_option = click.option(
    "--landscape",
    cls=HelpOption,
    help_group=INPUT,
    type=click.Path(path_type=Path),
    help="Folder that `alphacryo4d landscape` wrote.",
)


def _end(stage: str, folder: Path, made: list[Path], as_json: bool) -> None:
    """Last lines of the stage; result paths on stdout, one a line or as one JSON object."""
    from alphacryo4d.report.ending import say_ending

    say_ending(stage, folder)
    if as_json:
        import json

        click.echo(json.dumps({"outputs": [str(path) for path in made]}))
    else:
        for path in made:
            click.echo(path)


def _vote(
    input_path: Path, landscape: Path, output_path: Path, options: VoteOptions, **values: Any
) -> None:
    if values.pop("dry_run"):
        if options.edits is not None:
            from alphacryo4d.voting.edits_stage import edited_states

            edited_states(options.edits, input_path, landscape, options)
        click.echo(
            f"would assign the particles of {input_path} to the states of {landscape} "
            f"by {options.assign} and write {output_path}",
            err=True,
        )
        from alphacryo4d.core.foresight import say_work
        from alphacryo4d.voting.output_stage import input_table_path
        from alphacryo4d.voting.stage import vote_work

        table = input_table_path(input_path)
        say_work(output_path, vote_work(table, input_path, landscape, options))
        return
    as_json, flags = values.pop("as_json"), take_flags(values)
    from alphacryo4d.pipeline.landscape import landscape_like
    from alphacryo4d.voting.stage import run_vote

    made = run_vote(
        input_path,
        landscape,
        output_path,
        options=options,
        make_landscape=landscape_like(landscape, threads=flags.threads),
        flags=flags,
    )
    _end(files.VOTE, output_path, made, as_json)


def _say_reclassify(
    project: Path, first: Path, output: Path, options: ReclassifyOptions, seed: int
) -> None:
    """What a reclassification would do in its folder."""
    from alphacryo4d.core.foresight import say_work
    from alphacryo4d.reclassify.stage import reclassify_work
    from alphacryo4d.voting.output_stage import input_table_path

    resample = project / files.RESAMPLE
    work = reclassify_work(input_table_path(resample), resample, first, options, seed)
    say_work(output, work)


def _places_of_edits(
    given: Path, landscape: Path | None, output: Path | None, options: VoteOptions
) -> tuple[Path, Path]:
    """Landscape and output of edited states, where ``--i`` names a project or its resample."""
    from alphacryo4d.pipeline.editing import selection_for

    project = given if (given / files.RESAMPLE).is_dir() else given.absolute().parent
    place = landscape or project / files.LANDSCAPE
    return place, output or selection_for(project, place, options)


def _places(values: dict[str, Any], here: str, output: str | None = None) -> tuple[Path, Path]:
    """``--i`` and ``--o`` of a command, from the project folder that one works in if not given."""
    named = {} if output is None else {"output_path": output}
    fill_from_project(values, input_path=here, **named)
    input_path, output_path = values.pop("input_path"), values.pop("output_path")
    require_options(i=input_path, o=output_path)
    return input_path, output_path


def _places_of_states(values: dict[str, Any], selection: str | None) -> tuple[Path, Path]:
    """Folder with the states that are meant, and output, of a command that works on states."""
    input_path, output_path = _places(values, states_here() if selection is None else ".")
    return states_folder(input_path, selection), output_path


def common_options(command: Any) -> Any:
    """``--j --overwrite --continue --dry-run --json``; voting draws no random numbers."""
    for option in (json_option, dry_run_option, continue_option, overwrite_option, threads_option):
        command = option(command)
    return images_option(command)


@click.group(cls=HelpGroup, invoke_without_command=True, context_settings=CONTEXT)
@input_option("Folder that `alphacryo4d resample` wrote.", required=False)
@landscape_option
@output_option("Output folder.", required=False)
@settings_options(VoteOptions)
@common_options
@click.pass_context
def vote(
    ctx: click.Context,
    /,
    input_path: Path | None,
    landscape: Path | None,
    output_path: Path | None,
    **values: Any,
) -> None:
    """Put every particle into the state that its volumes vote for.

    Without a subcommand the whole stage runs: votes are counted, every state gets its particle
    table, its reconstruction and its statistics. `alphacryo4d vote --i project --edits edits.json`
    makes the next set of states, vote-2, beside the first.
    """
    if ctx.invoked_subcommand:
        return
    options = build_settings(VoteOptions, values)
    given = {"input_path": input_path, "landscape": landscape, "output_path": output_path}
    output = {} if options.edits is not None else {"output_path": files.VOTE}
    fill_from_project(given, input_path=files.RESAMPLE, landscape=files.LANDSCAPE, **output)
    input_path, landscape, output_path = given.values()
    if input_path is not None and options.edits is not None:
        landscape, output_path = _places_of_edits(input_path, landscape, output_path, options)
        resample = input_path / files.RESAMPLE
        input_path = resample if resample.is_dir() else input_path
    require_options(i=input_path, landscape=landscape, o=output_path)
    assert input_path is not None
    assert landscape is not None
    assert output_path is not None
    _vote(input_path, landscape, output_path, options, **values)


@vote.command(context_settings=CONTEXT)
@input_option("Folder that `alphacryo4d resample` wrote.")
@landscape_option
@output_option("Output folder.")
@settings_options(VoteOptions, leave_out=("assign", "cutoff", *_OF_IMAGES))
@common_options
def count(input_path: Path, landscape: Path | None, output_path: Path, **values: Any) -> None:
    """Count the votes and write the particle table of every state (section 4.8)."""
    require_options(landscape=landscape)
    assert landscape is not None
    options = build_settings(VoteOptions, values, assign="vote", reconstruct=False, test=False)
    _vote(input_path, landscape, output_path, options, **values)


@vote.command(context_settings=CONTEXT)
@input_option("Folder that `alphacryo4d resample` wrote.")
@landscape_option
@output_option("Output folder.")
@settings_options(VoteOptions, leave_out=("assign", "threshold", *_OF_IMAGES))
@common_options
def nearest(input_path: Path, landscape: Path | None, output_path: Path, **values: Any) -> None:
    """Assign every particle to the state nearest to its M copies (section 4.9)."""
    require_options(landscape=landscape)
    assert landscape is not None
    options = build_settings(VoteOptions, values, assign="nearest", reconstruct=False, test=False)
    _vote(input_path, landscape, output_path, options, **values)


@vote.command(context_settings=CONTEXT)
@input_option(
    "Folder that `alphacryo4d vote` (or a subcommand) wrote, or a project folder.", required=False
)
@selection_option("the reclassification by default, else the votes")
@output_option("Output folder.")
@settings_options(ReconstructOptions)
@common_options
def reconstruct(selection: str | None, **values: Any) -> None:
    """Reconstruct every state with half maps and FSC."""
    input_path, output_path = _places_of_states(values, selection)
    options = build_settings(ReconstructOptions, values)
    from alphacryo4d.reconstruction import stage

    if values.pop("dry_run"):
        stage.source_particles(input_path)  # refuses stacks that are gone
        click.echo(f"would reconstruct the states of {input_path} into {output_path}", err=True)
        return
    made = stage.run_reconstruct(input_path, output_path, options=options, flags=take_flags(values))
    _end("reconstruct", output_path, made, values["as_json"])


@vote.command(context_settings=CONTEXT)
@input_option("Project folder with resample and vote.", required=False)
@selection_option("vote by default")
@output_option("Output folder.", required=False)
@settings_options(ReclassifyOptions)
@seed_option
@max_time_option
@common_options
def reclassify(selection: str | None, **values: Any) -> None:
    """Classify every fold again from the voted states, and count the votes again."""
    selection, given = selection or files.VOTE, selection
    usual = selection.replace(files.VOTE, files.RECLASSIFY, 1)
    usual = f"{selection}-again" if usual == selection else usual
    input_path, output_path = _places(values, ".", usual)
    if given is not None:
        selection_folder(input_path, given)
    options = build_settings(ReclassifyOptions, values)
    as_json, dry_run = values.pop("as_json"), values.pop("dry_run")
    if dry_run:
        click.echo(
            f"would classify the folds of {input_path} from the states of {selection}, in at most "
            f"{plural(options.rounds, 'round')}, and write {output_path}",
            err=True,
        )
        _say_reclassify(input_path, input_path / selection, output_path, options, values["seed"])
        return
    from alphacryo4d.reclassify.stage import run_reclassify

    made = run_reclassify(
        input_path,
        output_path,
        selection=selection,
        options=options,
        flags=take_flags(values),
        **values,
    )
    _end(files.RECLASSIFY, output_path, made, as_json)


@vote.command(context_settings=CONTEXT)
@input_option(
    "Folder that `alphacryo4d vote` (or `vote reclassify`) wrote, or a project folder.",
    required=False,
)
@selection_option("the reclassification by default, else the votes")
@output_option("Output folder.")
@settings_options(RefineOptions)
@gpu_option
@seed_option
@common_options
def refine(selection: str | None, **values: Any) -> None:
    """Write RELION's refinement of every state; --engine relion runs it."""
    input_path, output_path = _places_of_states(values, selection)
    options = build_settings(RefineOptions, values)
    as_json, dry_run = values.pop("as_json"), values.pop("dry_run")
    if dry_run:
        click.echo(f"would refine the states of {input_path} in {output_path}", err=True)
        return
    from alphacryo4d.reconstruction.refine_stage import run_refine

    flags = take_flags(values)
    made = run_refine(input_path, output_path, options=options, flags=flags, **values)
    _end("refine", output_path, made, as_json)


vote.add_command(density_command)
