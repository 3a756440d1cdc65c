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


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Slurm with one node of two CPUs; ``SLURM_CONF`` names it while the tests run."""
    if os.geteuid() != 0:
        pytest.skip("starting Slurm needs root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    cpus = os.cpu_count() or 1
    configuration.write_text(
        CONFIGURATION.format(host=host, ports=free_ports(2), folder=folder, cpus=cpus)
    )
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(configuration)
    with Path("/run/lock/alphacryo4d-munge").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test files run in two processes
        munge = start_munge()
    programs = [shutil.which(name) or f"/usr/sbin/{name}" for name in ("slurmctld", "slurmd")]
    daemons = [subprocess.Popen([program, "-D"]) for program in programs]
    try:
        for _ in range(200):
            state = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False
            )
            if "idle" in state.stdout:
                break
            time.sleep(0.5)
        else:
            logs = [path.read_text()[-2000:] for path in folder.glob("*.log")]
            pytest.fail("Slurm did not come up:\n" + "\n".join([state.stderr, *logs]))
        yield configuration
    finally:
        subprocess.run(["scancel", "--user=root"], capture_output=True, check=False)
        time.sleep(1)
        for daemon in reversed(daemons):
            stop(daemon.pid)
            daemon.wait()
        if munge is not None:
            stop(munge)
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before
