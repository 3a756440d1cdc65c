"""The server of faults, a small finished project, and work to be disturbed."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from battery import Disturber, compiled_shim
from small_run import RUN
from works import Works

from ..conftest import _skip_or_fail


@pytest.fixture(scope="session")
def disturber(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disturber]:
    """Children with faults of their own."""
    shim = compiled_shim(tmp_path_factory.mktemp("shim"))
    if shim is None:
        _skip_or_fail("there is no C compiler for the faults of the file system (gcc)")
    server = Disturber(shim, trains="FAULTS" in os.environ)
    yield server
    server.close()


@pytest.fixture(scope="session")
def works(disturber: Disturber, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Works:
    """Commands on a small project, from where each begins, with what each makes undisturbed."""
    home = tmp_path_factory.mktemp("faults") / "home"
    shutil.copytree(finished, home)
    shutil.rmtree(home / "maps")
    (home / "edits.json").write_text(json.dumps({"edits": [{"rename": {"1": "open"}}]}))
    return Works(disturber, home, RUN)
