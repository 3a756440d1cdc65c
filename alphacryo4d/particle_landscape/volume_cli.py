"""``alphacryo4d volume``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alphacryo4d.core import files
from alphacryo4d.core.help import HelpCommand
from alphacryo4d.core.here import fill_from_project
from alphacryo4d.core.options import (
    CONTEXT,
    answer,
    build_settings,
    images_option,
    input_option,
    job_options,
    max_time_option,
    output_option,
    require_options,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.core.words import plural
from alphacryo4d.particle_landscape.volume_options import VolumeOptions


@click.command("volume", cls=HelpCommand, context_settings=CONTEXT)
@input_option("Project folder, or one that `landscape particles` wrote.", required=False)
@output_option("Output folder; particle_volumes in the project by default.", required=False)
@settings_options(VolumeOptions)
@images_option
@threads_option
@max_time_option
@job_options
def volume_command(**values: Any) -> None:
    """Maps at points of the particle landscape, from all particles near them.

    Every particle counts by how much of its posterior lies near the point; half-sets choose how
    near, Fourier shell by shell. Each point gets map, half maps and FSC.
    """
    from alphacryo4d.particle_landscape.at_stage import run_volumes
    from alphacryo4d.particle_landscape.points_stage import kept_components, read_points
    from alphacryo4d.report.ending import say_ending

    fill_from_project(values, input_path=".")
    require_options(i=values["input_path"])
    given: Path = values.pop("input_path")
    inside = given / files.PARTICLE_LANDSCAPE
    landscape = inside if inside.is_dir() else given
    output: Path = values.pop("output_path") or landscape.parent / files.PARTICLE_VOLUMES
    options = build_settings(VolumeOptions, values)
    dry_run, as_json = values.pop("dry_run"), values.pop("as_json")
    points, names = read_points(options.at, landscape, kept_components(landscape))
    if dry_run:
        click.echo(
            f"would reconstruct {landscape} at {plural(len(points), 'point')} in {output}:",
            err=True,
        )
        for name in names:
            click.echo(name, err=True)
        return
    made = run_volumes(landscape, output, options=options, flags=take_flags(values))
    say_ending("volume", output)
    answer(made, as_json=as_json)
