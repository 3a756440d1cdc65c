"""Steps of a stage: which options and inputs each depends on, and which of them still stand.

A stage is a small graph: every step has options and inputs of its own, and follows other steps.
A step stands as long as nothing changed that it, or a step before it, depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from alphacryo4d.core.identity import (
    by_content,
    input_contents,
    is_resource,
    option_defaults,
    option_leaves,
)

_MISSING = object()


@dataclass(frozen=True)
class Step:
    """One step of a stage.

    Attributes
    ----------
    name : str
        Name in ``job.json``; may hold wildcards, as ``batch*/u*`` for all folds.
    options, inputs : tuple of str
        Patterns of the dotted names of options, and of the names of inputs, that it depends on;
        a pattern after ``!`` takes names out. The seed is an option, ``seed``.
    after : tuple of str
        Names of the steps whose results it takes.
    """

    name: str
    options: tuple[str, ...] = ("*",)
    inputs: tuple[str, ...] = ("*",)
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """A piece of work: what decides its results, and its steps.

    Attributes
    ----------
    stage : str
    options : mapping
        Everything that changes the result (dataclasses allowed).
    inputs : tuple of Path
        Files that the result depends on.
    seed : int or None
    steps : tuple of Step
        A step that is not named here depends on everything.
    remnants : tuple of str
        Patterns of unfinished work, checkpoints and scratch files, below the folder.
    """

    stage: str
    options: Mapping[str, Any]
    inputs: tuple[Path, ...] = ()
    seed: int | None = None
    steps: tuple[Step, ...] = ()
    remnants: tuple[str, ...] = ()


@dataclass
class Changes:
    """Options, seed and inputs that differ between a record and a piece of work, with words."""

    options: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    seed: str | None = None

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.options or self.inputs or self.seed)

    def all(self) -> list[str]:
        """All differences in words."""
        seed = [] if self.seed is None else [self.seed]
        return [*self.options.values(), *seed, *self.inputs.values()]

    def of(self, step: Step) -> list[str]:
        """Differences that one step depends on, in words."""
        differences = [text for name, text in self.options.items() if _matches(name, step.options)]
        if self.seed is not None and _matches("seed", step.options):
            differences.append(self.seed)
        return differences + [t for name, t in self.inputs.items() if _matches(name, step.inputs)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    listed = list(patterns)
    if any(fnmatchcase(name, pattern[1:]) for pattern in listed if pattern.startswith("!")):
        return False
    return any(fnmatchcase(name, pattern) for pattern in listed)


def shown(value: Any) -> str:
    """Value of an option as a user would write it."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(shown(item) for item in value)
    return str(value)


def changes_between(record: Mapping[str, Any], new: Mapping[str, Any], work: Work) -> Changes:
    """Compare a record with the one that a piece of work would write.

    An option that the record does not name (it is newer than the record) is the same where it has
    its default.
    """
    before = by_content(option_leaves(record.get("options", {})), record.get("inputs", []))
    after = by_content(option_leaves(new["options"]), new["inputs"])
    defaults, changes = option_defaults(work.options), Changes()
    for name in dict.fromkeys([*after, *before]):
        if is_resource(name):
            continue
        old = before.get(name, defaults.get(name, _MISSING))
        now = after.get(name, _MISSING)
        if old != now:
            words = ["not given" if value is _MISSING else shown(value) for value in (old, now)]
            changes.options[name] = f"{name.rsplit('.', 1)[-1]} {words[0]} -> {words[1]}"
    if record.get("seed") != new["seed"]:
        changes.seed = f"seed {record.get('seed')} -> {new['seed']}"
    contents = [input_contents(one.get("inputs", [])) for one in (record, new)]
    if list(contents[0].values()) != list(contents[1].values()):
        for name in dict.fromkeys([*contents[1], *contents[0]]):
            if name not in contents[0]:
                changes.inputs[name] = f"{name} is a new input"
            elif name not in contents[1]:
                changes.inputs[name] = f"{name} is no input any more"
            elif contents[0][name] != contents[1][name]:
                changes.inputs[name] = f"{name} changed"
        if not changes.inputs:
            changes.inputs["*"] = "the order of the inputs changed"
    return changes


def step_of(name: str, steps: Iterable[Step]) -> Step:
    """Declaration of a step by its name in a record; one that is not declared needs everything."""
    for step in steps:
        if fnmatchcase(name, step.name):
            return step
    return Step(name)


def reasons(step: Step, changes: Changes, steps: tuple[Step, ...]) -> list[str]:
    """Why a step must be done again: its own differences, and those of the steps before it."""
    causes = changes.of(step)
    if "*" in changes.inputs:
        causes.append(changes.inputs["*"])
    for name in step.after:
        causes += reasons(step_of(name, steps), changes, steps)
    return list(dict.fromkeys(causes))


def standing_steps(
    record: Mapping[str, Any], changes: Changes, work: Work, exists: Callable[[str], bool]
) -> dict[str, list[str]]:
    """Steps of a record that still stand, with their outputs, all of which must exist."""
    return {
        name: outputs
        for name, outputs in record.get("steps", {}).items()
        if not reasons(step_of(name, work.steps), changes, work.steps)
        and all(exists(output) for output in outputs)
    }
