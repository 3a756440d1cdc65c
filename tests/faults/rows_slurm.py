"""Jobs of a real Slurm that are cancelled, requeued, preempted, or whose node fails."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from battery import row
from waiting import wait_until
from works import Work, Works

from ..slurm.conftest import RunningSlurm

pytestmark = [pytest.mark.slow, pytest.mark.slurm]
SCRIPT = Path(__file__).resolve().parents[2] / "envs" / "slurm.sbatch"
PREEMPTION = """
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL PriorityTier=10 MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSlurm]:
    """Slurm with one node and a partition whose jobs come before those of the other."""
    if os.geteuid() != 0:
        pytest.skip("starting Slurm needs root")
    found = RunningSlurm(tmp_path_factory.mktemp("slurm"), PREEMPTION)
    try:
        found.start()
        yield found
    finally:
        found.end()


def say(*words: object) -> str:
    """What a command of Slurm says."""
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def state(job: str) -> str:
    """State of a job in words of Slurm; empty when it has left the queue."""
    return say("squeue", "-h", "-j", job, "-t", "all", "-o", "%T")


class Batch:
    """A piece of work as a batch job."""

    def __init__(self, work: Work, home: Path) -> None:
        program = home.parent / "program"
        program.write_text(
            f'#!/bin/sh\necho $$ > {home}/pid\nexec {sys.executable} -m alphacryo4d "$@"\n'
        )
        program.chmod(0o755)
        words = Works.words(work.words, home)
        given = dict(zip(words[1::2], words[2::2], strict=True))
        table, project, threads = (given.pop(name) for name in ("--i", "--o", "--j"))
        more = [word for pair in given.items() for word in pair]
        self.home, self.pid = home, home / "pid"
        self.command = [
            "sbatch", "--parsable", "--requeue", "--open-mode=append", "--cpus-per-task", threads,
            "--output", home.parent / "job.out", "--error", home.parent / "job.err",
            "--export", f"ALL,ALPHACRYO4D={program}", SCRIPT, table, project, *more,
        ]  # fmt: skip
        self.job = ""

    def submit(self) -> None:
        self.pid.unlink(missing_ok=True)
        self.job = say(*self.command)
        assert self.job, "sbatch refused"

    def wait_for_begin(self) -> None:
        wait_until(lambda: self.pid.is_file() or state(self.job) in ("", "COMPLETED", "FAILED"), 10)

    def send(self, number: int) -> bool:
        """Send a signal to the program; whether it was there."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.pid.read_text()), number)
            return True
        return False

    def goes_on(self) -> bool:
        return state(self.job) in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING")

    def wait_for_end(self) -> None:
        """Wait until it has left the queue; a job that was requeued may start at once."""

        def ended() -> bool:
            now = state(self.job)
            if now == "PENDING":
                say("scontrol", "update", f"jobid={self.job}", "starttime=now")
                say("scontrol", "release", self.job)
            return now not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED")

        wait_until(ended, 60, pause=0.3, said=lambda: say("scontrol", "show", "job", self.job))
        assert ended()


def cancel(cluster: RunningSlurm, batch: Batch) -> None:
    say("scancel", batch.job)


def kill(cluster: RunningSlurm, batch: Batch) -> None:
    say("scancel", "--signal=KILL", "--full", batch.job)


def warn(cluster: RunningSlurm, batch: Batch) -> None:
    """As before the end of the job's time."""
    say("scancel", "--batch", "--signal=TERM", batch.job)


def requeue(cluster: RunningSlurm, batch: Batch) -> None:
    say("scontrol", "requeue", batch.job)


def preempt(cluster: RunningSlurm, batch: Batch) -> None:
    """A job that comes first takes the whole node."""
    urgent = say("sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null",
                 "--wrap", "sleep 1")  # fmt: skip
    wait_until(lambda: state(urgent) in ("", "COMPLETED", "FAILED"), 20, pause=0.3)


def node_fails(cluster: RunningSlurm, batch: Batch) -> None:
    """All processes of the node die at once; it comes back later."""
    dying = [cluster.daemons["slurmd"].pid]
    with contextlib.suppress(OSError, ValueError):
        program = int(batch.pid.read_text())
        shell = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])
        step = int(Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()[1])
        assert "slurmstepd" in Path(f"/proc/{step}/comm").read_text()
        dying += [step, shell, program]
    for pid in dying:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cluster.daemons["slurmd"].wait()
    say("scontrol", "update", f"nodename={cluster.host}", "state=down", "reason=failed")
    time.sleep(0.5)
    cluster.start_daemon("slurmd")
    time.sleep(1)
    say("scontrol", "update", f"nodename={cluster.host}", "state=resume")


HOW = (cancel, requeue, preempt, node_fails, kill, warn)


def was_hit(batch: Batch) -> bool:
    """Whether Slurm has stopped the job before it was done."""
    told = dict(re.findall(r"(\w+)=(\S*)", say("scontrol", "show", "job", batch.job)))
    return told.get("Restarts", "0") != "0" or told["JobState"] != "COMPLETED"


def struck(
    works: Works, cluster: RunningSlurm, how: Callable[[RunningSlurm, Batch], None], work: Work,
    moment: float,
) -> tuple[Path, Batch]:  # fmt: skip
    """A job that is hit at a moment of its work, where it stands still until Slurm has acted.

    Slurm takes seconds to preempt a job or to miss a node. Where the job was too quick for the
    moment, an earlier one is taken.
    """
    for part in (1.0, 0.6, 0.3, 0.0):
        home = works.copy(work)
        batch = Batch(work, home)
        batch.submit()
        batch.wait_for_begin()
        wait_until(lambda home=home, batch=batch: working(home) or not batch.goes_on(), 20)
        time.sleep(part * moment * work.seconds)
        if batch.send(signal.SIGSTOP):
            how(cluster, batch)
            batch.send(signal.SIGCONT)
        batch.wait_for_end()
        if was_hit(batch):
            return home, batch
    raise AssertionError("the job was never hit")


def working(home: Path) -> bool:
    """Whether the run has opened its record."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((home / "project" / "job.json").read_text())["status"] == "running"
    return False


def test_jobs_of_slurm_lose_nothing(works: Works, cluster: RunningSlurm) -> None:
    with row(
        "Slurm: scancel, requeue, preemption, node failure, warning of the time limit", 1, 30
    ) as figures:
        for trial in figures.numbers():
            rng, how = figures.random(), HOW[trial % len(HOW)]
            work = works.work(("run from vote", "run from landscape")[trial // len(HOW) % 2])
            (work.start.parent / "job.err").unlink(missing_ok=True)  # jobs write behind each other
            with figures.trial(f"{work.name}, {how.__name__}"):
                home, batch = struck(works, cluster, how, work, rng.uniform(0, 1))
                batch.submit()  # as a user does that finds it unfinished
                batch.wait_for_end()
                said = (home.parent / "job.err").read_text()
                assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3000]
                batch.pid.unlink(missing_ok=True)
                works.require_same(work, home)
