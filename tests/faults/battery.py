"""One way to disturb a command on a small project, and one to compare what is left.

The short form of every row runs in the suite; ``make faults`` runs the whole: ``FAULTS`` multiplies
the number of trials of the issue's table, and ``FAULTS_RECORD`` names a file for the figures.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WRITE, CREATE, READ, OPEN, SYNC, RENAME, LOCK = (1 << bit for bit in range(7))
CHANGES = WRITE | CREATE | SYNC | RENAME
"""Kinds of calls as ``shim.c`` numbers them."""
FOREVER, KILL = -1, -1
VOLATILE = {
    "started", "ended", "seconds", "peak_memory_gb", "pid", "host", "command", "folder", "programs",
    "image_root", "image_root_near", "version",
}  # fmt: skip
"""Entries of ``job.json`` that differ from run to run."""
LEFT_BEHIND = (".ac4d-", ".next", ".changed", ".scratch", "checkpoint")
"""What the names of debris hold."""


def trials(short: int, whole: int) -> int:
    """Number of trials of a row: in the suite, and by ``make faults``."""
    factor = os.environ.get("FAULTS")
    return short if factor is None else max(short, round(whole * float(factor)))


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    memory: int
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

    def __init__(self, shim: Path | None) -> None:
        environment = os.environ | ({} if shim is None else {"LD_PRELOAD": str(shim)})
        environment |= {"PYTHONFAULTHANDLER": "0", "COLUMNS": "100"}
        self.shim = shim
        self.process = subprocess.Popen(
            [sys.executable, HERE / "disturbing.py"],
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
            found = {key: kept(item) for key, item in value.items() if key not in left_out}
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


def debris(project: Path) -> list[str]:
    """What a killed run has left."""
    return [str(p) for p in project.rglob("*") if any(mark in p.name for mark in LEFT_BEHIND)]


@dataclass
class Row:
    """Figures of one row of the table."""

    name: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)

    @contextmanager
    def trial(self, what: object) -> Iterator[None]:
        """Count one trial; one that fails is a loss, and the others go on."""
        self.tried += 1
        try:
            yield
        except AssertionError as failed:
            self.lost.append(f"{what}: {str(failed)[:300]} ... {str(failed)[-1500:]}")

    def check(self, holds: bool, what: str) -> None:
        """Something that must hold of the trial that was counted last."""
        if not holds:
            self.lost.append(what)

    @property
    def survived(self) -> int:
        return max(0, self.tried - len(self.lost))


@contextmanager
def row(name: str) -> Iterator[Row]:
    """A row of the table; its figures go to ``FAULTS_RECORD``, and a loss fails the test."""
    begun, counted = time.monotonic(), Row(name)
    yield counted
    if os.environ.get("FAULTS_RECORD"):
        entry = {"row": name, "tried": counted.tried, "survived": counted.survived}
        entry |= {"lost": len(counted.lost), "seconds": round(time.monotonic() - begun)}
        with Path(os.environ["FAULTS_RECORD"]).open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
    assert not counted.lost, f"{len(counted.lost)} of {counted.tried} lost\n" + "\n\n".join(
        counted.lost[:8]
    )
