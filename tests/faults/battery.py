"""One way to disturb a command on a small project, and one to compare what is left.

The short form of some rows runs in the suite; ``make faults`` runs the whole (:class:`Row`).
"""

import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WRITE, CREATE, READ, OPEN, SYNC, RENAME, LOCK, STAT = (1 << bit for bit in range(8))
CHANGES = WRITE | CREATE | SYNC | RENAME
"""Kinds of calls as ``shim.c`` numbers them."""
FOREVER, KILL, STOP = -1, -1, -2
VOLATILE = {
    "started", "ended", "seconds", "peak_memory_gb", "pid", "pid_started", "host", "command",
    "folder", "programs", "image_root", "image_root_near", "version",
}  # fmt: skip
"""Entries of ``job.json`` that differ from run to run."""
LEFT_BEHIND = (".ac4d-", ".next", ".changed", ".scratch", "checkpoint")
"""What the names of debris hold."""


@dataclass
class Ended:
    """How a command ended; ``memory`` and ``mapped`` are the most bytes that it held and mapped."""

    code: int
    out: str
    err: str
    seconds: float
    cpu: float
    memory: int
    mapped: int
    seen: int
    late: bool

    @property
    def killed(self) -> bool:
        return self.code == -9

    @property
    def said(self) -> str:
        return self.out + self.err


def require_named(ended: Ended, *codes: int) -> None:
    """Hold that a command ended well or with one of the codes and a message, and not by a bug."""
    assert not ended.late, f"no end after {ended.seconds} s\n{ended.said[-2000:]}"
    assert ended.code in (0, *codes), f"{ended.code}\n{ended.said[-3000:]}"
    assert "Traceback" not in ended.said, ended.said[-3000:]
    assert ended.code == 0 or "error: " in ended.err, ended.said[-2000:]


class Disturber:
    """The server of ``disturbing.py``, with the shim where there is a compiler."""

    def __init__(self, shim: Path | None, *, trains: bool) -> None:
        environment = os.environ | ({} if shim is None else {"LD_PRELOAD": str(shim)})
        environment |= {"PYTHONFAULTHANDLER": "0", "COLUMNS": "100"}
        self.shim = shim
        self.process = subprocess.Popen(
            [sys.executable, HERE / "disturbing.py", *(["tensorflow", "keras"] if trains else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    @property
    def mapped(self) -> int:
        """Bytes of address space that every child has from the start."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmSize:")[1].split()[0])

    def together(self, *jobs: dict[str, Any]) -> list[Ended]:
        """Run commands at the same time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        plain = [job | {"words": [str(word) for word in job["words"]]} for job in jobs]
        self.process.stdin.write(json.dumps(plain) + "\n")
        self.process.stdin.flush()
        return [Ended(**one) for one in json.loads(self.process.stdout.readline())]

    def run(self, words: list[object], **how: Any) -> Ended:
        """Run one command with a fault."""
        return self.together({"words": words, **how})[0]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def compiled_shim(folder: Path) -> Path | None:
    """The shim, or None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "shim.c", "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def _without_times(text: bytes) -> bytes:
    """``job.json`` without what differs from run to run."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = VOLATILE | {"mtime", "near", "given"}
            given = {key: item for key, item in value.items() if item is not None}
            found = {key: kept(item) for key, item in given.items() if key not in left_out}
            if isinstance(found.get("path"), str):  # of a project that was copied: where it was
                found["path"] = Path(found["path"]).name
            return found | ({"outputs": sorted(found["outputs"])} if "outputs" in found else {})
        if isinstance(value, list):
            return [kept(item) for item in value]
        return value

    record = json.loads(text)
    for known in record.get("contents", {}).values():
        del known[1]  # the time of the file
    return json.dumps(kept(record), sort_keys=True).encode()


def contents(project: Path, *parts: str) -> dict[str, bytes]:
    """Bytes of every file of a project, or of some of its folders; times and places left out."""
    found = {}
    for start in [project / part for part in parts] if parts else [project]:
        for path in sorted(start.rglob("*")):
            if not path.is_file() or path.name == ".lock" or path.suffix in (".pdf", ".log"):
                continue
            name, held = str(path.relative_to(project)), path.read_bytes()
            held = _without_times(held) if path.name == "job.json" else held
            held = held.replace(str(project).encode(), b"PROJECT")
            held = b"" if path.suffix == ".html" else held  # it shows times, host and folders
            found[name] = held.replace(str(project.parent).encode(), b"HOME")
    return found


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Names of files that are not the same."""
    return sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))


def first_difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    """Lines that differ in files of text."""
    told = []
    for name in differences(found, wanted):
        if name.endswith((".json", ".txt", ".star", ".csv", ".toml")):
            both = [
                held.get(name, b"").decode(errors="replace").replace(", ", ",\n").splitlines()
                for held in (wanted, found)
            ]
            told += list(difflib.unified_diff(*both, "undisturbed", name, lineterm="", n=0))[:12]
    return "\n".join(told)[:1200]


def debris(project: Path) -> list[str]:
    """What a killed run has left."""
    return [str(p) for p in project.rglob("*") if any(mark in p.name for mark in LEFT_BEHIND)]


class Row:
    """Trials of one row of the table.

    ``FAULTS=1`` tries as many as the table asks, ``FAULTS=0.1`` a tenth; without it the suite tries
    a handful. With ``FAULTS_RECORD``, a file of JSON lines, every trial is put on record; those on
    record that survived are not tried again. ``FAULTS_SECONDS`` ends a row after a while,
    ``FAULTS_TRIALS=4,7`` tries these alone.
    """

    def __init__(self, name: str, short: int, whole: int) -> None:
        factor = os.environ.get("FAULTS")
        self.name, self.asked = name, whole
        self.whole = factor is not None and float(factor) >= 1
        self.number = short if factor is None else max(1, round(whole * float(factor)))
        self.tried = 0
        self.lost: list[str] = []
        self.now, self.begun = 0, time.monotonic()

    def numbers(self) -> Iterator[int]:
        """Numbers of the trials to make; each draws its own random numbers (:meth:`random`)."""
        begun = time.monotonic()
        limit = float(os.environ.get("FAULTS_SECONDS", "inf"))
        only = os.environ.get("FAULTS_TRIALS")
        survived = {e["trial"] for e in self._record() if not e["lost"]}
        for trial in range(self.number) if only is None else map(int, only.split(",")):
            if time.monotonic() - begun > limit:
                return
            if trial not in survived or only is not None:
                self.now, self.begun = trial, time.monotonic()
                yield trial

    def random(self) -> random.Random:
        """Random numbers of this trial, the same whenever it is tried."""
        return random.Random(f"{self.name} {self.now}")

    @contextmanager
    def trial(self, what: object) -> Iterator[None]:
        """Count one trial; one that fails is a loss, and the others go on."""
        self.tried += 1
        lost = ""
        try:
            yield
        except Exception as failed:  # noqa: BLE001 - any other end than the one that is asked
            lost = f"trial {self.now}, {what}: {failed!r:.300} ... {str(failed)[-1500:]}"
            self.lost.append(lost)
        if os.environ.get("FAULTS_RECORD"):
            entry = {"row": self.name, "asked": self.asked, "trial": self.now, "lost": lost}
            entry |= {"seconds": round(time.monotonic() - self.begun, 1), "what": str(what)}
            with Path(os.environ["FAULTS_RECORD"]).open("a") as stream:
                stream.write(json.dumps(entry) + "\n")

    def _record(self) -> list[dict[str, Any]]:
        """What is on record of this row, the last of every trial."""
        path = Path(os.environ.get("FAULTS_RECORD") or "/nowhere")
        lines = path.read_text().splitlines() if path.is_file() else []
        entries = [entry for entry in map(json.loads, lines) if entry["row"] == self.name]
        return list({entry["trial"]: entry for entry in entries}.values())


@contextmanager
def row(name: str, short: int, whole: int) -> Iterator[Row]:
    """A row of the table: trials in the suite, trials that are asked; a loss fails the test."""
    counted = Row(name, short, whole)
    yield counted
    assert not counted.lost, f"{len(counted.lost)} of {counted.tried} lost\n" + "\n\n".join(
        counted.lost[:8]
    )
