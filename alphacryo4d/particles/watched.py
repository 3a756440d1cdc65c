"""Stacks that change while they are read: named, not mixed in silence."""

from __future__ import annotations

import logging
from pathlib import Path

from alphacryo4d.core.errors import InputError

logger = logging.getLogger(__name__)


class WatchedStacks:
    """What stacks were like when they were first read."""

    def __init__(self) -> None:
        self.first: dict[Path, tuple[int, ...]] = {}

    def require_unchanged(self, path: Path) -> None:
        """Refuse a stack whose length changed since it was read first; name one written to.

        A stack that is gone stays whole in its memory map.

        Raises
        ------
        InputError
        """
        now = _state(path)
        before = self.first.setdefault(path, now)
        if now == before or not now:
            return
        if before and now[0] != before[0]:
            raise InputError(
                f"{path}: changed while it was read ({before[0]:,} bytes before, {now[0]:,} now); "
                "give the same command once it is as it shall be"
            )
        self.first[path] = now
        logger.warning(
            "%s: was written or replaced while it was read; unless it holds the same images, give "
            "the command again with --overwrite",
            path,
        )


def _state(path: Path) -> tuple[int, ...]:
    """Size, time and inode of a file; empty where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino
