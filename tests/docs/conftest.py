"""The folder that the notebook of the documents leaves."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "project.ipynb"


@pytest.fixture(scope="session")
def notebook_folder(tmp_path_factory):
    """Folder in which every cell of the notebook has run: commands, then Python."""
    folder = tmp_path_factory.mktemp("notebook")
    names = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for cell in json.loads(NOTEBOOK.read_text())["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] != "code":
                continue
            if text.startswith("!alphacryo4d "):
                words = shlex.split(text[1:])[1:]
                ran = subprocess.run(
                    [sys.executable, "-m", "alphacryo4d", *words],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert ran.returncode == 0, f"{text}\n{ran.stderr}"
            else:
                exec(compile(text, str(NOTEBOOK), "exec"), names)
    finally:
        os.chdir(before)
    return folder
