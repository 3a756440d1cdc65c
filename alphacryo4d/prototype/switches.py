"""Command lines of the scripts: switches as in the prototype, errors as one line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from alphacryo4d.core.errors import AlphaCryo4DError, UsageError

logger = logging.getLogger("alphacryo4d.prototype")

RELION_VERSIONS = ("2", "3", "3.0", "3.1", "4", "4.0", "5", "5.0")
_ONE_TABLE = ("2", "3.0")
_EITHER = ("3",)


def truth(text: str) -> bool:
    """Value of a switch such as ``--std False``."""
    word = text.strip().lower()
    if word in ("true", "t", "yes", "y", "1", "on"):
        return True
    if word in ("false", "f", "no", "n", "0", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text}: True or False is needed")


class _Parser(argparse.ArgumentParser):
    """Parser that answers a wrong command line with one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help shows the switches")


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser whose ``--help`` shows the defaults; switches are not abbreviated."""
    return _Parser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )


def add_relion(parser: argparse.ArgumentParser) -> None:
    """``--relion``: accepted as before, though the dialect is read from the file."""
    parser.add_argument(
        "--relion",
        "-r",
        choices=RELION_VERSIONS,
        default=None,
        help="RELION version of the table; read from the file anyway",
    )


def check_dialect(path: object, dialect: str, relion: str | None) -> None:
    """Say where ``--relion`` contradicts the file, whose dialect counts."""
    if relion is None or relion in _EITHER:
        return
    if (relion in _ONE_TABLE) != (dialect == "3.0"):
        kind = "one table, RELION 3.0 or older" if dialect == "3.0" else "optics groups, RELION 3.1"
        logger.warning("%s: --relion %s, but the file has %s; the file counts", path, relion, kind)


def run_script(main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Run a script; what a user can mend becomes one line and an exit code.

    Parameters
    ----------
    main : callable
        Takes the arguments of the command line.
    arguments : sequence of str
        Arguments without the program's name.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("alphacryo4d")
    package.handlers[:] = [handler]
    package.setLevel(logging.INFO)
    package.propagate = False
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        main(arguments)
    except AlphaCryo4DError as known:
        sys.stderr.write(f"error: {known}\n")
        sys.exit(known.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


def positional(
    arguments: Sequence[str], names: Sequence[str], defaults: Sequence[str]
) -> list[str]:
    """Arguments of a shell script by position; ``--help`` and a wrong number are answered here.

    Parameters
    ----------
    arguments : sequence of str
        What was given.
    names, defaults : sequences of str
        Names of the arguments; defaults of the last of them, the others are needed.
    """
    needed = len(names) - len(defaults)
    usage = " ".join(
        name if place < needed else f"[{name}, default {defaults[place - needed]}]"
        for place, name in enumerate(names)
    )
    if any(word in ("-h", "--help") for word in arguments):
        sys.stdout.write(f"arguments: {usage or 'none'}\n")
        sys.exit(0)
    if not needed <= len(arguments) <= len(names):
        raise UsageError(f"{len(arguments)} arguments given; wanted: {usage or 'none'}")
    return [*arguments, *defaults[len(arguments) - needed :]]
