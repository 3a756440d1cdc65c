"""A fault of an input: where it is, what it is, and the way out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from alphacryo4d.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault of an input file.

    Attributes
    ----------
    path : Path
        File.
    where : str
        Row, slice or column, or nothing where the whole file is meant.
    what : str
        What is wrong.
    way_out : str
        What the user can do.
    kind : str
        Short name of the kind of fault, such as ``short-row``.
    level : str
        ``fault``, which forbids the work, or ``warning``, which the user should know.
    """

    path: Path
    where: str
    what: str
    way_out: str
    kind: str = "fault"
    level: str = "fault"

    def __str__(self) -> str:
        place = f"{self.path}: {self.where}: " if self.where else f"{self.path}: "
        return f"{place}{self.what}; {self.way_out}"

    def error(self) -> InputError:
        """Return the same as an exception."""
        return InputError(str(self))
