"""``alphacryo4d chimerax``."""

from __future__ import annotations

from pathlib import Path

import click

from alphacryo4d.core.here import fill_from_project
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    answer,
    input_option,
    json_option,
    require_options,
    selection_option,
)


@click.command(context_settings=CONTEXT)
@input_option("Project folder; the one that one works in by default.", required=False)
@click.option(
    "--o",
    "--output",
    "output_path",
    type=PATH,
    default=None,
    help="Scene to write; states.cxc in the project by default.",
)
@selection_option("the reclassification by default, else the votes")
@json_option
def chimerax(
    input_path: Path | None, output_path: Path | None, selection: str | None, as_json: bool
) -> None:
    """A scene for ChimeraX: all state maps, a morph along the path, difference maps.

    Maps have one contour level and the colours and names of the landscape; models are numbered
    along the path. Paths are relative to the file.
    """
    from alphacryo4d.report.scene_stage import write_scene

    values = {"input_path": input_path}
    fill_from_project(values, input_path=".")
    require_options(i=values["input_path"])
    assert values["input_path"] is not None
    answer([write_scene(values["input_path"], output_path, selection)], as_json=as_json)
