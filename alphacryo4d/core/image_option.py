"""``--images-from``: where relative image paths start from, for all commands that read images."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.help import INPUT, HelpOption
from alphacryo4d.core.settings import IMAGES_FROM, PROJECT_IMAGES

Command = TypeVar("Command", bound=Callable[..., Any])


def _start_images_from(context: click.Context, _: click.Parameter, folder: Path | None) -> None:
    """Hold for this command, and what it starts, where relative image paths start from."""
    if folder is None:
        places = (context.params.get(name) for name in ("input_path", "output_path"))
        _hold(context, PROJECT_IMAGES, _images_of_output(*places))
        return
    if not folder.is_dir():
        raise InputError(f"--images-from {folder}: no such folder")
    _hold(context, IMAGES_FROM, str(folder.absolute()))


def _images_of_output(table: Any, output: Any) -> str | None:
    """Where the record of the project in an output folder says that the images of a table are.

    Without an output it is the project folder that one works in, without a table that on record.
    """
    from alphacryo4d.core.files import RESAMPLE
    from alphacryo4d.core.record import recorded_image_root, recorded_inputs

    output = output or Path()
    table = table or next(iter(recorded_inputs(output / RESAMPLE)), None)
    for place in () if table is None else (output / RESAMPLE, output):
        recorded = recorded_image_root(place, table)
        if recorded is not None:
            return f"{recorded[1]}:{recorded[0]}"
    return None


def _hold(context: click.Context, name: str, value: str | None) -> None:
    """Set a variable of the environment while a command runs."""
    before = os.environ.get(name)
    if value is None:
        return
    os.environ[name] = value

    def restore() -> None:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before

    context.call_on_close(restore)


def images_option(command: Command) -> Command:
    """``--images-from``: the folder that relative image paths start from."""
    return click.option(
        "--images-from",
        "--datadir",
        cls=HelpOption,
        help_group=INPUT,
        type=click.Path(path_type=Path),
        envvar=IMAGES_FROM,
        expose_value=False,
        callback=_start_images_from,
        metavar="FOLDER",
        help="Folder that relative image paths start from; else the working directory, then the "
        "table's folder, then where the project had them.",
    )(command)
