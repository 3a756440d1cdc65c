"""Standard streams that the caller has closed lead nowhere, and not into a file opened later."""

from __future__ import annotations

import os
import sys


def open_streams() -> None:
    """Open what is closed of stdin, stdout and stderr on ``/dev/null``.

    Otherwise the next file that is opened gets the number of the closed stream, and what this
    program, a library or a program that it starts says is written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == number:
                os.set_inheritable(opened, True)
            else:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
