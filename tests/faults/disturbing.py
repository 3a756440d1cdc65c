"""A server that gives commands in children, each with a fault of its own.

``python disturbing.py MODULES`` reads lines of JSON from stdin and answers with lines of JSON. A
line is a list of children, which run at the same time; of each comes back how it ended. Everything
heavy, and the modules, are imported before the first child, so that a child costs a fork; a child
with ``teach`` says at its end what it has imported, and the server imports this too. No work is
done before the fork, and no thread is begun. Loaded with ``shim.c`` by LD_PRELOAD a child can arm
it.

A child is ``{"words": [...], ...}`` with any of: ``arm`` (arguments of ``faults_arm``), ``then``
(command that is run where the shim has stopped the child, which then goes on), ``clock`` (of
``faults_clock``), ``signal`` and ``after`` (signal number, seconds), ``folder`` (working
directory), ``set`` and ``unset`` (environment), ``umask``, ``closed`` (descriptors), ``memory``
(RLIMIT_AS, bytes), ``file_size`` (RLIMIT_FSIZE), ``nameless`` (a user id without a name), ``limit``
(seconds until it is given up).
"""

import contextlib
import ctypes
import importlib
import json
import os
import pwd
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alphacryo4d.cli import COMMANDS, main

NOT_BEFORE_A_FORK = ("tensorflow", "keras", "jax", "threadpoolctl")
STAGES = ("resample", "deepfeature", "landscape", "voting", "reclassify", "report")


def load_everything() -> None:
    """Import what commands import late."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for module, _, _ in COMMANDS.values():
        importlib.import_module(f"alphacryo4d.{module}")
    for name in ("scipy.ndimage", "sklearn.manifold", "sklearn.cluster", "matplotlib.pyplot"):
        importlib.import_module(name)
    for name in (*(f"alphacryo4d.{stage}.stage" for stage in STAGES), *sys.argv[1:]):
        importlib.import_module(name)


def no_name(who: object) -> None:
    """In place of the functions that know users."""
    raise KeyError(f"no user {who}")


def prepare(job: dict[str, object]) -> None:
    """Put a child in the state that is asked for."""
    os.environ.update(job.get("set", {}))
    for name in job.get("unset", []):
        os.environ.pop(name, None)
    if "folder" in job:
        os.chdir(job["folder"])
    if "umask" in job:
        os.umask(job["umask"])
    if "file_size" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"],) * 2)
    if "memory" in job:
        resource.setrlimit(resource.RLIMIT_AS, (job["memory"],) * 2)
    if job.get("nameless"):
        pwd.getpwuid = pwd.getpwnam = no_name
    shim = ctypes.CDLL(None)
    if "arm" in job:
        text, *numbers = job["arm"]
        shim.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, *[ctypes.c_long] * 2,
                                    ctypes.c_int]  # fmt: skip
        shim.faults_arm(text.encode(), *numbers)
    if "clock" in job:
        shim.faults_clock.argtypes = [ctypes.c_long, ctypes.c_long]
        shim.faults_clock(*job["clock"])


def teach(known: set[str], place: Path) -> None:
    """Write down what this process has imported beside the known modules."""
    place.write_text(json.dumps(sorted({*sys.modules} - known)))


def learn(place: Path) -> None:
    """Import what a child has taught."""
    if not place.is_file():
        return
    for name in json.loads(place.read_text()):
        if not name.startswith(NOT_BEFORE_A_FORK):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def run_child(job: dict[str, object], log: Path) -> int:
    """Start a child; its process id, which is its group's."""
    told = Path(f"{log}.seen")
    pid = os.fork()
    if pid:
        return pid
    code = 70
    known = {*sys.modules}
    try:
        os.setsid()
        for number, stream in ((0, os.devnull), (1, f"{log}.out"), (2, f"{log}.err")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
            opened = os.open(stream, flags, 0o666)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, m) for n, m in enumerate("rww"))
        prepare(job)
        for number in job.get("closed", []):
            os.close(number)
        sys.argv = ["alphacryo4d", *job["words"]]
        main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except KeyboardInterrupt:  # before the program had begun
        code = 130
        sys.stderr.write("error: stopped before it began\n")
    except BaseException:  # noqa: BLE001 - told to the parent
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        if job.get("teach"):
            teach(known, Path(f"{log}.taught"))
        with contextlib.suppress(OSError, IndexError):
            status = Path("/proc/self/status").read_text()
            Path(f"{log}.peak").write_text(status.split("VmPeak:")[1].split()[0])
        if "arm" in job:
            shim = ctypes.CDLL(None)
            shim.faults_seen.restype = ctypes.c_long
            seen = shim.faults_seen()
            shim.faults_arm(b"", 0, 0, 0, 0)
            with contextlib.suppress(OSError):
                told.write_text(str(seen))
        os._exit(code)


def answer(jobs: list[dict[str, object]], folder: Path) -> list[dict[str, object]]:
    """Run children at the same time; how each ended."""
    logs = [folder / str(number) for number in range(len(jobs))]
    begun = time.monotonic()
    alive = {
        run_child(job, log): place for place, (job, log) in enumerate(zip(jobs, logs, strict=True))
    }
    found: list[dict[str, object]] = [{} for _ in jobs]
    pending = {pid: jobs[place] for pid, place in alive.items() if "signal" in jobs[place]}
    limit = max(job.get("limit", 1200) for job in jobs)
    while alive:
        pid, status, used = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            gone = time.monotonic() - begun
            for one, job in list(pending.items()):
                if gone >= job["after"]:
                    del pending[one]
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(one, job["signal"])
            if gone > limit:
                for one in alive:
                    os.killpg(one, signal.SIGKILL)
            time.sleep(0.002)
            continue
        if pid not in alive:
            continue
        if os.WIFSTOPPED(status):
            subprocess.run(jobs[alive[pid]]["then"], check=True)
            os.kill(pid, signal.SIGCONT)
            continue
        place = alive.pop(pid)
        pending.pop(pid, None)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # whatever it left
        told = Path(f"{logs[place]}.seen")
        learn(Path(f"{logs[place]}.taught"))
        found[place] = {
            "code": os.waitstatus_to_exitcode(status),
            "out": read(f"{logs[place]}.out"),
            "err": read(f"{logs[place]}.err"),
            "seconds": round(time.monotonic() - begun, 3),
            "cpu": round(used.ru_utime + used.ru_stime, 3),
            "memory": used.ru_maxrss * 1024,
            "mapped": 1024 * int(read(f"{logs[place]}.peak") or 0),
            "seen": int(told.read_text() or 0) if told.is_file() else 0,
            "late": time.monotonic() - begun > limit,
        }
    return found


def read(path: str) -> str:
    """Text of a child's stream."""
    return Path(path).read_text(errors="replace") if Path(path).is_file() else ""


if __name__ == "__main__":
    load_everything()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            given = json.loads(line)
            sys.stdout.write(json.dumps(answer(given, Path(folder))) + "\n")
            sys.stdout.flush()
