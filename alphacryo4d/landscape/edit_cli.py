"""``landscape states --merge 3+4 --drop 7 --name 2=open``: the short way to edit states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from alphacryo4d.core import files
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.here import fill_from_project
from alphacryo4d.core.options import require_options, selection_option

Command = TypeVar("Command", bound=Callable[..., Any])

_GO_WITH = {"input_path", "output_path", "threads", "dry_run", "as_json"}


def edit_options(command: Command) -> Command:
    """``--merge --drop --name --selection``."""
    for decorate in (
        selection_option("for --merge, --drop and --name, which edit votes: vote by default"),
        click.option("--name", "called", multiple=True, metavar="2=open", help="Name a state."),
        click.option("--drop", multiple=True, metavar="7", help="Take a state away."),
        click.option(
            "--merge",
            multiple=True,
            metavar="3+4",
            help="Make states of a project (--i) one, and with the next two options: edit them as "
            "`alphacryo4d vote --edits` does.",
        ),
    ):
        command = decorate(command)
    return command


def edit_here(values: dict[str, Any]) -> list[Path] | None:
    """Edit the states of a project, where the values of the command ask for it.

    Returns
    -------
    list of Path or None
        What was written, nothing with ``--dry-run``; None where no edit was asked for.
    """
    from alphacryo4d.voting.edits import short_edits

    edits = short_edits(*(values.pop(name) for name in ("merge", "drop", "called")))
    selection = values.pop("selection")
    if not edits:
        if selection is not None:
            raise UsageError("--selection: goes with --merge, --drop or --name")
        return None
    context = click.get_current_context()
    for name in values.keys() - _GO_WITH:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = next(one.opts[0] for one in context.command.params if one.name == name)
            raise UsageError(f"{option}: does not go with --merge, --drop or --name")
    if values["output_path"] is not None:
        raise UsageError("--o: edited states go into the project, as vote-2, vote-3 ...")
    fill_from_project(values, input_path=".")
    require_options(i=values["input_path"])
    project: Path = values["input_path"]
    if not (project / files.RESAMPLE).is_dir():
        raise UsageError(f"--i {project}: a project folder is needed to edit its states")
    from alphacryo4d.pipeline.editing import edit_states

    return edit_states(
        project,
        edits,
        selection=selection or files.VOTE,
        threads=values["threads"],
        dry_run=values["dry_run"],
    )
