"""What ends a process without a word is told: want of memory, and files that shrink."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from alphacryo4d.core.guard import watch_over_memory
watch_over_memory()
print(os.getppid(), flush=True)
{}
"""


def run(work: str, limit: str = "ulimit -v 2000000; ") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'{limit}exec "$0" -c "$1"', sys.executable, SCRIPT.format(work)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


LIBRARY_ENDS = "import ctypes; ctypes.CDLL(None).exit(1)"


@pytest.mark.parametrize(
    "work", ["os.abort()", "os._exit(127)", "os.kill(os.getpid(), 9)", LIBRARY_ENDS]
)
def test_a_death_without_a_word_is_told(work: str) -> None:
    ended = run(work)
    assert ended.returncode == 6
    assert "for want of memory (`ulimit -v` allows 2.05 GB); give" in ended.stderr


def test_other_ends_are_passed_on() -> None:
    assert run("sys.exit(3)").returncode == 3
    assert run("sys.exit(1)").returncode == 1
    assert run("raise ValueError").returncode == 1
    assert run("pass").returncode == 0
    assert run("os.abort()", limit="").returncode == -signal.SIGABRT


def test_signals_reach_the_work() -> None:
    work = "import signal, time\nsignal.signal(15, lambda *_: sys.exit(143))\n"
    work += "print('ready', flush=True)\ntime.sleep(1200)"
    process = subprocess.Popen(
        ["sh", "-c", 'ulimit -v 2000000; exec "$0" -c "$1"', sys.executable, SCRIPT.format(work)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait() == 143
    process.stdout.close()


LOST = """
import sys, threading
import numpy as np
from pathlib import Path
from alphacryo4d.core.guard import name_lost_files
name_lost_files()
whole = np.memmap("whole.npy", mode="r")
pixels = np.memmap("stack.mrcs", np.float32, mode="r")
total = pixels.sum()
Path("stack.mrcs").open("r+b").truncate(5000)
{}
print("never here")
"""


@pytest.mark.parametrize(
    "read",
    [
        "pixels.sum()",
        "reader = threading.Thread(target=lambda: np.sort(pixels)); reader.start(); reader.join()",
    ],
)
def test_a_mapped_file_that_shrinks_is_named(tmp_path: Path, read: str) -> None:
    for name in ("stack.mrcs", "whole.npy"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOST.format(read), "--json"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"error: {tmp_path}/stack.mrcs: became shorter while it was")
    assert '"exit_code": 3' in ended.stdout
    assert "whole.npy" not in ended.stderr
