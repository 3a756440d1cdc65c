"""Many runs in a row in one process: no growth of memory, files, threads or semaphores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from battery import row
from works import Works

pytestmark = pytest.mark.slow
ROUNDS = """
import gc, json, os, shutil, sys, threading
from pathlib import Path
from alphacryo4d.cli import main
home, number, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
found = []
for turn in range(number + 2):
    shutil.rmtree(home / "project", ignore_errors=True)
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code, ended.code
    gc.collect()
    status = Path("/proc/self/status").read_text()
    found.append({
        "memory": int(status.split("VmRSS:")[1].split()[0]),
        "threads": int(status.split("Threads:")[1].split()[0]),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "semaphores": len(os.listdir("/dev/shm")),
        "temporary": len(os.listdir(os.environ["TMPDIR"])),
    })
print(json.dumps(found))
"""


def test_runs_in_a_row_do_not_grow(works: Works, tmp_path: Path) -> None:
    work = works.work("run")
    home = works.copy(work)
    (tmp_path / "tmp").mkdir()
    shared = len([*Path("/dev/shm").iterdir()])
    with row("soak: runs in a row in one process", 1, 50) as figures:
        number = len([*figures.numbers()])
        ran = subprocess.run(
            [sys.executable, "-c", ROUNDS, home, str(number), *works.words(work.words, home)],
            capture_output=True, text=True, check=False,
            env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-3000:]
        found = json.loads(ran.stdout.splitlines()[-1])
        first = found[1]  # the first loads and compiles
        for trial, turn in enumerate(found[2:]):
            figures.now = trial
            with figures.trial(turn):
                assert turn["threads"] <= first["threads"] + 1
                assert turn["descriptors"] <= first["descriptors"]
                assert turn["temporary"] == 0
                assert turn["semaphores"] <= max(shared, first["semaphores"]) + 2
                assert turn["memory"] < 1.1 * first["memory"] + 60_000
