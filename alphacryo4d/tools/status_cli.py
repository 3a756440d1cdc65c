"""``alphacryo4d status``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from alphacryo4d.core.options import CONTEXT, PATH, json_option


@click.command(context_settings=CONTEXT)
@click.argument("project", type=PATH, required=False)
@click.option("--i", "--input", "input_path", type=PATH, default=None, help="Project folder.")
@json_option
def status(project: Path | None, input_path: Path | None, as_json: bool) -> None:
    """Stages, folds and cluster jobs of a PROJECT folder (here by default)."""
    from alphacryo4d.tools.status import format_status, project_status

    told = project_status(project or input_path or Path())
    click.echo(json.dumps(told) if as_json else format_status(told))
