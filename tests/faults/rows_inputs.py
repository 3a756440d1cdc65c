"""Inputs that change, vanish or grow while a command reads them: named, and nothing is mixed."""

import sys

import pytest
from battery import HERE, OPEN, READ, STAT, STOP, require_named, row
from changing import HOW
from works import Works

pytestmark = pytest.mark.slow
STACK, TABLE = "data/images/stack.mrcs", "data/particles.star"
FROM = (
    ("reconstruct", STACK), ("classify", STACK), ("reclassify", STACK), ("particles", STACK),
    ("classify", TABLE), ("select", "project/vote/particles.star"),
    ("run from landscape", "project/resample/volumes.npy"),
    ("run from vote", "project/resample/assignments.npy"), ("run", STACK),
)  # fmt: skip
"""Pieces of work, and what changes below them: inputs of the user and files of the project."""


def test_inputs_that_change_are_named(works: Works) -> None:
    with row("inputs change, vanish, shrink or grow during a run", 3, 60) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            name, place = FROM[trial % len(FROM)]
            work = works.work(name)
            home = works.copy(work)
            path = home / place
            held, how = path.read_bytes(), [*HOW][trial % len(HOW)]
            number = rng.randint(1, works.reads(work))
            home = works.copy(work)  # it was counted there
            ended = works.give(
                work,
                home,
                arm=[str(home), READ | OPEN | STAT, number, 1, STOP],
                then=[sys.executable, str(HERE / "changing.py"), how, str(path)],
            )
            with figures.trial(f"{work.name}, {how} {path.name} at {number}, code {ended.code}"):
                require_named(ended, 3, 5)
                path.write_bytes(held)
                require_named(works.give(work, home))
                for aside in (home / "project").rglob("*.changed"):  # as it is promised
                    aside.unlink()
                works.require_same(work, home)
