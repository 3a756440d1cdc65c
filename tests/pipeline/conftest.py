"""The small finished project that several tests copy."""

import shutil
from pathlib import Path

import pytest
from small_run import RUN, call, make_data, reconstruct


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder ``home`` with data (stacks below images/), a finished project and maps of it."""
    home = tmp_path_factory.mktemp("moves") / "home"
    table = make_data(home)
    assert call("run", "--i", table, "--o", home / "project", *RUN) == 0
    assert reconstruct(home / "project", home / "maps") == 0
    return home.rename(home.with_name("kept"))  # nothing is left where the records say


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"
