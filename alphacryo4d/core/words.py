"""Words of what is told to people."""

from __future__ import annotations

import logging
from typing import Any

ONCE = {"once": True}
"""``extra`` of what a command says once, however often it comes about."""


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A number with its noun: ``1 state``, ``2,400 particles``, ``2 batches`` (given ``batches``).

    Parameters
    ----------
    count : int
    noun : str
        For one.
    nouns : str
        For any other number; the noun with an ``s`` by default.
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def option_words(options: Any) -> str:
    """Options of a stage in words: ``epochs 50, learning rate 0.01, early stop``.

    Options without a value, which the stage chooses itself, are left out.
    """
    from alphacryo4d.core.identity import option_leaves, plain

    words = []
    for name, value in option_leaves(plain(options)).items():
        what = name.rsplit(".", 1)[-1].replace("_", " ")
        if isinstance(value, bool):
            words.append(what if value else f"no {what}")
        elif value is not None:
            words.append(f"{what} {value:g}" if isinstance(value, float) else f"{what} {value}")
    return ", ".join(words)


class OnceFilter(logging.Filter):
    """Lets a line through once that was logged with ``extra=ONCE``."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be said."""
        if not getattr(record, "once", False):
            return True
        line = record.getMessage()
        new = line not in self._said
        self._said.add(line)
        return new
