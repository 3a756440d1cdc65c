"""Kills while a finished project is changed: nothing that was finished is lost."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_run import RUN, call

from alphacryo4d.core.job import read_job

pytestmark = pytest.mark.slow

KILLS = 8
SUFFIXES = (".npy", ".star", ".mrc", ".csv", ".npz", ".toml", ".cxc")
HERE = Path(__file__).parent


def contents(project: Path, *stages: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for stage in stages
        for path in sorted((project / stage).rglob("*"))
        if path.suffix in SUFFIXES
    }


def run_killed(folder: Path, commands: list[tuple[list[str], int]]) -> list[tuple[int, int]]:
    """Exit codes and counts of commands that are killed at a change of the file system."""
    plan = folder / "commands.json"
    plan.write_text(json.dumps(commands))
    ran = subprocess.run(
        [sys.executable, HERE / "killing.py", plan], capture_output=True, text=True, check=True
    )
    return [tuple(one) for one in json.loads(ran.stdout)]


def whole(folder: Path, *others: Path) -> bool:
    """Whether a folder's record says done, and every output is there or in one of the others."""
    record = read_job(folder)
    if record is None or record["status"] != "done":
        return False
    return all(any((p / name).is_file() for p in (folder, *others)) for name in record["outputs"])


def test_kills_lose_nothing(home: Path, tmp_path: Path) -> None:
    project, rng = home / "project", np.random.default_rng(20)
    again = ["run", "--i", str(home / "data" / "particles.star"), "--o", str(project), *RUN]
    merge = ["landscape", "states", "--i", str(project), "--merge", "1+2", "--j", "2"]
    changes = [
        [*again, "--threshold", "3"],
        merge,
        again,
        ["relocate", "--i", str(project)],
        [*again, "--threshold", "1"],
    ]
    stages = ("resample", "deepfeature", "landscape")
    before, vote = contents(project, *stages), contents(project, "vote")
    counts: dict[int, int] = {}
    killed, number = 0, 0
    while killed < KILLS:
        which = number % len(changes)
        number += 1
        assert number < 3 * KILLS
        at = int(rng.integers(1, counts.get(which, 24) + 1))
        ((code, count),) = run_killed(tmp_path, [(changes[which], at)])
        assert code in (0, -9)
        killed += code == -9
        if code == 0:
            counts[which] = max(1, count)
        assert contents(project, *stages) == before
        old, new = project / "vote", project / ".vote.next"  # new ones move into old one by one
        assert whole(old) or whole(new, old), f"{changes[which]} killed at {at}"
    assert call(*merge) == 0
    assert call(*again) == 0
    assert call("relocate", "--i", str(project)) == 0
    assert contents(project, *stages) == before
    assert contents(project, "vote") == vote
    assert whole(project / "vote")
    assert whole(project / "vote-2")
    assert not (project / ".vote.next").exists()
    assert not list(project.rglob(".ac4d-*"))
