"""Disks that are full, broken or without locks: named, and the same command goes on."""

import errno
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from battery import (
    CREATE,
    FOREVER,
    LOCK,
    OPEN,
    READ,
    RENAME,
    STAT,
    SYNC,
    WRITE,
    contents,
    require_named,
    row,
)
from works import EVERY, QUICK, SLOW, Works

pytestmark = pytest.mark.slow
LOCKED = tuple(name for name in (*QUICK, *SLOW[:3]) if name != "report")  # which locks nothing
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def kept(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Results that were there before and are not any more, records left out."""
    return [n for n, held in before.items() if not n.endswith("job.json") and after.get(n) != held]


def test_a_full_disk_loses_nothing(works: Works) -> None:
    with row(
        "disk full, quota, read-only, inodes: at a random change and from then on", 3, 200
    ) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(EVERY[trial % len(EVERY)])
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


class Disk:
    """A small disk of its own at a folder (tmpfs), whose size may be changed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        self.mounted = mount("-t", "tmpfs", "-o", "size=2g,nr_inodes=100k", "faults", place)

    def full_soon(self, rng: random.Random, kind: str) -> None:
        """Leave hardly any room, hardly any names, or let nothing be written."""
        used = os.statvfs(self.place)
        if kind == "room":
            taken = (used.f_blocks - used.f_bfree) * used.f_frsize
            change = f"size={taken // 1024 + int(10 ** rng.uniform(1, 3.3))}k"
        elif kind == "names":
            change = f"nr_inodes={used.f_files - used.f_ffree + rng.randint(1, 25)}"
        else:
            change = "ro"
        assert mount("-o", f"remount,{change}", self.place)

    def room_again(self) -> None:
        assert mount("-o", "remount,rw,size=2g,nr_inodes=100k", self.place)

    def end(self) -> None:
        subprocess.run(["umount", "-l", self.place], check=True, capture_output=True)


def mount(*words: object) -> bool:
    return not subprocess.run(
        ["mount", *map(str, words)], check=False, capture_output=True
    ).returncode


def test_a_small_disk_loses_nothing(works: Works) -> None:
    place = works.folder / "tried"
    with row("a small disk (tmpfs): no room, no inodes, read-only", 1, 45) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(EVERY[trial % len(EVERY)])
            disk = Disk(place)
            if not disk.mounted:
                pytest.skip("disks can be mounted by root alone")
            try:
                home = works.copy(work, in_place=True)
                before = contents(home / "project")
                kind = ("room", "names", "read-only")[trial % 3]
                disk.full_soon(rng, kind)
                ended = works.give(work, home)
                with figures.trial(f"{work.name}, no {kind}, code {ended.code}"):
                    require_named(ended, 6, *((3,) if kind == "read-only" else ()))
                    changed = kept(before, contents(home / "project"))
                    assert not changed or "other" in work.name, f"old results: {changed[:6]}"
                    disk.room_again()
                    require_named(works.give(work, home))
                    works.require_same(work, home)
            finally:
                disk.end()


def test_a_limit_on_file_sizes_is_named(works: Works) -> None:
    with row("RLIMIT_FSIZE", 1, 40) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(EVERY[trial % len(EVERY)])
            home = works.copy(work)
            ended = works.give(work, home, file_size=int(10 ** rng.uniform(3.6, 5)))
            with figures.trial(work.name):
                require_named(ended, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)


def test_read_errors_are_named(works: Works) -> None:
    with row("network file system: EIO and ESTALE at a random read or look", 3, 100) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            work = works.work(EVERY[trial % len(EVERY)])
            reads = works.reads(work)
            home = works.copy(work)
            error = rng.choice([errno.EIO, errno.ESTALE])
            arm = [
                str(home),
                READ | OPEN | STAT,
                rng.randint(1, max(1, reads)),
                rng.choice([1, FOREVER]),
            ]
            ended = works.give(work, home, arm=[*arm, error])
            with figures.trial(f"{work.name}, {os.strerror(error)}, {arm[2]} of {reads}"):
                require_named(ended, 3, 5, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)


def test_no_locks_is_said_and_harmless(works: Works) -> None:
    with row("file system without locks", 1, len(LOCKED)) as figures:
        for trial in figures.numbers():
            name = LOCKED[trial]
            work = works.work(name)
            home = works.copy(work)
            ended = works.give(work, home, arm=[str(home), LOCK, 1, FOREVER, errno.ENOLCK])
            with figures.trial(name):
                require_named(ended)
                assert "has no locks" in ended.err
                works.require_same(work, home)
