"""A copy of the small finished project."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"
