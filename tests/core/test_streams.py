"""Streams that the caller has closed: nothing is written in their place."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from alphacryo4d.core.streams import open_streams
open_streams()
with open(sys.argv[1], "wb") as data:
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    os.write(1, b"of a library"), os.write(2, b"of a library")
    subprocess.run(["sh", "-c", "echo of a program; echo of a program >&2"], check=False)
    assert not sys.stdin.read()
    data.write(b"data")
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "<&- 2>&-"])
def test_what_is_said_to_a_closed_stream_is_not_written_into_a_file(
    tmp_path: Path, closed: str
) -> None:
    command = f'"$0" -c "$1" "$2" {closed}'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, SCRIPT, tmp_path / "data"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "data").read_bytes() == b"data"
    assert ("to stdout" in ended.stdout) == (" >&-" not in f" {closed}")
    assert ("to stderr" in ended.stderr) == ("2>&-" not in closed)
