"""What a stage needs of a machine, and what comes before the stages of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """What a stage needs.

    Attributes
    ----------
    seconds : float
        CPU seconds; those of one thread.
    shared : float
        Fraction of them that further threads share.
    memory, disk : float
        GB (1e9 bytes).
    """

    seconds: float
    shared: float
    memory: float
    disk: float

    def wall(self, threads: int) -> float:
        """Seconds on so many threads (Amdahl's law)."""
        return self.seconds * (1 - self.shared + self.shared / threads)


def need_of_judgement(particles: int, box: int) -> Need:
    """Reading of the images and the score of their poses (4 CPU s for 10,000 of 64 px)."""
    return Need(1.0 + 1e-7 * particles * box**2, 0.9, 0.0, 0.0)


def need_of_consensus(particles: int, box: int, *, everywhere: bool) -> Need:
    """Refinement of given poses (13 CPU s for 10,000 of 64 px), or search (30 for 2,400 of 32)."""
    rate = 9e-6 if everywhere else 2.8e-7
    return Need(5.0 + rate * particles * box**2, 0.9, 0.0, 0.0)
