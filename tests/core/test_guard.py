"""Below ``ulimit -v`` a parent says why the work died."""

import signal
import subprocess
import sys

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


@pytest.mark.parametrize("work", ["os.abort()", "os._exit(127)", "os.kill(os.getpid(), 9)"])
def test_a_death_without_a_word_is_told(work: str) -> None:
    ended = run(work)
    assert ended.returncode == 6
    assert "for want of memory (`ulimit -v` allows 2.05 GB); give" in ended.stderr


def test_other_ends_are_passed_on() -> None:
    assert run("sys.exit(3)").returncode == 3
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
