"""The small finished project that several tests copy."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import simulated
from small_run import RUN, call, reconstruct


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder ``home`` with data (stacks below images/), a finished project and maps of it."""
    home = tmp_path_factory.mktemp("moves") / "home"
    data = home / "data"
    (data / "images").mkdir(parents=True)
    rng = np.random.default_rng(5)
    table, _ = simulated.simulate(data, np.repeat([0, 1], 160), 1.0, rng)
    table.write_text(table.read_text().replace(f"@{data}/stack", "@images/stack"))
    (data / "stack.mrcs").rename(data / "images" / "stack.mrcs")
    assert call("run", "--i", table, "--o", home / "project", *RUN) == 0
    assert reconstruct(home / "project", home / "maps") == 0
    return home.rename(home.with_name("kept"))  # nothing is left where the records say


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"
