"""A parent that speaks where the end of memory leaves a process no word.

TensorFlow, LLVM and the C library abort where they get no more address space: no exception reaches
Python. Below ``ulimit -v`` the work is therefore done in a child, and its parent, which needs
hardly any memory, says why it died.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from types import FrameType

from alphacryo4d.core.memory import address_space_left, ulimit_text

_WITHOUT_A_WORD = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL, 127}


def watch_over_memory() -> None:
    """Go on in a child where ``ulimit -v`` is set; the parent ends as the child does.

    Where the child is ended by a library or by the kernel, the parent says so and ends with exit
    code 6. SIGTERM and SIGHUP are passed on; SIGINT too where it does not come from a terminal.
    """
    if address_space_left() == math.inf or threading.active_count() > 1:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child == 0:
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN if os.isatty(0) else pass_on)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in _WITHOUT_A_WORD:
        told = f"signal {signal.Signals(-code).name}" if code < 0 else "the C library"
        text = f"error: ended by {told} for want of memory{ulimit_text()}; give a larger "
        os.write(2, f"{text}`ulimit -v`, a smaller --memory, or --j 1\n".encode())
        code = 6
    os._exit(code if code >= 0 else 128 - code)
