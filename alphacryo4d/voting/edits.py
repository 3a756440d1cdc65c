"""Edits of states: merge, drop, rename, split, add a centre, take a subset of the volumes.

Numbers in edits are those of the states before the first edit, in whatever order edits come: what
was state 4 is still called 4 after 2 and 3 were merged. The result is numbered anew from 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.words import plural
from alphacryo4d.landscape.states import centers_of_groups

ACTIONS: dict[str, tuple[str, ...]] = {
    "merge": ("states",),
    "drop": ("state",),
    "rename": ("state", "name"),
    "split": ("state", "polygon"),
    "add_center": ("center", "radius"),
    "subset": ("volumes",),
}
"""Edits, and what each needs."""


@dataclass
class EditedStates:
    """States while they are edited.

    Attributes
    ----------
    points : (V, 2) array
        Embedding of the volumes.
    counts : (V,) array
        Particles per volume.
    names : (V,) sequence of str
        Names of the volumes.
    labels : (V,) int array
        State of every volume by its number before all edits, larger numbers for new states, 0 for
        none.
    now : dict
        Number before all edits: number of the state that it is part of, 0 where it was dropped.
    called : dict
        Names of states.
    """

    points: Array
    counts: Array
    names: Sequence[str]
    labels: Array
    now: dict[int, int]
    called: dict[int, str] = field(default_factory=dict)

    def state(self, number: Any) -> int:
        """Number of the state that a state of before is part of."""
        current = self.now.get(number) if _is_whole(number) else None
        if current is None:
            raise InputError(f"state {number}: there are 1 to {max(self.now, default=0)}")
        if current == 0:
            raise InputError(f"state {number}: was dropped by an edit before")
        return current

    def new_state(self, members: Array) -> int:
        """Make volumes a state of their own."""
        number = max(int(self.labels.max(initial=0)), max(self.now, default=0)) + 1
        self.labels = np.where(members, number, self.labels)
        return number

    def apply(self, edit: Mapping[str, Any]) -> None:
        """Do one edit (:func:`parse_edits`).

        Raises
        ------
        InputError
            It names what does not exist, or would change nothing.
        """
        getattr(self, f"_{edit['action']}")(edit)

    def _merge(self, edit: Mapping[str, Any]) -> None:
        parts = {self.state(number) for number in edit["states"]}
        if len(parts) < 2:
            raise InputError(f"merge {edit['states']}: two different states are needed")
        one = min(parts)
        self.labels = np.where(np.isin(self.labels, list(parts)), one, self.labels)
        self.now = {old: one if new in parts else new for old, new in self.now.items()}
        known = [self.called.pop(part) for part in sorted(parts) if part in self.called]
        if known:
            self.called[one] = known[0]

    def _drop(self, edit: Mapping[str, Any]) -> None:
        gone = self.state(edit["state"])
        self.labels = np.where(self.labels == gone, 0, self.labels)
        self.now = {old: 0 if new == gone else new for old, new in self.now.items()}
        self.called.pop(gone, None)

    def _rename(self, edit: Mapping[str, Any]) -> None:
        self.called[self.state(edit["state"])] = str(edit["name"])

    def _split(self, edit: Mapping[str, Any]) -> None:
        whole = self.labels == self.state(edit["state"])
        inside = whole & inside_polygon(self.points, edit["polygon"])
        if not inside.any() or inside.sum() == whole.sum():
            raise InputError(
                f"split {edit['state']}: {inside.sum()} of its {whole.sum()} volumes are inside "
                "the polygon; draw it around a part of them, in the embedding's coordinates"
            )
        self.new_state(inside)

    def _add_center(self, edit: Mapping[str, Any]) -> None:
        distance = np.linalg.norm(self.points - np.asarray(edit["center"], float), axis=1)
        own = np.full(len(self.points), np.inf)
        for number in np.unique(self.labels[self.labels > 0]):
            members = self.labels == number
            center = centers_of_groups(self.points, self.counts, np.where(members, 0, -1))[0]
            own[members] = np.linalg.norm(self.points[members] - center, axis=1)
        taken = (distance < float(edit["radius"])) & (distance < own)
        if not taken.any():
            raise InputError(
                f"add_center {edit['center']}: no volume within {edit['radius']} is nearer to it "
                "than to its own state's centre"
            )
        self.new_state(taken)

    def _subset(self, edit: Mapping[str, Any]) -> None:
        row_of = {name: row for row, name in enumerate(self.names)}
        kept = np.zeros(len(self.labels), bool)
        for volume in edit["volumes"]:
            row = row_of.get(volume) if isinstance(volume, str) else volume
            if not _is_whole(row) or not 0 <= row < len(kept):
                raise InputError(f"subset: no volume {volume}; give names of volumes.star or rows")
            kept[row] = True
        if not (self.labels[kept] > 0).any():
            raise InputError("subset: none of its volumes is in a state")
        self.labels = np.where(kept, self.labels, 0)

    def numbered(self) -> tuple[Array, list[int]]:
        """State of every volume from 1, anew, and the number before of every state."""
        present = [int(number) for number in np.unique(self.labels) if number > 0]
        if not present:
            raise InputError("the edits leave no state")
        lookup = np.zeros(max(present) + 1, np.int32)
        lookup[present] = np.arange(1, len(present) + 1)
        return lookup[self.labels], present


def inside_polygon(points: Array, corners: Any) -> Array:
    """Which points (n, 2) lie inside a polygon (m, 2), by crossings of its edges."""
    polygon = np.asarray(corners, np.float64)
    inside = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        crosses = (y1 > y) != (y2 > y)
        inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def parse_edits(text: str, source: str) -> tuple[str, list[dict[str, Any]]]:
    """Base and edits of an ``edits.json``.

    Parameters
    ----------
    text : str
        ``{"version": 1, "base": "vote", "edits": [{"action": "merge", "states": [3, 4]}, ...]}``;
        short forms such as ``{"merge": [3, 4]}`` are taken, too.
    source : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        No JSON, another version, an unknown action or a value that makes no sense.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not valid JSON ({error})") from error
    if not isinstance(data, dict) or not isinstance(data.get("edits"), list):
        raise InputError(f'{source}: {{"version": 1, "base": "vote", "edits": [...]}} is needed')
    if data.get("version", 1) != 1:
        raise InputError(f"{source}: version {data['version']}; this program knows version 1")
    base = data.get("base", "vote")
    if not isinstance(base, str) or "/" in base or base.startswith("."):
        raise InputError(f"{source}: base {base}: the name of a folder of the project is needed")
    edits = [_parsed(edit, f"{source}: edit {n}") for n, edit in enumerate(data["edits"], 1)]
    if not edits:
        raise InputError(f"{source}: holds no edits")
    return base, edits


def short_edits(merge: Sequence[str], drop: Sequence[str], name: Sequence[str]) -> list[Any]:
    """Edits by their short forms: ``3+4`` to merge, ``7`` to drop, ``2=open`` for a name.

    Merges come first, then what is dropped, then names; numbers are those before all edits.

    Raises
    ------
    UsageError
        One of them cannot be read.
    """
    edits: list[Any] = []
    for text in merge:
        parts = [part.strip() for part in text.split("+")]
        if len(parts) < 2 or not all(part.isdecimal() for part in parts):
            raise UsageError(f"--merge {text}: give numbers of states such as 3+4")
        edits.append({"action": "merge", "states": [int(part) for part in parts]})
    for text in drop:
        if not all(part.strip().isdecimal() for part in text.split(",")):
            raise UsageError(f"--drop {text}: give a number of a state such as 7, or 7,9")
        edits += [{"action": "drop", "state": int(part)} for part in text.split(",")]
    for text in name:
        number, sign, called = text.partition("=")
        if not sign or not number.strip().isdecimal() or not called.strip():
            raise UsageError(f"--name {text}: give a number and a name such as 2=open")
        edits.append({"action": "rename", "state": int(number), "name": called.strip()})
    return edits


def _parsed(edit: Any, where: str) -> dict[str, Any]:
    if not isinstance(edit, dict):
        raise InputError(f"{where}: not an object")
    long = edit if "action" in edit else _long_form(edit)
    action = long.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        raise InputError(f"{where}: {action} is none of {', '.join(ACTIONS)}")
    missing = [name for name in ACTIONS[action] if name not in long]
    if missing:
        raise InputError(f"{where}: {action} needs {', '.join(missing)}")
    if "polygon" in long and not _is_points(long["polygon"], 3):
        raise InputError(f"{where}: a polygon needs three corners [x, y] at least")
    if "center" in long and not _is_points([long["center"]], 1):
        raise InputError(f"{where}: a centre is [x, y]")
    radius = long.get("radius", 1.0)
    if not (_is_whole(radius) or isinstance(radius, float)) or not radius > 0:
        raise InputError(f"{where}: the radius must be positive")
    for name in ("states", "volumes"):
        if name in long and not isinstance(long[name], list):
            raise InputError(f"{where}: {name} must be a list")
    return {"action": action, **{name: long[name] for name in ACTIONS[action]}}


def _long_form(edit: dict[str, Any]) -> dict[str, Any]:
    """``{"merge": [3, 4]}`` and so on with the action by name."""
    if len(edit) != 1:
        return {"action": ", ".join(edit) or "nothing"}
    ((action, value),) = edit.items()
    if action == "rename" and isinstance(value, dict) and len(value) == 1:
        ((state, name),) = value.items()
        number = int(state) if str(state).isdecimal() else state
        return {"action": "rename", "state": number, "name": name}
    if action in ("add", "split", "add_center") and isinstance(value, dict):
        return {"action": "add_center" if action == "add" else action, **value}
    names = {"merge": "states", "drop": "state", "subset": "volumes"}
    return {"action": action, names[action]: value} if action in names else {"action": action}


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_points(value: Any, least: int) -> bool:
    try:
        points = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return False
    good = points.ndim == 2 and points.shape[1] == 2 and len(points) >= least
    return bool(good and np.isfinite(points).all())


def words_of(edit: Mapping[str, Any]) -> str:
    """One edit in words."""
    action = edit["action"]
    if action == "merge":
        return f"merge {' + '.join(str(state) for state in edit['states'])}"
    if action == "rename":
        return f"call {edit['state']} {edit['name']}"
    if action == "add_center":
        return f"add a centre at {edit['center'][0]} {edit['center'][1]}"
    if action == "subset":
        return f"keep {plural(len(edit['volumes']), 'volume')}"
    return f"{action} {edit['state']}"
