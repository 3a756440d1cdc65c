"""Pictures of the documents, from the demo: ``python scripts/pictures.py demo``.

The landscape is the demo's own figure; the page is opened in Chromium (playwright), as a reader
sees it in light colours, with four states and without what is explained in words.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SHORTER = """() => {
  for (const one of document.querySelectorAll(
    '#summary > :not(.signs), #states > p, #landscape > p, ' +
    'main > section:not(#summary, #states, #landscape)'
  )) one.style.display = 'none';
  const cards = document.querySelector('#states .cards');
  [...cards.children].slice(4).forEach(one => one.style.display = 'none');
  let after = cards;
  while ((after = after.nextElementSibling)) after.style.display = 'none';
}"""


def picture_of_page(page_file: Path, target: Path) -> None:
    """The answer, signs, four states and the landscape of a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1500}, color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        page.wait_for_selector("body[data-ready=yes]", timeout=120_000)
        page.evaluate(SHORTER)
        page.wait_for_timeout(2000)
        page.screenshot(path=target)
        browser.close()


def main(demo: str) -> None:
    """Make all pictures."""
    project = Path(demo) / "project"
    shutil.copy(project / "landscape" / "landscape.png", DOCS / "landscape.png")
    picture_of_page(project / "report.html", DOCS / "pictures" / "report.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
