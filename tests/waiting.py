"""Waiting for other processes: a safety net of many times the usual, never a verdict."""

import time
from collections.abc import Callable

import pytest

NET = 20


def net(usual_seconds: float) -> float:
    """Seconds after which a wait is given up, from what it usually takes on two cores."""
    return NET * usual_seconds


def wait_until(
    condition: Callable[[], object],
    usual_seconds: float,
    *,
    pause: float = 0.01,
    said: Callable[[], object] = str,
) -> None:
    """Look again and again until the condition holds; fail with what ``said`` gives."""
    end = time.monotonic() + net(usual_seconds)
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"nothing happened within {net(usual_seconds):.0f} s; {said()}")
        time.sleep(pause)
