"""A small finished project, and the commands that tests of the pipeline give."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import simulated

from alphacryo4d.cli import main

RUN = ["--classes", "3", "--iter", "2", "--epochs", "1", "--states", "2", "--j", "2"]
RUN += ["--minimum-class-size", "5", "--components", "2"]
"""Options of the run that made the project."""


def call(*words: object) -> int:
    """Exit code of a command."""
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def make_data(home: Path) -> Path:
    """Table of 320 particles in ``home/data``, with its stack below images/."""
    data = home / "data"
    (data / "images").mkdir(parents=True)
    rng = np.random.default_rng(5)
    table, _ = simulated.simulate(data, np.repeat([0, 1], 160), 1.0, rng)
    table.write_text(table.read_text().replace(f"@{data}/stack", "@images/stack"))
    (data / "stack.mrcs").rename(data / "images" / "stack.mrcs")
    return table


def reconstruct(project: Path, output: Path, *more: object) -> int:
    """Exit code of the reconstruction of a project's votes, which reads all images."""
    return call("vote", "reconstruct", "--i", project / "vote", "--o", output, "--j", "2", *more)


def rerun(home: Path, *more: object) -> int:
    """Exit code of the run that made the project, given again."""
    table = home / "data" / "particles.star"
    return call("run", "--i", table, "--o", home / "project", *RUN, *more)


def times(project: Path) -> dict[str, int]:
    """Time of change of every file of a folder."""
    return {str(p.relative_to(project)): p.stat().st_mtime_ns for p in project.rglob("*.*")}


def as_owner() -> list[str]:
    """Words that start a program without the rights of root, which may write everywhere."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("runs as root, and there is no setpriv")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
