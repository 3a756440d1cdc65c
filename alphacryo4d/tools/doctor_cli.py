"""Command ``doctor``: what this machine has, and what a missing part would bring."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from alphacryo4d.core.errors import MissingProgramError
from alphacryo4d.core.options import CONTEXT, PATH, json_option


@click.command(context_settings=CONTEXT)
@click.option("--folder", type=PATH, default=Path(), help="Folder whose disk is looked at.")
@click.option("--devices/--no-devices", default=True, help="Ask TensorFlow for GPUs (seconds).")
@json_option
def doctor(folder: Path, devices: bool, as_json: bool) -> None:
    """Look at Python, TensorFlow and its devices, RELION, Slurm, threads, memory and disk.

    Exit code 4 where a needed part is missing.
    """
    from alphacryo4d.tools.doctor import examine

    findings = examine(folder, devices=devices)
    if as_json:
        entries = [dataclasses.asdict(entry) | {"mark": entry.mark} for entry in findings]
        click.echo(json.dumps(entries))
    else:
        for entry in findings:
            click.echo(f"{entry.mark:8} {entry.name:20} {entry.found or ''}".rstrip())
            if entry.advice:
                click.echo(f"{'':9}{entry.advice}")
    missing = [entry.name for entry in findings if entry.mark == "MISSING"]
    if missing:
        absent = MissingProgramError(
            f"{', '.join(missing)}: needed and not there; pip install -e . in the checkout"
        )
        absent.answered = as_json
        raise absent
