"""``alphacryo4d relocate``."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    dry_run_option,
    input_option,
    json_option,
)
from alphacryo4d.core.words import plural

logger = logging.getLogger(__name__)


@click.command(context_settings=CONTEXT)
@input_option("Project folder.")
@click.option(
    "--images-from",
    "--datadir",
    "images_from",
    type=PATH,
    default=None,
    metavar="FOLDER",
    help="Folder where the stacks are now, under their paths in the table or the ends of these.",
)
@click.option(
    "--table", type=PATH, default=None, help="Where the particle table of the project is now."
)
@dry_run_option
@json_option
def relocate(
    input_path: Path, images_from: Path | None, table: Path | None, dry_run: bool, as_json: bool
) -> None:
    """A project whose stacks, table or own folder moved: put their places on record.

    Every file must be the one that the project was made from, by its content. Nothing is computed
    again. Without further options it is said where the project reads from, and a copied project
    forgets where it came from.
    """
    from alphacryo4d.tools.relocate import find_places, relocate

    places = find_places(input_path, images_from, table)
    changed = [] if dry_run else relocate(input_path, places)
    logger.info(
        "%s; %s; %s",
        places.table,
        plural(len(places.stacks), "stack"),
        "nothing was written" if dry_run else f"{plural(len(changed), 'record')} changed",
    )
    told = {"table": str(places.table), "images": [str(path) for path in places.stacks]}
    if as_json:
        click.echo(json.dumps(told | {"changed": [str(path) for path in changed]}))
        return
    for path in (places.table, *places.stacks):
        click.echo(path)
