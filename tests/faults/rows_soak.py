"""Many runs in a row in one process: no growth of memory, files, threads or semaphores.

Every tenth run trains the network; the others find it trained.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from battery import row
from works import Works

pytestmark = pytest.mark.slow
SMALLER = ["--classes", "2", "--iter", "1", "--initialisation", "random"]
ROUNDS = """
import gc, json, os, shutil, sys
from pathlib import Path
from alphacryo4d.cli import main
home, words = Path(sys.argv[1]), sys.argv[2:]
for number, _ in enumerate(sys.stdin):
    for part in home.glob("project/*" if number % 10 == 0 else "project/[!d]*/"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code, ended.code
    gc.collect()
    status = Path("/proc/self/status").read_text()
    found = {
        "memory": int(status.split("VmRSS:")[1].split()[0]),
        "threads": int(status.split("Threads:")[1].split()[0]),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "semaphores": len(os.listdir("/dev/shm")),
        "temporary": len(os.listdir(os.environ["TMPDIR"])),
    }
    print("held", json.dumps(found), flush=True)
"""


class Runs:
    """A process that runs a command again and again."""

    def __init__(self, words: list[str], home: Path, temporary: Path) -> None:
        temporary.mkdir()
        self.log = temporary.with_name("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ROUNDS, home, *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=os.environ | {"TMPDIR": str(temporary)},
            )  # fmt: skip

    def again(self) -> dict[str, Any]:
        """What the process holds after one more run."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("held "):
                return json.loads(line.removeprefix("held "))
        raise AssertionError(self.log.read_text()[-3000:])

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=600)
        self.process.stdout.close()


def test_runs_in_a_row_do_not_grow(works: Works, tmp_path: Path) -> None:
    home = Path(shutil.copytree(works.home, tmp_path / "home"))
    words = [*works.again, *SMALLER]
    shared = len([*Path("/dev/shm").iterdir()])
    runs = Runs(works.words(words, home), home, tmp_path / "tmp")
    try:
        runs.again()  # the first loads and compiles
        first = runs.again()
        with row("soak: runs in a row in one process", 1, 50) as figures:
            for _ in figures.numbers():
                held = runs.again()
                with figures.trial(held):
                    assert held["threads"] <= first["threads"] + 1
                    assert held["descriptors"] <= first["descriptors"]
                    assert held["temporary"] == 0
                    assert held["semaphores"] <= max(shared, first["semaphores"]) + 2
                    assert held["memory"] < 1.1 * first["memory"] + 60_000
    finally:
        runs.end()
