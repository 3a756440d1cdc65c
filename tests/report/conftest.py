"""A real browser for the tests of the page: Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_page import Opened
from small_project import write_project

from alphacryo4d.report.stage import write_report_page

ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window and without a graphics card."""
    missing = _why_not()
    if missing:
        in_ci = os.environ.get("CI", "").lower() == "true"
        (pytest.fail if in_ci else pytest.skip)(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        found = player.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(ARGUMENTS)
        )
        yield found
        found.close()


def _why_not() -> str:
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install playwright)"
    return "" if shutil.which("chromium") else "chromium is not installed"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with its page."""
    project = write_project(tmp_path_factory.mktemp("browser"))
    write_report_page(project)
    return project


@pytest.fixture(scope="module")
def opened(browser: Any, small: Path) -> Iterator[Opened]:
    """The page of the small project, opened from disk."""
    found = Opened(browser, (small / "report.html").as_uri())
    yield found
    found.page.close()
