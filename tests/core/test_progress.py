"""Progress: what is said of the time left."""

import io

import pytest

from alphacryo4d.core import progress
from alphacryo4d.core.progress import Passes, _LineReporter, part_of


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_time_left_of_passes_falls_steadily_and_is_right_after_the_first(clock: Clock) -> None:
    """Four passes of 20 s whose own progress stands still, jumps and begins again."""
    said: list[tuple[float, float]] = []

    def told(done: float, total: float, message: str = "") -> None:
        if done:
            said.append((clock.now, clock.now * (total - done) / done))

    passes = Passes(told, 4)
    for number in range(4):
        with passes.one(f"fold {number + 1} of 4") as inner:
            for second in range(20):
                clock.now += 1.0
                inner([0.9, 0.2][second > 12], 1.0, "iteration")
    later = [(now, left) for now, left in said if now > 20]
    assert len(later) > 50
    assert all(0.9 < left / (80 - now) < 1.1 for now, left in later if now < 75)
    lefts = [left for _, left in later]
    assert all(after <= before + 1e-9 for before, after in zip(lefts, lefts[1:], strict=False))


def test_passes_that_were_made_before_do_not_count(clock: Clock) -> None:
    said: list[tuple[float, float, str]] = []
    passes = Passes(lambda *told: said.append(told), 2)
    for name in ("fold 3", "fold 4"):
        with passes.one(name) as inner:
            clock.now += 10
            inner(1, 2, "half")
    assert said[:2] == [(0.0, 2, "fold 3"), (0.5, 2, "fold 3, half")]
    assert said[2:] == [(1.0, 2, "fold 4"), (1.99, 2, "fold 4, half")]


def test_a_part_lies_between_its_ends() -> None:
    said: list[tuple[float, float, str]] = []
    inner = part_of(lambda *told: said.append(told), 0.5, 0.75)
    inner(1, 4, "a")
    assert said == [(0.5625, 1.0, "a")]


def test_what_ends_by_itself_has_no_time_left(clock: Clock) -> None:
    for foresees in (True, False):
        stream = io.StringIO()
        report = _LineReporter("path", stream, 1.0, foresees)
        clock.now += 20
        report(1, 2)
        assert ("left" in stream.getvalue()) == foresees
