"""The root command: quick help, exit codes, equal spellings."""

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from small_tables import make_images, modern_table, numbered, run_command

from alphacryo4d import cli
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.options import CONTEXT, build_settings, require_options, settings_options
from alphacryo4d.resample.options import ResampleOptions

HEAVY = ("tensorflow", "keras", "matplotlib", "sklearn", "numba", "pandas", "scipy")


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alphacryo4d", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def every_command() -> list[tuple[str, ...]]:
    """All commands and subcommands of the program."""
    commands: list[tuple[str, ...]] = [()]
    context = click.Context(cli.root)
    for name in cli.COMMANDS:
        command = cli.root.get_command(context, name)
        commands.append((name,))
        if isinstance(command, click.Group):
            commands += [(name, sub) for sub in command.commands]
    return commands


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    script = (
        "import sys; from alphacryo4d.cli import root\n"
        f"root.main([*{words!r}, '--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == "[]"
    assert "Usage: " in result.stdout


def test_help_answers_at_once() -> None:
    """What is imported is what takes its time: hardly more than click itself, on any machine."""
    count = "import sys; print(len(sys.modules), file=sys.stderr)"
    shown = "from alphacryo4d.cli import root; root.main(['--help'], standalone_mode=False)"
    with_click, with_help = (
        int(subprocess.run([sys.executable, "-c", f"{first}; {count}"], capture_output=True,
                           text=True, check=True).stderr)
        for first in ("import click", shown)
    )  # fmt: skip
    assert with_help < 2 * with_click


def test_wrong_usage_is_exit_code_2() -> None:
    for arguments in (["nonsense"], ["resample", "--folds", "4", "--i", "x", "--o", "y"]):
        result = run_program(*arguments)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


def test_a_missing_input_is_exit_code_3_and_writes_nothing(tmp_path: Path) -> None:
    result = run_program("run", "--i", str(tmp_path / "gone.star"), "--o", str(tmp_path / "out"))
    assert result.returncode == 3
    assert "gone.star" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_known_errors_become_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def broken() -> None:
        raise InputError("x.star: row 3: no image name; remove the row")

    monkeypatch.setattr(cli.root, "get_command", lambda *_: broken)
    with pytest.raises(SystemExit) as stop:
        cli.main(["check"])
    assert stop.value.code == 3
    assert capsys.readouterr().err == "error: x.star: row 3: no image name; remove the row\n"


def test_underscores_and_dashes_are_equal() -> None:
    @click.command(context_settings=CONTEXT)
    @settings_options(ResampleOptions)
    def command(**values: object) -> ResampleOptions:
        return build_settings(ResampleOptions, dict(values))

    for spelling in ("--batch_size", "--batch-size"):
        options = command.main([spelling, "500"], standalone_mode=False)
        assert options == ResampleOptions(batch_size=500)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("run", "--realign", "--i", "p.star", "--no_realign"), "--no-realign and --realign"),
        (("vote", "reclassify", "--no-merge", "--merge"), "--merge and --no-merge"),
    ],
)
def test_a_switch_given_both_ways_is_refused(words: tuple[str, ...], named: str) -> None:
    done = run_program(*words)
    assert done.returncode == 2
    assert sorted(named.split(" and ")) == sorted(re.findall(r"--[\w-]+", done.stderr))
    assert done.stderr.endswith("give one of them\n")


def test_missing_options_of_a_group_are_named() -> None:
    with pytest.raises(Exception, match="--i, --o must be given"):
        require_options(i=None, o=None)


def test_failures_of_the_system_are_one_line() -> None:
    failed = OSError(errno.ENOSPC, "No space left on device", "out/x")
    assert cli.explain_failure(failed) == (
        "out/x: No space left on device; make room, or take another folder",
        6,
    )
    failed = PermissionError(errno.EACCES, "Permission denied", "out")
    assert cli.explain_failure(failed)[1] == 3
    assert cli.explain_failure(MemoryError())[1] == 6


@pytest.mark.parametrize(
    "failed",
    [
        RuntimeError("can't start new thread"),
        ImportError("libopenblas.so: failed to map segment from shared object"),
    ],
)
def test_a_library_without_memory_ends_the_program_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failed: Exception
) -> None:
    def fail(**_: object) -> None:
        raise failed

    monkeypatch.setattr(cli.root, "main", fail)
    done = run_command(capsys, "check")
    assert done.returncode == 6
    assert "error: not enough memory; give --memory or --j 1" in done.stderr


def test_too_little_address_space_is_said_before_libraries_end_the_program() -> None:
    script = f"ulimit -v 300000; exec {sys.executable} -m alphacryo4d run --i x.star --o project"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 6
    assert "needs about 0.6 GB of address space" in ended.stderr


def test_other_errors_of_libraries_are_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(cli.root, "main", fail)
    with pytest.raises(RuntimeError, match="changed size"):
        cli.main(["check"])


@pytest.mark.parametrize(("left", "code"), [(1 << 20, 6), (float("inf"), 130)])
def test_an_interrupt_of_a_library_without_memory_is_told_from_that_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left: float, code: int
) -> None:
    def fail(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.root, "main", fail)
    monkeypatch.setattr(cli, "address_space_left", lambda: left)
    assert run_command(capsys, "check").returncode == code


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_failure_of_the_system_ends_the_program_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    def fail(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/x")

    monkeypatch.setattr(cli.root, "main", fail)
    done = run_command(capsys, "check", *more)
    assert done.returncode == 6
    assert "out/x: No space left on device" in done.stderr
    assert ('"exit_code": 6' in done.stdout) == bool(more)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    make_images(tmp_path / "a.mrcs")
    table = modern_table(tmp_path / "p.star", numbered(f"{tmp_path}/a.mrcs"))
    done = run_program("resample", "split", "--i", str(table), "--o", str(tmp_path / name))
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) <= 2
    assert f"error: {tmp_path}/file" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_all_is_done_changes_nothing(number):
    """What was asked is done and said: the exit code is that of the work."""
    code = (
        "import atexit, os, sys; from alphacryo4d.cli import main; "
        f"atexit.register(os.kill, os.getpid(), {int(number)}); "
        "sys.argv = ['alphacryo4d', 'cite']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "AlphaCryo4D" in done.stdout
