"""Words of what is told to people."""

from __future__ import annotations


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
