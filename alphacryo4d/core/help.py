"""Help that a person can read: what matters, in groups, all others with ``--help-all``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

INPUT = "Input and output"
STATES = "Classes and states"
RESOLUTION = "Resolution and masks"
SPEED = "Speed"
MAIN_GROUPS = (INPUT, STATES, RESOLUTION, SPEED)
"""Titles of the groups that ``--help`` shows, in order."""

FURTHER = "Further options"
"""Title of options that name no group of their own."""

FEW = 18
"""A command with so many options, or fewer, shows all of them."""


class HelpOption(click.Option):
    """An option that knows its group of the help and hides its former names.

    Parameters
    ----------
    help_group : str
        Title of the group; one of :data:`MAIN_GROUPS` is shown by ``--help``, others only by
        ``--help-all``.
    formerly : tuple of str
        Former names, which work and are not shown.
    """

    def __init__(
        self,
        *arguments: Any,
        help_group: str = FURTHER,
        formerly: tuple[str, ...] = (),
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.help_group = help_group
        self.formerly = frozenset(part for name in formerly for part in name.split("/"))

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Names and help, without former names."""
        opts, secondary = self.opts, self.secondary_opts
        try:
            self.opts = [name for name in opts if name not in self.formerly]
            self.secondary_opts = [name for name in secondary if name not in self.formerly]
            return super().get_help_record(ctx)
        finally:
            self.opts, self.secondary_opts = opts, secondary


class FieldChoice(click.Choice[str]):
    """A choice that still takes the former names of its values."""

    def __init__(self, choices: Iterable[str], former: Mapping[str, str]) -> None:
        super().__init__(tuple(choices))
        self.former = former

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value by its present name."""
        return super().convert(self.former.get(value, value), param, ctx)


def _show_all(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Print the help with all options and end the program."""
    if value and not ctx.resilient_parsing:
        ctx.meta["alphacryo4d.help_all"] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


class GroupedHelp(click.Command):
    """A command whose help shows its options in groups."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a switch that is given both ways, of which the last would win unseen."""
        given = {arg.replace("_", "-") for arg in args[: [*args, "--"].index("--")]}
        for one in self.params:
            yes, no = given.intersection(one.opts), given.intersection(one.secondary_opts)
            if yes and no:
                raise click.UsageError(f"{min(yes)} and {min(no)}: give one of them", ctx)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Parameters with ``--help``, and ``--help-all`` where there are many."""
        params = super().get_params(ctx)
        if len(self.params) > FEW:
            count = sum(1 for one in self.params if not getattr(one, "hidden", False))
            show_all = click.Option(
                ["--help-all"], is_flag=True, is_eager=True, expose_value=False,
                callback=_show_all, help=f"Show all {count} options and exit.",
            )  # fmt: skip
            params.insert(len(self.params), show_all)
        return params

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups; of a command with many options only those that matter."""
        everything = len(self.params) <= FEW or ctx.meta.get("alphacryo4d.help_all", False)
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in MAIN_GROUPS}
        help_records = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param not in self.params:
                help_records.append(record)
                continue
            title = getattr(param, "help_group", FURTHER)
            if everything or title in MAIN_GROUPS or getattr(param, "required", False):
                groups.setdefault(title, []).append(record)
        further = groups.pop(FURTHER, [])
        if help_records or further:
            groups[FURTHER] = [*further, *help_records]
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)


class HelpCommand(GroupedHelp):
    """A command with grouped help."""


class HelpGroup(GroupedHelp, click.Group):
    """A group of commands with grouped help; its subcommands have it too."""

    command_class = HelpCommand
