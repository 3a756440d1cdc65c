"""Ceilings on memory, from plenty to too little: done, or refused in words."""

import random

import pytest
from battery import require_named, row, trials
from works import Works

pytestmark = pytest.mark.slow
SHORT = ("run from vote", "reclassify")


def test_too_little_memory_is_named(works: Works) -> None:
    rng = random.Random(6)
    number = trials(3, 90)
    names = [*works.begun] if number > 30 else SHORT
    held = works.disturber.run(["--version"], memory=1 << 50).memory
    with row("RLIMIT_AS, from plenty to too little") as figures:
        for trial in range(number):
            work = works.work(names[trial % len(names)])
            home = works.copy(work)
            # what the server of faults has mapped already is taken by every child
            limit = works.disturber.mapped + int(held * 10 ** rng.uniform(-3, 0.5))
            ended = works.give(work, home, memory=limit)
            with figures.trial(f"{work.name}, {limit / 1e9:.2f} GB"):
                require_named(ended, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)
