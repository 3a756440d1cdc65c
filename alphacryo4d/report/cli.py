"""``alphacryo4d report``."""

from __future__ import annotations

from pathlib import Path

import click

from alphacryo4d.core.options import CONTEXT, PATH, answer, input_option, json_option


@click.command(context_settings=CONTEXT)
@input_option("Project folder.")
@click.option(
    "--o",
    "--output",
    "output_path",
    type=PATH,
    default=None,
    help="HTML file; report.html in the project by default.",
)
@json_option
def report(input_path: Path, output_path: Path | None, as_json: bool) -> None:
    """One HTML page of a project: states, landscape, maps, particles, and what to do next.

    The page is one file that needs no network and opens in any browser.
    """
    from alphacryo4d.report.stage import write_report_page

    answer([write_report_page(input_path, output_path)], as_json=as_json)
