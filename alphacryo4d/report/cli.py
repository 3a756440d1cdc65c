"""``alphacryo4d report``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from alphacryo4d.core.errors import MissingProgramError, UsageError
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    answer,
    input_option,
    json_option,
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
    help="HTML file; report.html in the project by default.",
)
@click.option(
    "--serve",
    is_flag=True,
    help="Show the page at an address of this machine (127.0.0.1) instead of writing it; it "
    "follows the project while a run goes on. From elsewhere: ssh -L PORT:127.0.0.1:PORT.",
)
@click.option(
    "--allow-edits",
    is_flag=True,
    help="With --serve: the page may save edits.json and run the commands that it proposes.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --serve; 0: any.")
@selection_option("the page opens with the last one by default")
@json_option
def report(
    input_path: Path | None,
    output_path: Path | None,
    serve: bool,
    allow_edits: bool,
    port: int,
    selection: str | None,
    as_json: bool,
) -> None:
    """One HTML page of a project: states, landscape, maps, particles, and what to do next.

    The page is one file that needs no network and opens in any browser.
    """
    input_path = input_path or Path()
    if not serve:
        if allow_edits or port:
            raise UsageError("--allow-edits and --port go with --serve")
        from alphacryo4d.report.project_files import last_set
        from alphacryo4d.report.stage import write_report_page
        from alphacryo4d.selection.sets_stage import say_selection, selection_folder

        if selection is not None:
            selection_folder(input_path, selection)
        shown = selection or last_set(input_path)
        if shown is not None:
            say_selection(input_path, shown, "the page opens with them; --selection takes {}")
        page = write_report_page(input_path, output_path, selection)
        if shown is not None:
            from alphacryo4d.report.ending import say_next

            say_next("report", input_path / shown)
        answer([page], as_json=as_json)
        return
    if output_path is not None or selection is not None:
        raise UsageError("--serve writes no file; leave out --o and --selection")
    for library in ("starlette", "uvicorn"):
        if importlib.util.find_spec(library) is None:
            raise MissingProgramError(f"{library} is missing: pip install 'alphacryo4d[report]'")
    from alphacryo4d.report.server import serve as serve_page

    def show(address: str) -> None:
        click.echo(address)
        click.echo("open this address; Ctrl-C ends the server", err=True)

    serve_page(input_path, port=port, allow_edits=allow_edits, ready=show)
