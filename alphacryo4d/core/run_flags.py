"""How a stage's work is done; nothing of it changes the results."""

from __future__ import annotations

from dataclasses import dataclass

from alphacryo4d.core.deadline import Deadline


@dataclass(frozen=True)
class RunFlags:
    """What every stage takes beside its options, and no ``job.json`` records.

    Attributes
    ----------
    overwrite : bool
        ``--overwrite``: everything is computed again.
    resume : bool
        ``--continue``; not needed, unfinished work goes on anyway.
    threads : int, optional
        ``--j``: threads; all cores by default.
    deadline : Deadline
        ``--max-time``: time at which the work stops cleanly; never by default.
    """

    overwrite: bool = False
    resume: bool = False
    threads: int | None = None
    deadline: Deadline = Deadline()
