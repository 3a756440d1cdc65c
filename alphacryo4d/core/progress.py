"""Progress of long work: a bar on a terminal, plain lines with the time left elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Progress(Protocol):
    """What long loops call: ``progress(done, total)`` or with a short text."""

    def __call__(self, done: float, total: float, message: str = "") -> None:
        """Report that ``done`` of ``total`` units are finished."""


def no_progress(done: float, total: float, message: str = "") -> None:
    """Ignore progress (the default of library functions)."""


def part_of(progress: Progress, begin: float, end: float, *, power: float = 1.0) -> Progress:
    """Progress of a part of a piece of work, from one fraction of it to another.

    With a ``power`` above 1 later units take longer than the first ones.
    """

    def told(done: float, total: float, message: str = "") -> None:
        share = (done / max(total, 1e-12)) ** power
        progress(begin + (end - begin) * share, 1.0, message)

    return told


class Passes:
    """Progress of passes that take about as long as each other, such as folds.

    Within the first pass the work itself says how far it is; the time that passes took tells it
    of the later ones, so that the time left falls steadily.

    Parameters
    ----------
    progress : callback
    count : int
        Passes that are to be made; those that were made before do not count.
    """

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress, self._count = progress, count
        self._done, self._spent = 0, 0.0

    @contextmanager
    def one(self, name: str = "") -> Iterator[Progress]:
        """One pass; the callback is for the work inside."""
        begun = time.monotonic()

        def told(done: float, total: float, message: str = "") -> None:
            share = done / max(total, 1e-12)
            if self._done:
                share = (time.monotonic() - begun) * self._done / max(self._spent, 1e-12)
            words = ", ".join(word for word in (name, message) if word)
            self._progress(self._done + min(share, 0.99), self._count, words)

        told(0, 1)
        yield told
        self._done += 1
        self._spent += time.monotonic() - begun


def format_duration(seconds: float) -> str:
    """Duration as ``45 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def tells(done: float, total: float, elapsed: float) -> bool:
    """Whether the time so far tells anything about the time left."""
    return elapsed >= 5 and done >= 0.03 * total


class _LineReporter:
    """One line on stderr now and then, so that a log file stays readable.

    A message that ends with ``...`` is written at once: what follows takes long.
    """

    def __init__(self, label: str, stream: TextIO, interval: float, foresees: bool = True) -> None:
        self.label = label
        self.foresees = foresees
        self.stream = stream
        self.interval = interval
        self.started = time.monotonic()
        self.last = self.started
        self.reported = False

    def __call__(self, done: float, total: float, message: str = "") -> None:
        now = time.monotonic()
        finished = done >= total
        if finished and not self.reported and now - self.started < 1.0:
            return
        at_once = message.endswith("...")
        if not finished and not at_once and now - self.last < self.interval:
            return
        self.last = now
        self.reported = True
        text = f"{self.label}: {100 * done / max(total, 1e-12):3.0f}%"
        elapsed = now - self.started
        if finished:
            text += f", took {format_duration(elapsed)}"
        elif self.foresees and tells(done, total, elapsed):
            text += f", {format_duration(elapsed * (total - done) / done)} left"
        if message:
            text += f", {message}"
        self.stream.write(text + "\n")
        self.stream.flush()


@contextmanager
def show_progress(
    label: str, *, interval: float = 10.0, foresees: bool = True
) -> Iterator[Progress]:
    """Callback that shows the progress of one piece of work on stderr.

    On a terminal a bar with the time left; otherwise a line every ``interval`` seconds.
    ``foresees`` is false for work that ends by itself, whose time left is not known.
    """
    if not sys.stderr.isatty():
        yield _LineReporter(label, sys.stderr, interval, foresees)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[message]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task, begun = bar.add_task(label, total=1.0, message="", left=""), time.monotonic()

        def update(done: float, total: float, message: str = "") -> None:
            elapsed, left = time.monotonic() - begun, ""
            if foresees and done < total and tells(done, total, elapsed):
                left = f"{format_duration(elapsed * (total - done) / done)} left"
            bar.update(task, completed=done / max(total, 1e-12), message=message, left=left)

        yield update
