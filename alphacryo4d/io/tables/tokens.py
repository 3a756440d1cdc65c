"""Words of a line of a STAR file."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""'((?:[^']|'(?=[^ \t\r\n]))*)'(?=[ \t\r\n]|$)"""
    r"""|"((?:[^"]|"(?=[^ \t\r\n]))*)"(?=[ \t\r\n]|$)"""
    r"""|([^ \t\r\n]+)"""
)


def split_row(text: str) -> list[str]:
    """Tokens of one line; quotes are taken off, a comment ends it."""
    tokens = []
    for match in _TOKEN.finditer(text):
        single, double, plain = match.groups()
        if plain is not None and plain.startswith("#"):
            break
        tokens.append(plain if plain is not None else single if single is not None else double)
    return tokens
