"""What is to be done in a folder: which steps stand, which are done again, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphacryo4d.core.contents import is_intact
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.steps import Changes, Work, changes_between, standing_steps

NEW, GO_ON, REDO, UNCHANGED = "new", "go on", "redo", "unchanged"


@dataclass(frozen=True)
class Plan:
    """What a piece of work means for its folder.

    Attributes
    ----------
    kind : str
        ``new``, ``go on`` (unfinished, nothing changed), ``redo`` (something changed) or
        ``unchanged`` (finished).
    standing : dict
        Steps that stand, with their outputs.
    redone : tuple of str
        Steps that were finished and are done again.
    why : tuple of str
        What differs, by option and input name, in words.
    """

    kind: str
    standing: dict[str, list[str]] = field(default_factory=dict)
    redone: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    def text(self) -> str:
        """One line for the user."""
        if self.kind == REDO:
            what = ", ".join(_shortened(list(self.redone))) or "the work"
            stands = ", ".join(_shortened(list(self.standing)))
            text = f"redoing {what} because {', '.join(_shortened(list(self.why)))}"
            return f"{text} ({stands} unchanged)" if stands else text
        if self.kind == GO_ON:
            return "going on with unfinished work, nothing else changed"
        return self.kind


def _shortened(words: list[str], most: int = 6) -> list[str]:
    return words if len(words) <= most else [*words[: most - 1], f"{len(words) - most + 1} more"]


def make_plan(
    folder: Path,
    work: Work,
    old: Mapping[str, Any] | None,
    new: Any,
    *,
    overwrite: bool = False,
) -> Plan:
    """Compare the record of a folder with the work that is wanted.

    Parameters
    ----------
    folder : Path
    work : Work
    old : mapping or None
        Record of the folder.
    new : mapping
        Record that the work would write.
    overwrite : bool
        All is done anew; the results of another stage stay untouched all the same.

    Raises
    ------
    UsageError
        The folder holds the results of another stage.
    """
    if old is None or not claimed(old):
        same = old is not None and old.get("stage") == work.stage
        return Plan(GO_ON if same and not changes_between(old or {}, new, work) else NEW)
    require_stage(folder, old, work.stage)
    if overwrite:
        return Plan(NEW)
    changes = changes_between(old, new, work)
    standing = standing_steps(old, changes, work, lambda name: is_intact(folder, old, name))
    steps = old.get("steps", {})
    if changes:
        redone = tuple(step for step in steps if step not in standing)
        return Plan(REDO, standing, redone, why(changes))
    whole = all(is_intact(folder, old, name) for name in old.get("outputs", []))
    if old.get("status") == "done" and whole:
        return Plan(UNCHANGED, standing)
    return Plan(GO_ON, standing)


def require_stage(folder: Path, record: Mapping[str, Any] | None, stage: str) -> None:
    """Refuse a folder that holds the results of another stage.

    Raises
    ------
    UsageError
    """
    if record is not None and claimed(record) and record.get("stage") != stage:
        raise UsageError(
            f"{folder}: holds the results of `{record.get('stage')}`, not of `{stage}`; take "
            "another --o"
        )


def claimed(record: Mapping[str, Any]) -> bool:
    """Whether work has got anywhere: a run that failed its checks holds no folder."""
    return bool(record.get("status") == "done" or record.get("steps") or record.get("outputs"))


def why(changes: Changes) -> tuple[str, ...]:
    """Differences in words, options first; the inputs only where no option differs."""
    options = [*changes.options.values(), *([changes.seed] if changes.seed else [])]
    return tuple(options or changes.inputs.values())
