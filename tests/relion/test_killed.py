"""RELION killed in mid-iteration: the job says so, and goes on from the last whole iteration."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import net, wait_until

from alphacryo4d.particles.open import open_table

pytestmark = [pytest.mark.relion, pytest.mark.slow]
ITERATIONS = 30  # more than RELION does between two looks at its files


def start(data: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    words = ["--engine", "relion", "--classes", "2", "--iter", str(ITERATIONS), "--ranks", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "alphacryo4d", "resample", "classify", "--i", "particles.star",
         "--o", str(output), *words, "--limit-resolution", "10", *more],
        cwd=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """Processes below one, whichever of its threads started them."""
    below = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            below += [child, *children(child)]
    return below


def kill_relion(pid: int) -> None:
    for child in children(pid):
        if Path(f"/proc/{child}/comm").read_text().strip() == "relion_refine":
            os.kill(child, signal.SIGKILL)
            return
    pytest.fail("RELION does not run")


def test_a_killed_relion_goes_on_from_its_last_iteration(two_states: Path, tmp_path: Path) -> None:
    work = tmp_path / "o/relion"
    process = start(two_states, tmp_path / "o")
    third = work / "run_it003_optimiser.star"
    wait_until(lambda: third.is_file() or process.poll() is not None, 10)
    kill_relion(process.pid)
    _, said = process.communicate(timeout=net(5))
    assert process.returncode == 5, said
    assert "SIGKILL" in said or "signal 9" in said or "-9" in said
    assert not list((tmp_path / "o").glob("run_it*"))
    again = start(two_states, tmp_path / "o", "--continue")
    _, said = again.communicate(timeout=net(15))
    assert again.returncode == 0, said
    commands = [line for line in (work / "run.log").read_text().splitlines() if line[:2] == "$ "]
    assert "--continue" not in commands[-2]
    optimiser = Path(commands[-1].split("--continue ")[1].split()[0]).name
    assert 1 <= int(optimiser.removeprefix("run_it")[:3]) < ITERATIONS
    assert open_table(tmp_path / f"o/run_it{ITERATIONS:03d}_data.star").rows == 240
