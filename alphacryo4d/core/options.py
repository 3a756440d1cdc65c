"""Click options that all commands share, and options made from the settings dataclasses."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.help import FURTHER, INPUT, SPEED, FieldChoice, HelpOption
from alphacryo4d.core.image_option import images_option as images_option
from alphacryo4d.core.run_flags import RunFlags

Command = TypeVar("Command", bound=Callable[..., Any])
Settings = TypeVar("Settings")

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 100,
    "show_default": True,
}
"""Context settings of every command: underscores and dashes in long options are equal."""

PATH = click.Path(path_type=Path)


def input_option(help: str, *, required: bool = True) -> Callable[[Command], Command]:
    """``--i/--input``."""
    return click.option(
        "--i",
        "--input",
        "input_path",
        cls=HelpOption,
        help_group=INPUT,
        type=PATH,
        required=required,
        help=help,
    )


def output_option(
    help: str, *, required: bool = True, default: Path | None = None
) -> Callable[[Command], Command]:
    """``--o/--output``."""
    # click 8.5 takes an explicit default of None for a value: then nothing is required any more
    given: dict[str, Any] = {"default": default, "show_default": True} if default else {}
    return click.option(
        "--o",
        "--output",
        "output_path",
        cls=HelpOption,
        help_group=INPUT,
        type=PATH,
        required=required and default is None,
        help=help,
        **given,
    )


threads_option = click.option(
    "--j",
    "threads",
    cls=HelpOption,
    help_group=SPEED,
    type=click.IntRange(min=1),
    default=None,
    help="Threads; all cores by default.",
)
gpu_option = click.option(
    "--gpu",
    "gpu",
    cls=HelpOption,
    help_group=SPEED,
    type=str,
    default=None,
    help="GPU ids, such as 0,1,2,3; CPU where there is none.",
)
seed_option = click.option("--seed", type=int, default=0, help="Random seed.")
overwrite_option = click.option(
    "--overwrite",
    cls=HelpOption,
    help_group=INPUT,
    is_flag=True,
    help="Replace the results in the output folder.",
)
continue_option = click.option(
    "--continue",
    "resume",
    cls=HelpOption,
    help_group=INPUT,
    is_flag=True,
    help="Go on with work that was interrupted.",
)
dry_run_option = click.option(
    "--dry-run",
    cls=HelpOption,
    help_group=INPUT,
    is_flag=True,
    help="Say what would be done, and do nothing.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
memory_option = click.option(
    "--memory",
    cls=HelpOption,
    help_group=SPEED,
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    metavar="GB",
    help="Memory that images may take; half of the machine's by default.",
)
scratch_option = click.option(
    "--scratch",
    cls=HelpOption,
    help_group=SPEED,
    type=PATH,
    default=None,
    help="Folder on a fast disk for the images where they exceed --memory.",
)
max_time_option = click.option(
    "--max-time",
    cls=HelpOption,
    help_group=SPEED,
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    metavar="HOURS",
    help="Stop cleanly after this many hours (exit code 7); --continue goes on.",
)

OPTICS_TITLE = "Optics that the table lacks"
OPTICS = ("pixel_size", "voltage", "spherical_aberration", "amplitude_contrast")
"""Parameters that :func:`optics_options` gives a command."""


def optics_options(command: Command) -> Command:
    """``--pixel-size --voltage --cs --amplitude-contrast``: what a table may lack."""
    command = images_option(command)
    for flag, name, what in (
        ("--amplitude-contrast", "amplitude_contrast", "Amplitude contrast (fraction)"),
        ("--cs", "spherical_aberration", "Spherical aberration in mm"),
        ("--voltage", "voltage", "Voltage in kV"),
        ("--pixel-size", "pixel_size", "Pixel size in Angstrom"),
    ):
        text = f"{what}, where the table has none."
        command = click.option(
            flag, name, cls=HelpOption, help_group=OPTICS_TITLE, type=float, default=None, help=text
        )(command)
    return command


def selection_option(otherwise: str) -> Callable[[Command], Command]:
    """``--selection``: which states of a project are meant."""
    return click.option(
        "--selection",
        cls=HelpOption,
        help_group=INPUT,
        default=None,
        metavar="FOLDER",
        help="Folder of the project whose states are meant, such as vote, vote-2 or reclassify; "
        f"{otherwise}.",
    )


def job_options(command: Command) -> Command:
    """``--seed --overwrite --continue --dry-run --json``: the options of every job."""
    decorators = (seed_option, overwrite_option, continue_option, dry_run_option, json_option)
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def answer(results: Iterable[Path], *, as_json: bool) -> None:
    """Result paths on stdout, one a line or as one JSON object."""
    paths = [str(path) for path in results]
    if as_json:
        import json

        click.echo(json.dumps({"results": paths}))
    else:
        for path in paths:
            click.echo(path)


def _option_type(annotation: Any, metadata: typing.Mapping[str, Any]) -> Any:
    if metadata["choices"]:
        return FieldChoice(metadata["choices"], metadata["former_choices"])
    if metadata["type"] is not None:
        return PATH if metadata["type"] is Path else metadata["type"]
    arguments = [a for a in typing.get_args(annotation) if a is not types.NoneType]
    if (
        isinstance(annotation, types.UnionType)
        and len(arguments) == 1
        or typing.get_origin(annotation) is tuple
    ):
        annotation = arguments[0]
    return PATH if annotation is Path else annotation


def settings_options(
    settings: type[Any],
    *,
    only: Iterable[str] | None = None,
    leave_out: Iterable[str] = (),
    prefix: str = "",
    title: str = FURTHER,
    short: bool = True,
) -> Callable[[Command], Command]:
    """Click options for the fields of a settings dataclass (:func:`settings.setting`).

    Parameters
    ----------
    settings : type
        The dataclass.
    only, leave_out : iterable of str
        Fields to take, all by default, and to leave out.
    prefix : str
        What the command's keyword arguments begin with, where two dataclasses share a field name.
    title : str
        Group of the help for fields that name none.
    short : bool
        Whether the short help shows the fields that name one of its groups.
    """
    left_out = set(leave_out)
    if only is not None:
        left_out |= {field.name for field in dataclasses.fields(settings)} - set(only)
    annotations = typing.get_type_hints(settings)

    def decorate(command: Command) -> Command:
        for field in reversed(dataclasses.fields(settings)):
            metadata = field.metadata
            if field.name in left_out or not metadata or metadata["hidden"]:
                continue
            kind = _option_type(annotations[field.name], metadata)
            flags = metadata["flags"] or (f"--{field.name.replace('_', '-')}",)
            former = metadata["formerly"]
            keywords: dict[str, Any] = {
                "cls": HelpOption,
                "help_group": (short and metadata["group"]) or title,
                "formerly": former,
                "default": field.default,
                "help": metadata["help"],
                "metavar": metadata["metavar"],
                "show_default": field.default is not None,
            }
            if kind is bool:
                flags = (f"{flags[0]}/--no-{flags[0].lstrip('-')}", *flags[1:])
                former = keywords["formerly"] = tuple(
                    f"{name}/--no-{name.lstrip('-')}" for name in former
                )
            else:
                keywords |= {"type": kind, "nargs": metadata["nargs"]}
            command = click.option(*flags, *former, f"{prefix}{field.name}", **keywords)(command)
        return command

    return decorate


def build_settings(
    settings: type[Settings], values: dict[str, Any], *, prefix: str = "", **more: Any
) -> Settings:
    """Settings object from the values of a command, which are taken out of ``values``."""
    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    chosen = {name: values.pop(f"{prefix}{name}") for name in names if f"{prefix}{name}" in values}
    return settings(**(chosen | more))


def take_flags(values: dict[str, Any]) -> RunFlags:
    """Flags of a run, taken out of the values of a command; its time begins now."""
    return RunFlags(
        overwrite=values.pop("overwrite", False),
        resume=values.pop("resume", False),
        threads=values.pop("threads", None),
        deadline=Deadline(values.pop("max_time", None)),
    )


def require_options(**values: Any) -> None:
    """Raise ``UsageError`` for options of a group that stand without a value.

    A group runs its whole stage when no subcommand is named, so click cannot demand its options.
    """
    missing = [f"--{name}" for name, value in values.items() if value is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} must be given; --help shows all options")
