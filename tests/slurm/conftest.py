"""A real Slurm on this machine: munged, slurmctld, slurmd, started and stopped by the tests."""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIGURATION = """
ClusterName=alphacryo4d
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_munge() -> int | None:
    """Start munged where it does not run; its process id, or None where it ran before."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return None
    user = pwd.getpwnam("munge")
    for folder in ("/run/munge", "/var/lib/munge", "/var/log/munge"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        os.chown(folder, user.pw_uid, user.pw_gid)
    Path("/run/munge").chmod(0o755)
    subprocess.run(["runuser", "-u", "munge", "--", "/usr/sbin/munged", "--force"], check=True)
    return int(Path("/run/munge/munged.pid").read_text())


def stop(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class RunningSlurm:
    """Slurm with one node: its configuration, and its daemons that may be killed."""

    def __init__(self, folder: Path, more: str = "") -> None:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        self.folder, self.configuration = folder, folder / "slurm.conf"
        self.host = socket.gethostname().split(".")[0]
        text = CONFIGURATION.format(
            host=self.host, ports=free_ports(2), folder=folder, cpus=os.cpu_count() or 1
        )
        self.configuration.write_text(text + more)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.before = os.environ.get("SLURM_CONF")
        self.munge: int | None = None

    def start(self) -> None:
        """Start munge and the daemons; ``SLURM_CONF`` names the configuration."""
        os.environ["SLURM_CONF"] = str(self.configuration)
        with Path("/run/lock/alphacryo4d-munge").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # test files run in two processes
            self.munge = start_munge()
        self.start_daemon("slurmctld")
        self.start_daemon("slurmd")
        self.wait_for_node()

    def start_daemon(self, name: str) -> None:
        """Start a daemon, or start it again."""
        program = shutil.which(name) or f"/usr/sbin/{name}"
        self.daemons[name] = subprocess.Popen([program, "-D"])

    def wait_for_node(self) -> None:
        """Wait until the node is free."""
        for _ in range(200):
            state = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False
            )
            if "idle" in state.stdout:
                return
            time.sleep(0.5)
        logs = [path.read_text()[-2000:] for path in self.folder.glob("*.log")]
        pytest.fail("Slurm did not come up:\n" + "\n".join([state.stderr, *logs]))

    def end(self) -> None:
        """Stop all that was started."""
        subprocess.run(["scancel", "--user=root"], capture_output=True, check=False)
        time.sleep(1)
        for daemon in reversed(self.daemons.values()):
            stop(daemon.pid)
            daemon.wait()
        if self.munge is not None:
            stop(self.munge)
        if self.before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = self.before


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Slurm with one node of two CPUs; ``SLURM_CONF`` names it while the tests run."""
    if os.geteuid() != 0:
        pytest.skip("starting Slurm needs root")
    running = RunningSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running.configuration
    finally:
        running.end()
