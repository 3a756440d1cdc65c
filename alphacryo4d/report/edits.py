"""Edits of states as the page sends them: checked whole before anything is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import write_text

MOST_EDITS, MOST_CORNERS, LONGEST_NAME = 1000, 10_000, 80


def save_edits(path: Path, sent: Any) -> Path:
    """Write ``edits.json`` of what was sent.

    Parameters
    ----------
    path : Path
    sent : object
        ``{"version": 1, "base": ..., "edits": [...]}``, see the documentation of the page.

    Raises
    ------
    InputError
        It is no list of edits; the message says which one and why.
    """
    if not isinstance(sent, dict) or sent.get("version") != 1:
        raise InputError("edits: an object with version 1 is needed")
    if set(sent) - {"version", "base", "edits"} or not _is_name(sent.get("base", "vote")):
        raise InputError("edits: only version, base and edits belong there")
    edits = sent.get("edits")
    if not isinstance(edits, list) or len(edits) > MOST_EDITS:
        raise InputError(f"edits: a list of at most {MOST_EDITS} edits is needed")
    for number, edit in enumerate(edits, 1):
        check_edit(edit, number)
    return write_text(path, json.dumps(sent, indent=1) + "\n")


def check_edit(edit: Any, number: int) -> None:
    """Refuse an edit that is not one of the known ones, with its number from 1."""
    action = edit.get("action") if isinstance(edit, dict) else None
    if not isinstance(action, str) or action not in _FIELDS:
        raise InputError(f"edit {number}: the action must be one of {', '.join(_FIELDS)}")
    fields = _FIELDS[action]
    if set(edit) != {"action", *fields}:
        raise InputError(f"edit {number}: {action} needs exactly {', '.join(fields)}")
    for name, good in fields.items():
        if not good(edit[name]):
            raise InputError(f"edit {number}: {name} of {action} is not valid")


def _is_state(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _are_states(value: Any) -> bool:
    good = isinstance(value, list) and 2 <= len(value) <= 1000 and all(map(_is_state, value))
    return bool(good and len(set(value)) == len(value))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_number(value: Any) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and math.isfinite(value)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_polygon(value: Any) -> bool:
    return (
        isinstance(value, list) and 3 <= len(value) <= MOST_CORNERS and all(map(_is_point, value))
    )


def _is_length(value: Any) -> bool:
    return _is_number(value) and value > 0


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 100_000 and all(map(_is_name, value))


_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "merge": {"states": _are_states},
    "drop": {"state": _is_state},
    "rename": {"state": _is_state, "name": _is_name},
    "split": {"state": _is_state, "polygon": _is_polygon},
    "add_center": {"center": _is_point, "radius": _is_length},
    "subset": {"volumes": _are_names},
}
