"""What all tests share: real data where it is present, real programs where they are installed."""

import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small_particles import four_arms
from small_run import RUN, call, make_data, reconstruct

ROOT = Path(__file__).resolve().parent.parent
BROWSER_ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
IN_CI = os.environ.get("CI", "").lower() == "true"


LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[LEFT_OUT][item.nodeid.split("::")[0]] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist
        session.config.workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    config, left_out = node.config, getattr(node, "workeroutput", {}).get("left_out", {})
    config.stash[LEFT_OUT] = Counter(left_out)  # every worker leaves out the same


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name what this part of the suite has not run."""
    left_out = config.stash[LEFT_OUT]
    if not left_out:
        return
    terminalreporter.section(f"left out by -m '{config.option.markexpr}'")
    if config.option.markexpr != "slow":
        for name, number in sorted(left_out.items()):
            terminalreporter.write_line(f"{name}: {number}")
    total = sum(left_out.values())
    terminalreporter.write_line(f"{total} tests left out; `make test-all` runs every test")


def _skip_or_fail(reason: str) -> None:
    """Skip on a user's machine; fail in CI, where nothing may be missing."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder ``home`` with data (stacks below images/), a finished project and maps of it.

    The small project that tests of the pipeline and of faults copy.
    """
    home = tmp_path_factory.mktemp("moves") / "home"
    table = make_data(home)
    assert call("run", "--i", table, "--o", home / "project", *RUN) == 0
    assert reconstruct(home / "project", home / "maps") == 0
    return home.rename(home.with_name("kept"))  # nothing is left where the records say


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real data (``ALPHACRYO4D_SHARED``, by default ``../shared``)."""
    folder = Path(os.environ.get("ALPHACRYO4D_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        _skip_or_fail(f"{folder}: no real data; set ALPHACRYO4D_SHARED")
    return folder


@pytest.fixture(scope="session")
def snakemake() -> str:
    """The program, from PATH or beside Python."""
    places = (None, str(Path(sys.executable).parent))
    program = next(filter(None, (shutil.which("snakemake", path=place) for place in places)), "")
    if not program:
        _skip_or_fail("snakemake is not installed (pip install snakemake, in any environment)")
    return program


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window and without a graphics card, driven by Playwright."""
    if find_spec("playwright") is None:
        _skip_or_fail("playwright is not installed (pip install playwright)")
    if shutil.which("chromium") is None:
        _skip_or_fail("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        chromium = player.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(BROWSER_ARGUMENTS)
        )
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def _log_of_a_library() -> None:
    """Begin with the log as imported, whatever commands ran in this process before."""
    package = logging.getLogger("alphacryo4d")
    package.handlers[:], package.propagate = [], True
    package.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _needed_programs(request: pytest.FixtureRequest) -> None:
    for marker, program in (("relion", "relion_refine"), ("slurm", "slurmctld")):
        if request.node.get_closest_marker(marker) and not (
            shutil.which(program) or Path("/usr/sbin", program).exists()
        ):
            _skip_or_fail(f"{program} is not installed")


@pytest.fixture(scope="session")
def easy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 800 particles (32 px of 5 A) of four very different states, with their truth."""
    folder = tmp_path_factory.mktemp("easy")
    return four_arms(
        folder, particles_per_state=200, box=32, pixel_size=5.0, snr=0.5, snr_box=32, atom_sigma=3.0
    )
