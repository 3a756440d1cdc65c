"""SIGTERM, SIGHUP and SIGINT end the work wherever it is, once, whatever is in the way.

A signal becomes an exception at any place. It is none that a library catches as an error of its
own; one that is lost in a destructor or a callback comes again; and a second signal, which Slurm
and impatient users send, does not break what the first has begun to put in order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from alphacryo4d.core.errors import InterruptedRun

_PUT_IN_ORDER = 15.0
"""Seconds after a signal in which further ones change nothing; programs of ours get ten to end."""
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_AGAIN = 0.05
"""Seconds after which a lost signal is sent again."""


class _Asked:
    """The last signal that asked for an end, and when."""

    number = 0
    when = -float("inf")


def end_on_signals() -> None:
    """Raise :class:`InterruptedRun` at SIGTERM and SIGHUP, ``KeyboardInterrupt`` at SIGINT.

    SIGINT and SIGHUP stay ignored where they are, as in a shell's background and under ``nohup``.
    """
    _Asked.number, _Asked.when = 0, -float("inf")
    for number in _ENDING:
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    sys.unraisablehook = _send_again


def ignore_signals() -> None:
    """Let no signal disturb the last words of a command."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def asked_to_end() -> BaseException | None:
    """What a signal raised, also where a library has turned it into something else."""
    return _reason(_Asked.number) if _Asked.number else None


def _reason(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    name = signal.Signals(number).name
    return InterruptedRun(f"stopped by {name}; the same command goes on from here", 128 + number)


def _end(number: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if now - _Asked.when < _PUT_IN_ORDER:
        return
    _Asked.number, _Asked.when = number, now
    raise _reason(number)


def _send_again(lost: sys.UnraisableHookArgs) -> None:
    """Python drops an exception in a destructor or a callback of C; a signal must not be lost."""
    if not isinstance(lost.exc_value, InterruptedRun | KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    _Asked.when = -float("inf")
    again = threading.Timer(_AGAIN, os.kill, (os.getpid(), _Asked.number or signal.SIGINT))
    again.daemon = True
    again.start()
