"""``alphacryo4d select``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from alphacryo4d.core.options import (
    CONTEXT,
    answer,
    dry_run_option,
    input_option,
    json_option,
    output_option,
    overwrite_option,
    selection_option,
)
from alphacryo4d.core.run_flags import RunFlags


@click.command(context_settings=CONTEXT)
@input_option(
    "Project folder, or a particle table (STAR or .cs); the project that one works in by default.",
    required=False,
)
@output_option("Folder for particles.star (particles.cs) and select.json.", required=False)
@click.option(
    "--where",
    required=True,
    metavar="CRITERION",
    help="Such as: state in 1,3 and confidence >= 0.67 and not micrograph ~ 'mic_0*'. Columns: "
    "state, votes, confidence, entropy, heldout, energy (kT), x, y, posterior, micrograph, "
    "defocus (A), batch, group, half, optics, row, and those of the table; inside FILE (corners of "
    "a polygon in the embedding), rows FILE (rows from 0).",
)
@selection_option("the reclassification by default, else the votes")
@overwrite_option
@dry_run_option
@json_option
def select(
    input_path: Path | None,
    output_path: Path | None,
    where: str,
    selection: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Particles by any criterion, rows byte for byte as in the input.

    --dry-run counts them and writes nothing.
    """
    from alphacryo4d.core.options import require_options
    from alphacryo4d.report.ending import say_next
    from alphacryo4d.selection.stage import choose_particles, run_select

    input_path = input_path or Path()
    if dry_run:
        chosen = choose_particles(input_path, where, selection)
        counts = {"particles": int(chosen.rows.sum()), "of": len(chosen.rows)}
        click.echo(json.dumps(counts) if as_json else f"{counts['particles']} of {counts['of']}")
        return
    require_options(o=output_path)
    assert output_path is not None
    flags = RunFlags(overwrite=overwrite)
    made = run_select(input_path, output_path, where=where, selection=selection, flags=flags)
    say_next("select", output_path)
    answer(made, as_json=as_json)
