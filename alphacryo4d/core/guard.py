"""A parent that speaks where the end of memory leaves a process no word.

TensorFlow, LLVM and the C library abort where they get no more address space: no exception reaches
Python. Below ``ulimit -v`` the work is therefore done in a child, and its parent, which needs
hardly any memory, says why it died.
"""

from __future__ import annotations

import atexit
import json
import math
import mmap
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from alphacryo4d.core.memory import address_space_left, ulimit_text

_WITHOUT_A_WORD = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL, 127}


def watch_over_memory() -> None:
    """Go on in a child where ``ulimit -v`` is set; the parent ends as the child does.

    Where the child is ended by a library or by the kernel, the parent says so and ends with exit
    code 6; OpenBLAS ends with code 1, past Python. SIGTERM and SIGHUP are passed on; SIGINT too
    where it does not come from a terminal.
    """
    if address_space_left() == math.inf or threading.active_count() > 1:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ended, by_itself = os.pipe()
    passed = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed)  # until the parent passes them on
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        atexit.register(os.write, by_itself, b".")
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN if os.isatty(0) else pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.set_blocking(ended, False)
    os.close(by_itself)
    if code in _WITHOUT_A_WORD or (code == 1 and not _held(ended)):
        told = f"signal {signal.Signals(-code).name}" if code < 0 else "the C library"
        text = f"error: ended by {told} for want of memory{ulimit_text()}; give a larger "
        os.write(2, f"{text}`ulimit -v`, a smaller --memory, or --j 1\n".encode())
        code = 6
    os._exit(code if code >= 0 else 128 - code)


def _held(pipe: int) -> bytes:
    with suppress(BlockingIOError):
        return os.read(pipe, 1)
    return b""


_KEPT: list[Any] = []
"""What the C library calls must not be collected."""


def name_lost_files() -> None:
    """End with exit code 3 and the file's name where a mapped file shrinks or its disk fails.

    Images and volumes are read from memory maps. Where such a file becomes shorter meanwhile, or a
    network file system does not answer, the system sends SIGBUS, which no exception stands for: a
    process would end without a word. The handler must not return, since the fault would come again.
    """
    import ctypes

    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = kind(_end_for_lost_file)
    put = ctypes.CDLL(None).signal
    put.argtypes, put.restype = [ctypes.c_int, kind], ctypes.c_void_p
    put(signal.SIGBUS, handler)
    _KEPT.append(handler)


def _end_for_lost_file(_number: int) -> None:
    try:
        files = _lost_files(Path("/proc/self/maps"))
        text = (
            f"{', '.join(files) or 'a file'}: became shorter while it was read, or its disk failed;"
            " give the same command once it is whole"
        )
        if "--json" in sys.argv:
            os.write(1, (json.dumps({"error": text, "exit_code": 3}) + "\n").encode())
        os.write(2, f"error: {text}\n".encode())
    finally:
        os._exit(3)


def _lost_files(maps: Path) -> list[str]:
    """Mapped files that are shorter than their maps; all mapped data where there is none."""
    mapped: dict[str, bool] = {}
    with suppress(OSError):
        for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) < 6 or Path(fields[5]).suffix not in _DATA:
                continue
            first, last = (int(place, 16) for place in fields[0].split("-"))
            needed = int(fields[2], 16) + last - first - mmap.PAGESIZE
            try:
                short = Path(fields[5]).stat().st_size <= needed
            except OSError:
                short = True
            mapped[fields[5]] = mapped.get(fields[5], False) or short
    return [name for name, short in mapped.items() if short] or list(mapped)


_DATA = {".npy", ".mrc", ".mrcs", ".map", ".st", ".cs", ".star"}
