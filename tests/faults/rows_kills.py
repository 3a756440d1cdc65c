"""Kills and signals at random moments: the same command goes on to the same files."""

import random
import signal
from pathlib import Path

import pytest
from battery import CHANGES, KILL, Ended, require_named, row
from works import EVERY, Work, Works

pytestmark = pytest.mark.slow
TIMED = ("run from landscape", "classify", "particles", "reclassify", "run")


def finished_files(project: Path) -> dict[str, int]:
    """Time of change of every file of a stage whose record says done."""
    found = {}
    for record in project.glob("*/job.json"):
        if '"status": "done"' in record.read_text():
            for path in record.parent.rglob("*.*"):
                if path.name != "job.json" and not path.name.startswith("."):  # of the run alone
                    found[str(path)] = path.stat().st_mtime_ns
    return found


def disturb(works: Works, work: Work, rng: random.Random) -> tuple[Path, Ended]:
    """Kill a piece of work: at a change of the file system, or at a time."""
    home = works.copy(work)
    if rng.random() < 0.6:
        arm = [str(home), CHANGES, rng.randint(1, work.changes), 1, KILL]
        return home, works.give(work, home, arm=arm)
    after = rng.uniform(0, 1.1 * work.seconds)
    return home, works.give(work, home, signal=signal.SIGKILL, after=after)


def test_kills_lose_nothing(works: Works) -> None:
    with row(
        "kill -9 at random moments, every stage, reclassification, edits, report", 6, 200
    ) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(EVERY[trial % len(EVERY)])
            home, ended = disturb(works, work, rng)
            with figures.trial(f"{work.name}, trial {trial}, code {ended.code}"):
                if not ended.killed:
                    require_named(ended)
                before = finished_files(home / "project") if "other" not in work.name else {}
                require_named(works.give(work, home))
                after = finished_files(home / "project")
                again = [name for name, time in before.items() if after.get(name) != time]
                assert not again, f"done twice: {again[:6]}"
                works.require_same(work, home)


def test_signals_lose_nothing(works: Works) -> None:
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130}
    with row("SIGTERM and SIGINT at random moments", 3, 100) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(EVERY[trial % len(EVERY)])
            home = works.copy(work)
            number = rng.choice([signal.SIGTERM, signal.SIGINT])
            ended = works.give(
                work, home, signal=number, after=rng.uniform(0.05, 1.1 * work.seconds)
            )
            with figures.trial(f"{work.name}, {number!r}"):
                if ended.code != -number:  # before the program had begun
                    require_named(ended, codes[number])
                require_named(works.give(work, home))
                works.require_same(work, home)


def test_time_limits_lose_nothing(works: Works) -> None:
    with row("--max-time", 1, 20) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(TIMED[trial % len(TIMED)])
            home = works.copy(work)
            hours = rng.uniform(0.01, work.seconds) / 3600
            with figures.trial(f"{work.name}, {hours}"):
                for _ in range(2):
                    words = [*work.words, "--max-time", str(hours)]
                    ended = works.disturber.run(works.words(words, home))
                    require_named(ended, 7)
                    if ended.code == 0:
                        break
                require_named(works.give(work, home))
                works.require_same(work, home)
