"""Flags of a run: made in one place from the command line, taken whole by every stage."""

import ast
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import alphacryo4d
from alphacryo4d.core.errors import TimeLimitReached
from alphacryo4d.core.options import job_options, max_time_option, take_flags, threads_option
from alphacryo4d.core.run_flags import RunFlags

LOOSE = {"overwrite", "resume"}


def flags_of(*words: str) -> RunFlags:
    """Flags that a command makes of its words; what is left of its values are the other options."""
    made = []

    @click.command()
    @threads_option
    @max_time_option
    @job_options
    def command(**values):
        made.append(take_flags(values))
        assert set(values) == {"seed", "dry_run", "as_json"}

    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0
    return made[0]


def test_the_command_line_makes_the_flags():
    flags = flags_of("--overwrite", "--continue", "--j", "3", "--max-time", "1e-9")
    assert (flags.overwrite, flags.resume, flags.threads) == (True, True, 3)
    with pytest.raises(TimeLimitReached, match="--max-time"):
        flags.deadline.check()


def test_without_words_the_flags_are_those_of_python():
    flags = flags_of()
    assert (flags.overwrite, flags.resume, flags.threads) == (False, False, None)
    flags.deadline.check()
    RunFlags().deadline.check()


def test_a_command_without_threads_and_time_has_flags_too():
    values = {"overwrite": True, "seed": 4}
    assert take_flags(values).overwrite
    assert values == {"seed": 4}


def test_stages_take_the_flags_whole():
    """No stage takes one of them by itself, and what starts a job takes them."""
    package = Path(alphacryo4d.__file__).parent
    for path in sorted(package.rglob("*stage*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name.startswith("run_"):
                names = {one.arg for one in function.args.args + function.args.kwonlyargs}
                assert not names & LOOSE, f"{path.name}: {function.name}"
                calls = {ast.unparse(one.func) for one in ast.walk(function)
                         if isinstance(one, ast.Call)}  # fmt: skip
                if calls & {"start_job", "start_work"}:
                    assert "flags" in names, f"{path.name}: {function.name}"
