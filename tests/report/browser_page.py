"""A page in a browser, with what it complained of and what it asked for."""

from typing import Any

import numpy as np
from waiting import wait_until


class Opened:
    """A page of a report that is ready, and all that it said and fetched."""

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        how.setdefault("viewport", {"width": 1280, "height": 900})
        self.page = browser.new_page(**how)
        self.page.set_default_timeout(60_000)
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready=yes]")

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    @property
    def fetched(self) -> list[str]:
        """Addresses outside the page itself."""
        inside = ("file:", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(inside)]


def settled(page: Any, selector: str) -> np.ndarray:
    """Pixels of an element once two looks at it are the same."""
    seen = [pixels(page, selector)]

    def same() -> bool:
        seen.append(pixels(page, selector))
        return bool(np.array_equal(seen[-1], seen[-2]))

    wait_until(same, 3)
    return seen[-1]


def pixels(page: Any, selector: str) -> np.ndarray:
    """Pixels (h, w, 3) of an element, as they are on the screen."""
    import io

    from matplotlib.image import imread

    element = page.locator(selector)
    element.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    return imread(io.BytesIO(element.screenshot()))[..., :3]
