"""Run commands in children that are killed at a chosen change of the file system.

``python killing.py COMMANDS.json`` reads a list of ``[words, at]`` and writes a list of what became
of each to stdout: the exit code (-9 for a kill) and the changes counted. A child dies at change
number ``at`` (from 1; 0 for never), just before it: at an fsync, rename, link or removal.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from alphacryo4d.cli import main

CHANGES = ("fsync", "replace", "rename", "link", "unlink", "rmdir", "mkdir")


def count_changes(at: int, told: Path) -> None:
    """Count changes of the file system in this process, and die at one of them."""
    done = 0

    def counted(function):
        def call(*arguments, **keywords):
            nonlocal done
            done += 1
            if done == at:
                os.kill(os.getpid(), signal.SIGKILL)
            told.write_bytes(str(done).encode())
            return function(*arguments, **keywords)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def run_child(words: list[str], at: int, log: Path) -> tuple[int, int]:
    """Exit code of a command in a child, and how many changes it made."""
    told = log.with_suffix(".count")
    told.write_bytes(b"0")
    child = os.fork()
    if child == 0:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        count_changes(at, told)
        code = 0
        try:
            main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(told.read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asked = json.loads(Path(sys.argv[1]).read_text())
        found = [run_child(words, at, Path(folder) / "log") for words, at in asked]
    sys.stdout.write(json.dumps(found))
