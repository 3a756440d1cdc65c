"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphacryo4d.core.errors import ResourceError, UsageError

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""The lock's file. It stays in place: who removes it while another waits locks nothing."""

HELD: set[int] = set()
"""Descriptors of the locks that this process holds. The programs that it starts get them: where
this process is killed and RELION is not, the folder stays locked until RELION has ended too."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises
    ------
    UsageError
        Another run holds it.
    ResourceError
        The folder cannot be written.
    """
    try:
        handle = (folder / LOCK).open("a")
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise UsageError(
                    f"{folder}: another run is working in this folder, or a program that it started"
                ) from error
            logger.warning(
                "%s: this file system has no locks (%s); make sure that no other run works in it",
                folder,
                error.strerror,
            )
        HELD.add(handle.fileno())
        try:
            yield
        finally:
            HELD.discard(handle.fileno())
