"""States that left-out particles do not need are merged into their neighbours."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from alphacryo4d.voting.support import Support

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


def unsupported(support: Support) -> Array:
    """States to merge into their partners, the least needed first; partners stay."""
    leaving: list[int] = []
    for k in np.argsort(support.state_gain).tolist():
        if not support.supported[k] and int(support.partner[k]) not in leaving:
            leaving.append(k)
    return np.array(sorted(leaving), np.int64)


def merged_states(
    log: list[str], turn: int, support: Support, states: Array, kept: Array, leaving: Array
) -> tuple[Array, Array]:
    """States (P,) and their first numbers after merging some into their partners."""
    for k in leaving:
        say(
            log,
            f"round {turn}: state {kept[k]} is merged into state {kept[support.partner[k]]}: "
            f"left-out particles lose only {support.state_gain[k]:.5f} +- "
            f"{support.state_error[k]:.5f} nats each",
        )
    stay = np.setdiff1d(np.arange(len(kept)), leaving)
    target = np.arange(len(kept) + 1)
    target[leaving + 1] = support.partner[leaving] + 1
    return renumbered(target[states], stay + 1), kept[stay]


def renumbered(states: Array, kept: Array) -> Array:
    """States with the kept numbers counted from 1, all others voted out."""
    table = np.zeros(int(max(states.max(), kept.max())) + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[states]


def say(log: list[str], line: str) -> None:
    """Log a line and keep it for the report."""
    logger.info("%s", line)
    log.append(line)
