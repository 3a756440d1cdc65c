"""``alphacryo4d vote density``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alphacryo4d.core import files
from alphacryo4d.core.here import fill_from_project
from alphacryo4d.core.options import (
    CONTEXT,
    answer,
    build_settings,
    continue_option,
    dry_run_option,
    images_option,
    input_option,
    json_option,
    output_option,
    overwrite_option,
    require_options,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.voting.options import VoteOptions


@click.command("density", context_settings=CONTEXT)
@input_option("Project folder with `landscape particles`.", required=False)
@output_option("Output folder; vote-density in the project by default.", required=False)
@settings_options(VoteOptions, only=("threshold",))
@images_option
@threads_option
@overwrite_option
@continue_option
@dry_run_option
@json_option
def density_command(**values: Any) -> None:
    """States from single particles: basins of their density, voted over folds.

    Every fold that has seen a particle puts it into the basin that holds most of its posterior;
    the votes are counted as those of volumes are.
    """
    from alphacryo4d.particle_landscape.votes_stage import run_density_votes
    from alphacryo4d.report.ending import say_ending

    fill_from_project(values, input_path=".")
    require_options(i=values["input_path"])
    project: Path = values.pop("input_path")
    output: Path = values.pop("output_path") or project / files.VOTE_DENSITY
    options = build_settings(VoteOptions, values)
    as_json, dry_run = values.pop("as_json"), values.pop("dry_run")
    if dry_run:
        click.echo(f"would count votes for the basins of {project} in {output}", err=True)
        return
    made = run_density_votes(
        project, output, threshold=str(options.threshold), flags=take_flags(values)
    )
    say_ending("vote", output)
    answer(made, as_json=as_json)
