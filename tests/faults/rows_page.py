"""Markup in names, columns, paths, records and logs: shown as text, nothing runs in a browser."""

import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from asked import Asked
from battery import row
from browser_page import Opened
from small_project import write_project

from alphacryo4d.report.commands import Running
from alphacryo4d.report.stage import write_report_page

pytestmark = pytest.mark.slow
RAN = "document.documentElement.dataset.ran=1"
PAYLOADS = (
    f"</script><img/src=x/onerror={RAN}>",
    f"<svg/onload={RAN}>",
    f'x"><script>{RAN}</script>',
    f"x'onfocus='{RAN}'autofocus='",
    f"javascript:{RAN}",
    f"<a/href=javascript:{RAN}>x</a>",
    f"<!--<script>{RAN}//-->",
    f"${{{RAN}}}{{{{{RAN}}}}}`{RAN}`",
    f"x\u2028</SCRIPT\u2029><iframe/srcdoc=<script>parent.{RAN}</script>>",
)
"""Without blanks, so that each is one value of a STAR table."""


class Dead:
    """A process that has ended."""

    @staticmethod
    def poll() -> int:
        return 1


def add_column(path: Path, name: str, value: str) -> None:
    """Give the last table of a STAR file one more column."""
    lines = path.read_text(encoding="utf-8").split("\n")
    last = max(n for n, line in enumerate(lines) if line.startswith("_"))
    lines[last] += f"\n_{name} #{int(lines[last].split('#')[1]) + 1}"
    lines[last + 1 :] = [f"{line} {value}" if line.strip() else line for line in lines[last + 1 :]]
    path.write_text("\n".join(lines), encoding="utf-8")


def hostile_project(folder: Path, payload: str) -> Path:
    """A project in which everything that people or programs name is the payload."""
    project = write_project(folder, name=payload, particles=80, states=2)
    for path in (folder / "particles.star", project / "vote" / "particles.star"):
        add_column(path, "".join(filter(str.isprintable, payload)), payload)
    for path in project.glob("*/job.json"):
        record = json.loads(path.read_text())
        record |= dict.fromkeys(("command", "version", "host", "started"), payload)
        record |= {"programs": {payload: payload}, "options": {"vote": {"assign": payload}}}
        path.write_text(json.dumps(record))
    path = project / "vote" / "report.json"
    report = json.loads(path.read_text())
    for entry in report["per_state"]:
        entry["name"] = payload
    report["log"] = [payload]
    path.write_text(json.dumps(report))
    (project / "vote" / "summary.txt").write_text(payload)
    for path in project.rglob("*.csv"):
        path.write_text(path.read_text() + f"{payload}\n")
    return project


def ran(opened: Opened) -> list[Any]:
    """What ran, was complained of or fetched, and elements that only markup can have made."""
    page = opened.page
    page.wait_for_timeout(200)
    made = page.locator("main img, main iframe, main script, [onerror], [onload], [onfocus]")
    links = page.locator("a[href^='javascript:']")
    return [*filter(None, [page.evaluate("document.documentElement.dataset.ran")]),
            *opened.faults, *["element"] * (made.count() + links.count())]  # fmt: skip


def test_hostile_names_run_nothing(browser: Any, tmp_path: Path) -> None:
    with row(
        "hostile page: markup in names, columns, paths, records and logs", 1, len(PAYLOADS)
    ) as figures:
        for number in figures.numbers():
            payload = PAYLOADS[number]
            named = payload.replace("/", " ").replace("\u2028", "").replace("\u2029", "")[:200]
            project = hostile_project(tmp_path / f"{number} {named}", payload)
            asked = Asked(project, allow_edits=True)
            try:
                with figures.trial(f"from disk and served, with a log, {payload}"):
                    look_from_disk(browser, project, payload)
                    look_served(browser, asked, payload)
            finally:
                asked.close()


def look_from_disk(browser: Any, project: Path, payload: str) -> None:
    opened = Opened(browser, write_report_page(project).as_uri())
    assert ran(opened) == []
    assert payload in opened.page.inner_text("#particles table")
    assert payload in opened.page.inner_text(".card >> nth=0")
    assert opened.fetched == []
    opened.page.close()


def look_served(browser: Any, asked: Asked, payload: str) -> None:
    """The line of a running command's log, in the page of a server."""
    asked.server.runner.job = Running(payload, Dead(), deque([payload]))
    opened = Opened(browser, f"{asked.home}/secret/")
    opened.page.wait_for_selector("#progress:not([hidden])")
    assert ran(opened) == []
    assert payload in opened.page.text_content("#progress-text")
    opened.page.close()
