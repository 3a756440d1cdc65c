"""Time at which a run must stop cleanly."""

from __future__ import annotations

import time

from alphacryo4d.core.errors import TimeLimitReached


class Deadline:
    """Time at which a run must stop cleanly (``--max-time``)."""

    def __init__(self, hours: float | None = None) -> None:
        self.limit = None if hours is None else time.monotonic() + 3600 * hours

    def check(self) -> None:
        """Raise ``TimeLimitReached`` when the time is over."""
        if self.limit is not None and time.monotonic() >= self.limit:
            raise TimeLimitReached("--max-time is over; the same command goes on from here")
