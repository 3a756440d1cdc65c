"""Which RELION is installed, and what it can read."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from alphacryo4d.core.errors import MissingProgramError, ProgramError
from alphacryo4d.core.program import find_program, program_output

HINT = "install RELION 3.0 to 5 or load its module, so that it is on PATH"
NEWEST = 5


class Version(NamedTuple):
    """Version of RELION; compares as a tuple."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version:
    """Version from what ``relion_refine --version`` prints.

    Raises
    ------
    ProgramError
        No version is in the text.
    MissingProgramError
        It is older than 3.0.
    """
    match = re.search(r"version[:\s]+v?(\d+)\.(\d+)(?:\.(\d+))?", text, flags=re.IGNORECASE)
    if match is None:
        raise ProgramError(f"relion_refine --version: no version in {text.strip()[:200]!r}")
    version = Version(*(int(part or 0) for part in match.groups()))
    if version < (3, 0):
        raise MissingProgramError(f"RELION {version} is too old; 3.0 to {NEWEST} are supported")
    return version


@functools.cache
def installed_version() -> Version:
    """Version of the RELION on ``PATH``.

    Raises
    ------
    MissingProgramError
        There is none, or it is too old.
    """
    return parse_version(program_output([find_program("relion_refine", hint=HINT), "--version"]))
