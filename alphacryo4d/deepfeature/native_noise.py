"""What TensorFlow and CUDA write to stderr by themselves on a GPU, and says nothing to a user."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

NOISE = (
    r"^(\d{4}-\d\d-\d\d [\d:.]+: )?[IW](\d{4} [\d:.]+| (tensorflow|external|xla)/)"
    r"|^E\d{4} .*(Unable to register|computation_placer)"
    r"|^WARNING: All log messages before absl::InitializeLog"
    r"|^\s*ptxas (warning|info)|ptxas.*(spill|Registers)|oneDNN custom operations"
    r"|To enable the following instructions: "
)
"""Lines that are left out; all others are passed on, such as those of a fault."""
_FILTER = (
    "import re, sys\n"
    "noise = re.compile(sys.argv[1].encode())\n"
    "for line in sys.stdin.buffer:\n"
    "    if not noise.search(line):\n"
    "        sys.stdout.buffer.write(line)\n"
    "        sys.stdout.buffer.flush()\n"
)


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU that this process may see."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


@contextmanager
def without_noise() -> Iterator[None]:
    """Keep :data:`NOISE` off stderr; what Python itself writes there goes its own way.

    A process of its own passes on the other lines, so that the last words of a library that ends
    this process come through too. With ``--verbose`` everything is shown.
    """
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    kept, (out, into) = os.dup(2), os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _FILTER, NOISE], stdin=out, stdout=kept,
            start_new_session=True,
        )  # fmt: skip
    except OSError:  # no room for a process: noise does no harm
        for number in (kept, out, into):
            os.close(number)
        yield
        return
    os.dup2(into, 2)
    os.close(out)
    os.close(into)
    try:
        with _python_writes_to(kept):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        with suppress(subprocess.TimeoutExpired):
            child.wait(5)


@contextmanager
def _python_writes_to(number: int) -> Iterator[None]:
    """Let ``sys.stderr`` and what is logged to it write to another open file meanwhile."""
    before = sys.stderr
    try:
        real = before.fileno() == 2
    except (OSError, ValueError):  # replaced, as by a test
        real = False
    if not real:
        yield
        return
    package = logging.getLogger("alphacryo4d")
    handlers = [
        one
        for one in package.handlers
        if isinstance(one, logging.StreamHandler) and one.stream is before
    ]
    with os.fdopen(
        os.dup(number),
        "w",
        buffering=1,
        encoding=before.encoding,
        errors=before.errors,
    ) as own:
        sys.stderr = own
        for handler in handlers:
            handler.setStream(own)
        try:
            yield
        finally:
            sys.stderr = before
            for handler in handlers:
                handler.setStream(before)
