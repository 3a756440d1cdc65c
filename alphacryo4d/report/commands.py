"""The commands that a served page may run: a closed list, one at a time, to be cancelled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import UsageError
from alphacryo4d.report.project_files import LABELS
from alphacryo4d.selection.sets_stage import known_selections

EDITS_JSON = "edits.json"
_SHARE = re.compile(r"(\d+)%")
_LINES = 200


def served_commands(project: Path) -> dict[str, list[str]]:
    """Name and words of every command that the page may run; all write inside the project.

    Parameters
    ----------
    project : Path
        Project folder, as it stands in the commands.
    """
    from alphacryo4d.report.advice import edit_words, reclassify_words
    from alphacryo4d.report.checks import null_words, stability_words

    here = str(project)
    commands = {
        "null": null_words(project),
        "stability": stability_words(project),
        "report": ["report", "--i", here],
    }
    for key in dict.fromkeys([*LABELS, *known_selections(project)]):
        again = reclassify_words(project, key, [])
        if again is not None:
            commands["reclassify" if key == files.VOTE else f"reclassify {key}"] = again
        commands[f"local {key}"] = ["vote", "reconstruct", "--i", f"{here}/{key}", "--o",
                                    f"{here}/{key}-local", "--local-resolution"]  # fmt: skip
        commands[f"refine {key}"] = ["vote", "refine", "--i", f"{here}/{key}", "--o",
                                     f"{here}/{key}-refine"]  # fmt: skip
    edit = edit_words(project)
    return commands if edit is None else commands | {"edits": edit}


@dataclass
class Running:
    """A command that was started: what it is called, and what became of it."""

    name: str
    process: subprocess.Popen[bytes]
    lines: deque[str]
    cancelled: bool = False

    def told(self) -> dict[str, Any]:
        """Status, last line and the share that is done, for the page."""
        code = self.process.poll()
        if code is None:
            status = "being cancelled" if self.cancelled else "running"
        elif self.cancelled:
            status = "cancelled; the same command goes on"
        else:
            status = "done" if code == 0 else f"failed (exit code {code})"
        line = self.lines[-1] if self.lines else ""
        match = _SHARE.search(line)
        share = int(match[1]) / 100 if match else None
        return {"name": self.name, "status": status, "line": line, "share": share, "code": code}


class Runner:
    """Runs the commands of a project, one at a time."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.job: Running | None = None
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None

    @property
    def commands(self) -> dict[str, list[str]]:
        """The list, for the sets of states that there are now."""
        return served_commands(self.project)

    def start(self, name: str) -> None:
        """Start a command by its name.

        Raises
        ------
        UsageError
            It is not on the list, or another one is running.
        """
        commands = self.commands
        if name not in commands:
            raise UsageError("no such command")
        with self._lock:
            if self.busy:
                raise UsageError("another command is running; wait for it or cancel it")
            process = subprocess.Popen(
                [sys.executable, "-m", "alphacryo4d", *commands[name]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"NO_COLOR": "1"},
                start_new_session=True,
            )
            self.job = Running(name, process, deque(maxlen=_LINES))
            self._reader = threading.Thread(target=_read, args=(self.job,), daemon=True)
            self._reader.start()

    @property
    def busy(self) -> bool:
        """Whether a command is running."""
        return self.job is not None and self.job.process.poll() is None

    def cancel(self) -> None:
        """Ask the running command to stop; it keeps what is finished and can go on."""
        with self._lock:
            if self.job is None or self.job.process.poll() is not None:
                raise UsageError("no command is running")
            self.job.cancelled = True
            self.job.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Stop what is running and wait for it."""
        if self.busy and self.job is not None:
            self.cancel()
            self.job.process.wait(timeout=60)
        if self._reader is not None:
            self._reader.join(timeout=60)


def _read(job: Running) -> None:
    """Keep the last lines of what a command says."""
    assert job.process.stderr is not None
    with job.process.stderr as stream:
        for raw in stream:
            text = raw.decode("utf-8", "replace").strip()
            if text:
                job.lines.append(text[:400])
