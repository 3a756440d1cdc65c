"""A small project and its page, opened in the browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_page import Opened
from small_project import write_project

from alphacryo4d.report.stage import write_report_page


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with its page."""
    project = write_project(tmp_path_factory.mktemp("browser"))
    write_report_page(project)
    return project


@pytest.fixture(scope="module")
def opened(browser: Any, small: Path) -> Iterator[Opened]:
    """The page of the small project, opened from disk."""
    shown = Opened(browser, (small / "report.html").as_uri())
    yield shown
    shown.page.close()
