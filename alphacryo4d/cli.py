"""The root command: joins the groups, sets up logging, turns errors into exit codes."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from alphacryo4d import __version__
from alphacryo4d.core.allocator import keep_large_arrays
from alphacryo4d.core.errors import AlphaCryo4DError, InterruptedRun
from alphacryo4d.core.guard import name_lost_files, watch_over_memory
from alphacryo4d.core.kernel_cache import choose_kernel_cache
from alphacryo4d.core.memory import (
    address_space_left,
    is_want_of_memory,
    require_address_space,
    ulimit_text,
)
from alphacryo4d.core.options import CONTEXT
from alphacryo4d.core.stopping import asked_to_end, end_on_signals, ignore_signals
from alphacryo4d.core.streams import open_streams
from alphacryo4d.core.words import OnceFilter

# name: (module, attribute, one line of help); loaded only when called, so that --help is quick
COMMANDS = {
    "run": ("pipeline.cli", "run", "All four stages, from particles to states."),
    "resample": ("resample.cli", "resample", "Shuffled folds and their 3D classes."),
    "deepfeature": (
        "deepfeature.cli",
        "deepfeature",
        "Deep features of the volumes by a 3D residual autoencoder.",
    ),
    "train": ("deepfeature.cli", "train_stage", "The whole deepfeature stage."),
    "landscape": (
        "landscape.cli",
        "landscape",
        "Embedding, energy, path and states.",
    ),
    "vote": ("voting.cli", "vote", "Particles of every state by their votes."),
    "volume": (
        "particle_landscape.volume_cli",
        "volume_command",
        "Maps at any points of the particle landscape.",
    ),
    "select": ("selection.cli", "select", "Particles by any criterion, to STAR or .cs."),
    "simulate": (
        "assessment.cli",
        "simulate",
        "Synthetic particles with a known answer.",
    ),
    "score": ("assessment.cli", "score", "Precision and recall against the truth."),
    "demo": ("pipeline.cli", "demo", "A known-answer example, start to end."),
    "report": ("report.cli", "report", "One HTML page of a project, to look at and act on."),
    "check": ("tools.check_cli", "check", "Every fault of an input in one list."),
    "convert": (
        "tools.convert_cli",
        "convert_command",
        "Particles from STAR to cryoSPARC .cs and back.",
    ),
    "external": (
        "tools.external_cli",
        "external",
        "The method as an External job of RELION.",
    ),
    "status": (
        "tools.status_cli",
        "status",
        "State of a project and its cluster jobs.",
    ),
    "chimerax": (
        "report.chimerax_cli",
        "chimerax",
        "A ChimeraX scene of the states: maps, morph, differences.",
    ),
    "relocate": (
        "tools.relocate_cli",
        "relocate",
        "A project whose stacks, table or folder moved.",
    ),
    "doctor": (
        "tools.doctor_cli",
        "doctor",
        "What this machine has and what is missing.",
    ),
    "cite": ("tools.cite_cli", "cite", "The references, as text and BibTeX."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the work."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the nearest name is told where there is none."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"no command {args[0]}{nearest(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(
            importlib.import_module(f"alphacryo4d.{module}"), attribute
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="alphacryo4d")
@click.option("--verbose", is_flag=True, help="More detail, and a traceback where it fails.")
@click.pass_context
def root(ctx: click.Context, verbose: bool) -> None:
    """Conformational states from cryo-EM particles, on a pseudo-energy landscape.

    Particles with consensus poses go in; out come states, the path between them, and for each
    state the particles that reproducibly belong to it. Start with `alphacryo4d demo`.
    """
    ctx.obj = {"verbose": verbose}
    _set_up_logging(verbose)


def nearest(name: str, known: list[str]) -> str:
    """Words that name what is nearest to a misspelt name."""
    import difflib

    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _one_line(wrong: click.ClickException) -> str:
    """A wrong call in one line, with the nearest name of a command or option."""
    if isinstance(wrong, click.NoSuchOption):
        known = []
        if wrong.ctx is not None:
            known = [name for p in wrong.ctx.command.params for name in p.opts]
        return f"no option {wrong.option_name}{nearest(wrong.option_name, known)}"
    command = getattr(getattr(wrong, "ctx", None), "command", None)
    if isinstance(wrong, click.UsageError) and isinstance(command, click.Group):
        word = re.fullmatch(r"No such command '([^']+)'.*", wrong.format_message(), re.DOTALL)
        if word is not None:
            return f"no command {word[1]}{nearest(word[1], list(command.commands))}"
    return " ".join(wrong.format_message().split())


def _fail(message: str, code: int, *, as_json: bool) -> NoReturn:
    """Say what is wrong, as JSON on stdout too where that was asked for, and exit.

    The exit code holds where nothing can be said: a stream that is closed, or on a full disk.
    """
    if as_json:
        with suppress(OSError, ValueError):
            click.echo(json.dumps({"error": message, "exit_code": code}))
    with suppress(OSError, ValueError):
        click.echo(f"error: {message}", err=True)
    sys.exit(code)


def _set_up_logging(verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(OnceFilter())
    package = logging.getLogger("alphacryo4d")
    package.handlers[:] = [handler]
    package.setLevel(logging.DEBUG if verbose else logging.INFO)
    package.propagate = False


def main(arguments: Sequence[str] | None = None, **extra: Any) -> None:
    """Entry point of ``alphacryo4d``; exits with the codes of the contract."""
    open_streams()
    own_process = arguments is None
    if own_process:
        watch_over_memory()
        keep_large_arrays()
        name_lost_files()
    end_on_signals()
    atexit.register(gc.freeze)  # to sweep what large libraries hold takes half a second at exit
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    choose_kernel_cache()
    try:
        if "numpy" not in sys.modules and not _QUICK & set(arguments):
            require_address_space(_LIBRARIES, "what it computes with (NumPy, SciPy, Numba)")
        root.main(args=arguments, prog_name="alphacryo4d", standalone_mode=False, **extra)
        if own_process:  # all is done and said: nothing is left that a signal could stop
            ignore_signals()
    except BaseException as ended:  # noqa: BLE001 - every end has its line and its code
        if own_process:
            ignore_signals()
        _end(ended, arguments)


def _end(ended: BaseException, arguments: Sequence[str]) -> None:
    """Say why a command ended, and exit with its code; a fault of the program is raised again."""
    if isinstance(ended, click.exceptions.Exit):
        sys.exit(ended.exit_code)
    asked = asked_to_end()  # a library may have made something else of the signal
    told = _words(ended) or (_words(asked) if asked and isinstance(ended, Exception) else None)
    if told is None:
        raise ended
    if "--verbose" in arguments and isinstance(ended, Exception):
        logging.getLogger(__name__).error("details", exc_info=ended)
    _fail(*told, as_json="--json" in arguments and not getattr(ended, "answered", False))


def _words(ended: BaseException) -> tuple[str, int] | None:
    """One line and the exit code of what ended a command, or None for a fault of the program."""
    if isinstance(ended, click.Abort | KeyboardInterrupt):
        if address_space_left() < _THREAD:  # OpenBLAS interrupts where it gets no more threads
            return explain_failure(MemoryError())
        return "stopped; the same command goes on from here", 130
    if isinstance(ended, click.ClickException):
        return _one_line(ended), 2
    if isinstance(ended, AlphaCryo4DError | InterruptedRun):
        return str(ended), ended.exit_code
    if isinstance(ended, OSError):  # the machine's fault: a folder, a disk, the memory
        return explain_failure(ended)
    if isinstance(ended, MemoryError | RuntimeError | ImportError) and is_want_of_memory(ended):
        return explain_failure(MemoryError())
    return None


_THREAD, _LIBRARIES = 64 << 20, 0.6e9
"""Address space (bytes) without which no thread starts; that libraries take once they are loaded,
of two threads. Below, they end the program without a word."""
_QUICK = {"--help", "-h", "--help-all", "--version", "doctor", "cite", "status"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EFBIG}


def explain_failure(failed: OSError | MemoryError) -> tuple[str, int]:
    """One line and the exit code (3, or 6 where memory or disk ran out) of a failure of the system.

    Parameters
    ----------
    failed : OSError or MemoryError

    Returns
    -------
    str, int
    """
    if isinstance(failed, MemoryError):
        limit = ulimit_text()
        return f"not enough memory{limit}; give --memory or --j 1, or take a machine with more", 6
    place = failed.filename if failed.filename is not None else "the system"
    reason = failed.strerror or str(failed) or type(failed).__name__
    if failed.errno in _FULL:
        return f"{place}: {reason}; make room, or take another folder", 6
    return f"{place}: {reason}; give a folder or file that can be read or written", 3


if __name__ == "__main__":
    main()
