"""Inputs that change, vanish or grow while a command reads them: named, and nothing is mixed."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from battery import Ended, require_named, row
from works import Work, Works

pytestmark = pytest.mark.slow


def vanish(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[len(held) // 2 :] = bytes(reversed(held[len(held) // 2 :]))
    path.write_bytes(held)


def replace(path: Path) -> None:
    """As an extraction does that is run again: a new file under the name."""
    new = path.with_name("new")
    held = np.frombuffer(path.read_bytes(), np.uint8).copy()
    held[1024:] = np.roll(held[1024:], 4096)
    new.write_bytes(held.tobytes())
    new.replace(path)


def shorten(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(bytes(4096))


STACK, TABLE = "data/images/stack.mrcs", "data/particles.star"
READ = (
    ("reconstruct", STACK), ("classify", STACK), ("reclassify", STACK), ("particles", STACK),
    ("classify", TABLE), ("select", "project/vote/particles.star"),
    ("run from landscape", "project/resample/volumes.npy"),
    ("run from vote", "project/resample/assignments.npy"), ("run", STACK),
)  # fmt: skip
"""Pieces of work, and what changes below them: inputs of the user and files of the project."""
HOW = (vanish, change, replace, shorten, grow)


def disturbed(works: Works, work: Work, home: Path, path: Path, how, after: float) -> Ended:
    """How a command ends below which an input changes."""

    def later() -> None:
        time.sleep(after)
        how(path)

    thread = threading.Thread(target=later)
    thread.start()
    ended = works.give(work, home)
    thread.join()
    return ended


def test_inputs_that_change_are_named(works: Works) -> None:
    with row("inputs change, vanish, shrink or grow during a run", 3, 60) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            name, place = READ[trial % len(READ)]
            work = works.work(name)
            home = works.copy(work)
            path = home / place
            held, how = path.read_bytes(), HOW[trial % len(HOW)]
            ended = disturbed(works, work, home, path, how, rng.uniform(0.02, 0.9 * work.seconds))
            with figures.trial(f"{work.name}, {how.__name__} {path.name}, code {ended.code}"):
                require_named(ended, 3, 5)
                path.write_bytes(held)
                require_named(works.give(work, home))
                works.require_same(work, home)
