"""Ceilings on memory in steps of a tenth, from plenty to too little: done, or refused in words."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from battery import Ended, require_named, row
from works import QUICK, Work, Works

pytestmark = pytest.mark.slow
EVERY_COMMAND = (*QUICK, "reclassify", "landscape", "particles", "train")
PROGRAM = """
import atexit, json, os, sys
def tell():
    status = open("/proc/self/status").read()
    os.write(3, status.split("VmPeak:")[1].split()[0].encode())
atexit.register(tell)
from alphacryo4d.cli import main
main()
"""


def test_too_little_memory_is_named(works: Works) -> None:
    """Above what the server of faults, of which every command is a child, has mapped."""
    mapped: dict[str, int] = {}
    with row(
        "memory ceiling (RLIMIT_AS) in steps of 10%, every command", 3, 12 * len(EVERY_COMMAND)
    ) as figures:
        names = EVERY_COMMAND
        for trial in figures.numbers():
            work = works.work(names[trial % len(names)])
            share = 1.2 - 0.1 * (trial // len(names) % 12)
            if work.name not in mapped:
                mapped[work.name] = works.give(work, works.copy(work)).mapped
            home, begun = works.copy(work), works.disturber.mapped
            limit = begun + int(share * (mapped[work.name] - begun))
            ended = works.give(work, home, memory=limit)
            with figures.trial(f"{work.name}, {share:.0%}, {limit / 1e9:.2f} GB"):
                require_named(ended, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)


def in_a_process(works: Works, work: Work, home: Path, limit: int) -> Ended:
    """A command in a process of its own with a ceiling on its address space (0: none)."""
    read, write = os.pipe()

    def prepare() -> None:
        os.dup2(write, 3)
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *works.words(work.words, home)],
        capture_output=True, text=True, errors="replace", preexec_fn=prepare, pass_fds=(3,),
        check=False,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as stream:
        mapped = 1024 * int(stream.read() or 0)
    return Ended(ran.returncode, ran.stdout, ran.stderr, 0.0, 0.0, 0, mapped, 0, False)


def test_too_little_memory_from_the_start_is_named(works: Works) -> None:
    """Libraries are loaded below the ceiling too."""
    names = ("train", "vote", "resample", "edits")
    plenty: dict[str, Ended] = {}
    with row("memory ceiling (ulimit -v) of a new process in steps of 10%", 1, 44) as figures:
        for trial in figures.numbers():
            name, share = names[trial % len(names)], 1.1 - 0.1 * (trial // len(names))
            work = works.work(name)
            if name not in plenty:
                plenty[name] = in_a_process(works, work, works.copy(work), 0)
                require_named(plenty[name])
            home = works.copy(work)
            ended = in_a_process(works, work, home, int(share * plenty[name].mapped))
            with figures.trial(f"{name}, {share:.0%} of {plenty[name].mapped / 1e9:.2f} GB"):
                require_named(ended, 6)
                require_named(works.give(work, home))
                works.require_same(work, home)
