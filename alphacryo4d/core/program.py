"""External programs: find them, ask their version, run them and keep their log.

A command is a list of arguments and never passes a shell. A run is judged by its exit code here
and by its outputs where they are known; the last lines of its log stand in the error.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from alphacryo4d.core.errors import InputError, MissingProgramError, ProgramError, UsageError
from alphacryo4d.core.lock import HELD

logger = logging.getLogger(__name__)

SHOWN_LINES = 12
"""Lines of a failed program's log that its error shows."""
GRACE_SECONDS = 10.0
"""Time that a stopped program has to end by itself before it is killed."""
_MANGLED = set(" \t\"'`$#;|&<>()[]{}*?!\\:%@~^")


def find_program(name: str, *, hint: str = "") -> Path:
    """Absolute path of a program on ``PATH``.

    Parameters
    ----------
    name : str
        Name such as ``relion_refine``.
    hint : str
        What to do where it is missing.

    Raises
    ------
    MissingProgramError
        It is not installed.
    """
    program = shutil.which(name)
    if program is None:
        advice = hint or "install it or load its module, so that it is on PATH"
        raise MissingProgramError(f"{name}: no such program; {advice}")
    return Path(program).absolute()


def program_output(command: Sequence[str | Path], *, timeout: float = 60.0) -> str:
    """Text that a short command prints on stdout and stderr (for versions and queues).

    Raises
    ------
    ProgramError
        It fails or gives no answer in time.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise MissingProgramError(f"{words[0]}: no such program; load its module") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"{shlex.join(words)}: {error}") from error
    text = done.stdout.decode("utf-8", errors="replace")
    if done.returncode != 0:
        shown = "\n  ".join(text.strip().splitlines()[-SHOWN_LINES:])
        raise ProgramError(f"{shlex.join(words)}: exit code {done.returncode}\n  {shown}")
    return text


def refuse_unsafe_name(path: str | Path, *, program: str) -> None:
    """Refuse a file name that a program which hands names to a shell would mangle.

    RELION passes names to ``system()``, splits its tables at blanks and gives ``@``, ``:``, ``#``
    and ``%`` in names a meaning of their own.

    Raises
    ------
    InputError
        With the character that is at fault.
    """
    text = str(path)
    if any(part.startswith("-") for part in text.split("/")):
        raise InputError(f"{text!r}: {program} would take a name with a leading '-' for an option")
    for character in text:
        if character in _MANGLED or not character.isprintable():
            raise InputError(
                f"{text!r}: {program} would mangle the character {character!r} in this name; "
                "rename or link the file, or take another folder"
            )


def log_tail(log: Path, lines: int = SHOWN_LINES) -> str:
    """Last lines of a log, progress bars left out."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 65536))
        text = stream.read().decode("utf-8", errors="replace")
    kept = [
        line.rstrip()
        for line in re.split(r"[\r\n]+", text)
        if line.strip() and "~~(,_," not in line
    ]
    return "\n".join(f"  {line}" for line in kept[-lines:])


def _line_end(log: Path) -> str:
    """A line break where a log ends in mid-line."""
    with log.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return ""
        stream.seek(-1, os.SEEK_END)
        return "" if stream.read(1) == b"\n" else "\n"


def run_program(
    command: Sequence[str | Path],
    *,
    log: Path,
    folder: Path | None = None,
    without: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run a program to its end; its output goes to a log that grows as it runs.

    An interrupt of this process, or any other error in it, ends the program and all that it
    started. There is no time limit.

    Parameters
    ----------
    command : sequence of str or Path
        Program and arguments; never given to a shell.
    log : Path
        File that the command line and the output are appended to.
    folder : Path, optional
        Working directory.
    without : tuple of str
        Variables of the environment whose names begin so are kept from the program.
    variables : mapping, optional
        Variables that the program gets where the environment has none of that name.
    watch : callable, optional
        Called once a second; an exception that it raises ends the program (``--max-time``).

    Raises
    ------
    MissingProgramError
        There is no such program.
    ProgramError
        It ended with another exit code than 0; the message shows the end of its log.
    """
    words = [str(word) for word in command]
    kept = {k: v for k, v in os.environ.items() if not (without and k.startswith(without))}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        # a program that was killed may have ended in mid-line
        stream.write(f"{_line_end(log)}$ {shlex.join(words)}\n".encode())
        stream.flush()
        logger.info("running %s (log: %s)", Path(words[0]).name, log)
        begun = time.monotonic()
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                cwd=folder, env={**(variables or {}), **kept}, start_new_session=True,
                pass_fds=tuple(HELD),
            )  # fmt: skip
        except (FileNotFoundError, PermissionError) as error:
            raise MissingProgramError(f"{words[0]}: cannot be run ({error.strerror})") from error
        try:
            code = _wait(process, watch)
        finally:
            if process.poll() is None:
                _end_group(process)
    logger.debug("%s took %.1f s", words[0], time.monotonic() - begun)
    _require_success(code, Path(words[0]).name, log)


def _require_success(code: int, program: str, log: Path) -> None:
    if code != 0:
        raise ProgramError(
            f"{program}: {_describe(code)}; its last lines (all in {log}):\n{log_tail(log)}"
        )


def _wait(process: subprocess.Popen[bytes], watch: Callable[[], None] | None) -> int:
    if watch is None:
        return process.wait()
    while True:
        watch()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=1.0)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"ended by signal {signal.Signals(-code).name}"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program with everything that it started, first politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        except BaseException:  # a second wish to end does not wait
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def extra_arguments(text: str | None) -> list[str]:
    """Split free extra arguments as a shell would, without running one.

    Raises
    ------
    UsageError
        A quotation mark is not closed.
    """
    try:
        return shlex.split(text or "")
    except ValueError as error:
        raise UsageError(f"extra arguments {text!r}: {error}") from error


def command_lines(commands: Iterable[Sequence[str | Path]]) -> str:
    """Commands as text that can be pasted into a shell (for ``--dry-run``)."""
    return "".join(shlex.join([str(word) for word in command]) + "\n" for command in commands)
