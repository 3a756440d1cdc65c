"""Disks that are full, broken or without locks: named, and the same command goes on."""

import errno
import os
import random

import pytest
from battery import (
    CREATE,
    FOREVER,
    LOCK,
    OPEN,
    READ,
    RENAME,
    SYNC,
    WRITE,
    contents,
    require_named,
    row,
    trials,
)
from works import Works

pytestmark = pytest.mark.slow
SHORT = ("run from vote", "run, other threshold", "edits", "report", "reconstruct", "relocate")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def kept(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Results that were there before and are not any more, records left out."""
    return [n for n, held in before.items() if not n.endswith("job.json") and after.get(n) != held]


def test_a_full_disk_loses_nothing(works: Works) -> None:
    rng = random.Random(3)
    number = trials(6, 200)
    names = [*works.begun] if number > 30 else SHORT
    with row("disk full, quota, read-only, inodes: at a random change and from then on") as figures:
        for trial in range(number):
            work = works.work(names[trial % len(names)])
            home = works.copy(work)
            before = contents(home / "project")
            error = FULL[rng.randrange(4)] if trial % 3 == 0 else errno.ENOSPC
            kinds = WRITE | CREATE | SYNC | (RENAME if error != errno.ENOSPC else 0)
            arm = [str(home), kinds, rng.randint(1, work.changes), FOREVER, error]
            ended = works.give(work, home, arm=arm)
            with figures.trial(f"{work.name}, {os.strerror(error)}, {arm[2]} of {work.changes}"):
                require_named(ended, 6, *((3,) if error in (errno.EIO, errno.EROFS) else ()))
                assert os.strerror(error) in ended.err or ended.code == 0, ended.err
                changed = kept(before, contents(home / "project"))
                assert not changed or "other" in work.name, f"old results: {changed[:6]}"
                require_named(works.give(work, home))
                works.require_same(work, home)


def test_a_limit_on_file_sizes_is_named(works: Works) -> None:
    rng = random.Random(4)
    with row("RLIMIT_FSIZE") as figures:
        for trial in range(trials(2, 40)):
            work = works.work([*works.begun][trial % len(works.begun)] if trial > 3 else SHORT[0])
            home = works.copy(work)
            ended = works.give(work, home, file_size=int(10 ** rng.uniform(3.6, 5)))
            with figures.trial(work.name):
                require_named(ended, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)


def test_read_errors_are_named(works: Works) -> None:
    rng = random.Random(5)
    number = trials(5, 100)
    names = [*works.begun] if number > 30 else SHORT
    with row("network file system: EIO and ESTALE at a random read") as figures:
        for trial in range(number):
            work = works.work(names[trial % len(names)])
            reads = works.reads(work)
            home = works.copy(work)
            error = rng.choice([errno.EIO, errno.ESTALE])
            arm = [str(home), READ | OPEN, rng.randint(1, max(1, reads)), rng.choice([1, FOREVER])]
            ended = works.give(work, home, arm=[*arm, error])
            with figures.trial(f"{work.name}, {os.strerror(error)}, {arm[2]} of {reads}"):
                require_named(ended, 3, 5, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)


def test_no_locks_is_said_and_harmless(works: Works) -> None:
    with row("file system without locks") as figures:
        for name in ("run from vote", "edits")[: trials(1, 2)]:
            work = works.work(name)
            home = works.copy(work)
            ended = works.give(work, home, arm=[str(home), LOCK, 1, FOREVER, errno.ENOLCK])
            with figures.trial(name):
                require_named(ended)
                assert "has no locks" in ended.err
                works.require_same(work, home)
