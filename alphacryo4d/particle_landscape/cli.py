"""``alphacryo4d landscape particles``."""

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
    selection_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions


@click.command("particles", cls=HelpCommand, context_settings=CONTEXT)
@input_option("Project folder with resample and vote.", required=False)
@selection_option("their volumes span the first components; vote by default")
@output_option("Output folder; particle_landscape in the project by default.", required=False)
@settings_options(CoordinateOptions)
@settings_options(DensityOptions, title="Density and path")
@images_option
@threads_option
@max_time_option
@job_options
def particles_command(selection: str | None, **values: Any) -> None:
    """Where every particle lies, how many lie where, and the path between states.

    Coordinates among the components are those of the fold that has not seen the particle. Their
    density is freed of the blur that each particle's own error makes; energies are -ln of it.
    """
    from alphacryo4d.particle_landscape.stage import one_class, particles_work, run_particles
    from alphacryo4d.report.ending import say_ending
    from alphacryo4d.selection.sets_stage import say_selection, selection_folder

    fill_from_project(values, input_path=".")
    require_options(i=values["input_path"])
    project: Path = values.pop("input_path")
    output: Path = values.pop("output_path") or project / files.PARTICLE_LANDSCAPE
    selection = selection or files.VOTE
    if not one_class(project, selection):
        selection_folder(project, selection)
        say_selection(project, selection, "components start from them; --selection takes {}")
    options = build_settings(CoordinateOptions, values)
    density = build_settings(DensityOptions, values)
    dry_run, as_json = values.pop("dry_run"), values.pop("as_json")
    if dry_run:
        from alphacryo4d.core.foresight import say_work

        click.echo(f"would find coordinates of the particles of {project} in {output}", err=True)
        say_work(output, particles_work(project, selection, options, density, values["seed"]))
        return
    flags = take_flags(values)
    made = run_particles(
        project, output, selection=selection, options=options, density=density, flags=flags,
        **values,
    )  # fmt: skip
    say_ending(files.PARTICLE_LANDSCAPE, output)
    answer(made, as_json=as_json)
