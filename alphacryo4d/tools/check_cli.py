"""Command ``check``: every fault of an input in one list; exit code 3 where there is one."""

from __future__ import annotations

import json
import logging
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.identity import absolute_path
from alphacryo4d.core.options import CONTEXT, input_option, json_option, optics_options
from alphacryo4d.core.settings import IMAGES_FROM
from alphacryo4d.core.words import plural

if TYPE_CHECKING:
    from alphacryo4d.io.tables.faults import Fault

logger = logging.getLogger(__name__)


@click.command(context_settings=CONTEXT)
@input_option("Particle table (STAR of RELION 3.0 to 5, or cryoSPARC .cs).")
@click.option("--full", is_flag=True, help="Look at every pixel, not at a sample of 1,000 images.")
@click.option(
    "--poses/--no-poses", "need_poses", default=True, help="Whether missing poses are a fault."
)
@optics_options
@json_option
def check(input_path: Path, full: bool, need_poses: bool, as_json: bool, **given: Any) -> None:
    """Find every fault of a particle table and its images before work starts.

    Looks for missing, truncated or odd stacks, images beyond a stack, pixels that are not finite,
    missing columns, optics groups without entry, duplicates, blank lines and more, and for values
    that no microscope has. Exit code 3 where there is a fault; warnings alone leave it 0. Nothing
    is written.
    """
    from alphacryo4d.core.progress import show_progress
    from alphacryo4d.tools.check import examine

    with show_progress("check") as progress:
        report = examine(
            input_path, full=full, need_poses=need_poses, given=given, progress=progress
        )
    for warning in report.warnings:
        logger.warning("warning: %s", warning)
    if as_json:
        faults = [plain(fault) for fault in report.faults]
        answer = {"path": str(input_path), "sound": not faults, **report.summary}
        answer |= {"faults": faults, "warnings": [plain(fault) for fault in report.warnings]}
        click.echo(json.dumps(answer))
    if report.faults:
        lines = "\n".join(f"  {fault}" for fault in report.faults)
        count = plural(len(report.faults), "fault")
        fault = InputError(f"{input_path}: {count}\n{lines}")
        fault.answered = as_json
        raise fault
    if not as_json:
        for line in summary_lines(report.summary):
            click.echo(line)
        words = next_words(input_path, poses=report.summary["poses"], given=given)
        logger.info("next: %s", shlex.join(["alphacryo4d", *words]))


def next_words(table: Path, *, poses: bool, given: dict[str, Any]) -> list[str]:
    """Words of the command that goes on from a sound table: its optics, its images, its poses."""
    words = ["run", "--i", str(table), "--o", "project", "--reclassify"]
    options = click.get_current_context().command.params
    for option in options:
        value = given.get(option.name or "")
        if value is not None:
            words += [option.opts[0], f"{value:g}"]
    images_from = os.environ.get(IMAGES_FROM)
    if images_from:
        place = Path(images_from)
        here = place.resolve() == Path.cwd().resolve()
        words += ["--images-from", "." if here else str(absolute_path(place))]
    return words if poses else [*words, "--reference", "MAP"]


def plain(fault: Fault) -> dict[str, str]:
    """A fault or warning as JSON has it."""
    return {
        "file": str(fault.path),
        "where": fault.where,
        "what": fault.what,
        "way_out": fault.way_out,
        "kind": fault.kind,
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Summary of a sound input for a reader."""
    boxes = ", ".join(str(box) for box in summary["box"])
    stacks = plural(summary["stacks"], "stack")
    lines = [
        f"{summary['particles']:,} particles ({summary['format']}) in {stacks}, box {boxes} px"
    ]
    for group in summary.get("optics_groups", []):
        values = (
            ("pixel_size", "A a pixel"),
            ("voltage", "kV"),
            ("spherical_aberration", "mm"),
            ("amplitude_contrast", "amplitude contrast"),
        )
        shown = ", ".join(
            f"{group[name]:g} {unit}" for name, unit in values if group[name] is not None
        )
        lines.append(f"{group['name']}: {group['particles']:,} particles, {shown}")
    lines.append("no fault found")
    return lines
