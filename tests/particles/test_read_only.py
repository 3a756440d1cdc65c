"""Tables in a folder that cannot be written, given to the program from end to end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_tables import make_images, modern_table, numbered

# Root may write everywhere; without these rights it may write where its owner may
RIGHTS = "-dac_override,-dac_read_search"


def as_owner() -> list[str]:
    """Words that start a program without the rights of root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("runs as root, and there is no setpriv")
    return ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    make_images(folder / "a.mrcs", 80)
    modern_table(folder / "p.star", numbered("a.mrcs", 80))
    folder.chmod(0o555)
    tried = subprocess.run([*as_owner(), "test", "-w", folder], check=False)
    read = subprocess.run([*as_owner(), "test", "-r", folder / "p.star"], check=False)
    if tried.returncode == 0 or read.returncode != 0:
        pytest.skip("the rights of root cannot be given up here")
    return folder


def test_a_folder_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, list[str]]:
        command = [*as_owner(), sys.executable, "-m", "alphacryo4d", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, [x for x in done.stderr.splitlines() if x.startswith("error")]

    before = sorted(folder.iterdir())
    assert run("check", "--full", "--i", "p.star") == (0, [])
    assert run("resample", "split", "--i", "p.star", "--o", str(tmp_path / "out")) == (0, [])
    refused = [f"error: out: {folder} cannot be written; take another folder"]
    assert run("run", "--i", "p.star", "--o", "out", "--classes", "2") == (6, refused)
    refused = ["error: p.cs: cannot be written: Permission denied"]
    assert run("convert", "--i", "p.star", "--o", "p.cs") == (6, refused)
    assert sorted(folder.iterdir()) == before
