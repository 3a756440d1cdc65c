"""What all tests share: real data where it is present, real programs where they are installed."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() == "true"


def _skip_or_fail(reason: str) -> None:
    """Skip on a user's machine; fail in CI, where nothing may be missing."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real data (``ALPHACRYO4D_SHARED``, by default ``../shared``)."""
    folder = Path(os.environ.get("ALPHACRYO4D_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        _skip_or_fail(f"{folder}: no real data; set ALPHACRYO4D_SHARED")
    return folder


@pytest.fixture(autouse=True)
def _needed_programs(request: pytest.FixtureRequest) -> None:
    for marker, program in (("relion", "relion_refine"), ("slurm", "slurmctld")):
        if request.node.get_closest_marker(marker) and not (
            shutil.which(program) or Path("/usr/sbin", program).exists()
        ):
            _skip_or_fail(f"{program} is not installed")
