"""Help in groups: few options at first, all of them by ``--help-all``."""

import click
import pytest
from click.testing import CliRunner

from alphacryo4d import cli
from alphacryo4d.core.help import FEW, MAIN_GROUPS


def help_of(*words: str) -> str:
    result = CliRunner().invoke(cli.root, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def command_of(*words: str) -> click.Command:
    command: click.Command = cli.root
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    return command


@pytest.mark.parametrize(
    "words",
    [("run",), ("resample",), ("landscape",), ("vote", "reclassify"), ("deepfeature", "train")],
    ids=" ".join,
)
def test_short_help_shows_groups_and_the_long_one_every_option(words):
    options = [one for one in command_of(*words).params if isinstance(one, click.Option)]
    visible = [one for one in options if not one.hidden]
    assert len(visible) > FEW
    short, long = help_of(*words, "--help"), help_of(*words, "--help-all")
    named = [one.opts[0] for one in visible]
    shown = [name for name in named if f"  {name}" in short]
    assert len(shown) <= 24
    assert all(f"  {name}" in long for name in named)
    assert f"Show all {len(visible)} options" in short
    titles = [line[:-1] for line in short.splitlines() if line[:-1] in MAIN_GROUPS]
    assert titles == [title for title in MAIN_GROUPS if title in titles]
    assert titles[0] == "Input and output"


def test_relion_and_cluster_have_groups_of_their_own():
    short, long = help_of("run", "--help"), help_of("run", "--help-all")
    for title, option in (("RELION", "--relion-args"), ("Cluster", "--qsub-template")):
        assert option not in short
        section = long.split(f"\n{title}:\n")[1].split("\n\n")[0]
        assert option in section


def test_a_command_with_few_options_shows_them_all():
    assert "--json" in help_of("vote", "count", "--help")
    assert "--help-all" not in help_of("vote", "count", "--help")
