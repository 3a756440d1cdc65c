"""Command ``convert``: particle tables from STAR to cryoSPARC ``.cs`` and back."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    input_option,
    json_option,
    optics_options,
    output_option,
    overwrite_option,
)

logger = logging.getLogger(__name__)


@click.command("convert", context_settings=CONTEXT)
@input_option("Particles: .star of RELION 3.0 to 5, or .cs of cryoSPARC.")
@output_option("Particles in the other format: .cs or .star.")
@click.option(
    "--passthrough",
    type=PATH,
    multiple=True,
    help="Passthrough .cs file of the same particles (repeatable). With a .star that came from "
    ".cs: the .cs files that it was made from, whose rows are written with every field as it was, "
    "but poses that were refined.",
)
@optics_options
@overwrite_option
@json_option
def convert_command(
    input_path: Path,
    output_path: Path,
    passthrough: tuple[Path, ...],
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert particles between STAR and cryoSPARC .cs.

    Poses, shifts, CTF, half-sets and classes are converted; images stay where they are. A .star
    that came from .cs keeps the uid of every particle (ac4dUid), so that any selection of its rows
    goes back to cryoSPARC with --passthrough ORIGINAL.cs. From .star to .star, --pixel-size,
    --voltage, --cs and --amplitude-contrast fill in what the table lacks.
    """
    from alphacryo4d.report.ending import say_next
    from alphacryo4d.tools.convert import convert

    if output_path.exists() and not overwrite:
        raise UsageError(f"{output_path}: is there already; take another --o or --overwrite")
    count = convert(input_path, output_path, passthrough=passthrough, **given)
    logger.info("%d particles", count)
    say_next("convert", output_path)
    if as_json:
        click.echo(json.dumps({"results": [str(output_path)], "particles": count}))
    else:
        click.echo(output_path)
