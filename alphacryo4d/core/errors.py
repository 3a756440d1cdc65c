"""Errors that a user can act on; each knows the exit code of the program.

Raise them in the library with a message that names the file, the row or voxel, what is wrong and
what to do. Only ``cli.py`` turns them into one line on stderr.
"""

from __future__ import annotations


class AlphaCryo4DError(Exception):
    """Base of every error that the program reports without a traceback."""

    exit_code = 1
    answered = False
    """Whether the command has already answered as JSON, the error included."""


class UsageError(AlphaCryo4DError):
    """The command line or an option is wrong."""

    exit_code = 2


class InputError(AlphaCryo4DError):
    """An input is missing, damaged or contradicts itself."""

    exit_code = 3


class NoResultError(InputError):
    """Work came to its end without a result, and would again from the same input and options."""


class MissingProgramError(AlphaCryo4DError):
    """A needed external program is not installed."""

    exit_code = 4


class ProgramError(AlphaCryo4DError):
    """An external program failed."""

    exit_code = 5


class ResourceError(AlphaCryo4DError):
    """There is not enough memory or disk for the work; said before it starts."""

    exit_code = 6


class TimeLimitReached(AlphaCryo4DError):
    """``--max-time`` is over; the work can be resumed with ``--continue``."""

    exit_code = 7


class InterruptedRun(BaseException):
    """The run was stopped by a signal; the work can be resumed with ``--continue``.

    Not an ``Exception``, so that nobody takes it for a file that cannot be read.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
