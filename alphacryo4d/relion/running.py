"""Runs of RELION's programs: started once, continued where they stopped, judged by their files."""

from __future__ import annotations

import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, ProgramError
from alphacryo4d.core.files import write_text
from alphacryo4d.core.program import find_program
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.relion.commands import (
    Classification,
    class3d_command,
    continue_command,
    reconstruct_command,
)
from alphacryo4d.relion.launching import run_relion
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.relion.outputs import RunResult, iteration_root, last_optimiser, read_run
from alphacryo4d.relion.preflight import name_from
from alphacryo4d.relion.version import HINT, Version

logger = logging.getLogger(__name__)

LOG, RECORD = "run.log", "run.json"
_STARTED, _DONE = "started", "done"


@dataclass(frozen=True)
class Runner:
    """How RELION is run: options, version, ranks, and the folder that image paths start from."""

    options: RelionOptions
    version: Version
    ranks: int
    root: Path
    watch: Callable[[], None] | None = None

    def start(self, command: Sequence[str], *, log: Path) -> None:
        """Run one command from the folder that image paths start from."""
        for name in programs_of(command):
            find_program(name, hint=HINT if name.startswith("relion") else "")
        run_relion(command, log=log.absolute(), folder=self.root, watch=self.watch)

    def named(self, path: Path) -> Path:
        """A path as RELION gets it."""
        return name_from(self.root, path)

    def reconstruct(self, table: Path, output: Path, *, subset: int | None = None) -> Path:
        """``relion_reconstruct`` of a table; a map that is there is kept."""
        if _finite_map(output):
            return output
        partial = output.with_name(f"{output.stem}_partial.mrc")
        command = reconstruct_command(
            self.named(table),
            self.named(partial),
            symmetry=self.options.symmetry,
            ranks=self.ranks,
            launcher=self.options.mpi_launcher,
            subset=subset,
        )
        self.start(command, log=output.parent / LOG)
        _require_finite(partial)
        partial.replace(output)
        return output

    def classify(self, run: Classification, *, rows: Array) -> RunResult:
        """One classification: kept where it is complete, continued where it stopped.

        Parameters
        ----------
        run : Classification
            Paths as seen from this process.
        rows : (n,) int array
            Rows of the whole table, from 0, that its table holds.
        """
        folder, record = run.root.parent, run.root.parent / RECORD
        named = Classification(
            **{
                **vars(run),
                "table": self.named(run.table),
                "root": self.named(run.root),
                "reference": self.named(run.reference),
                "mask": None if run.mask is None else self.named(run.mask),
            }
        )
        command = class3d_command(named, self.options, version=self.version)
        state = _read_state(record)
        if state == (_DONE, command):
            return self._result(run, rows)
        optimiser = last_optimiser(run.root) if state == (_STARTED, command) else None
        if optimiser is None:
            remove_run(run.root)
            _write_state(record, _STARTED, command)
            self.start(command, log=folder / LOG)
        elif optimiser.name != f"{iteration_root(run.root, run.iterations).name}_optimiser.star":
            logger.info("going on after %s", optimiser)
            again = continue_command(named, self.options, self.named(optimiser))
            self.start(again, log=folder / LOG)
        result = self._result(run, rows)
        _write_state(record, _DONE, command)
        _remove_iterations(run.root, keep=run.iterations)
        return result

    def _result(self, run: Classification, rows: Array) -> RunResult:
        return read_run(run.root, iteration=run.iterations, classes=run.classes, rows=rows)


def programs_of(command: Sequence[str]) -> list[str]:
    """Programs that a command starts: its first word, and RELION's behind what starts MPI."""
    if command[0].startswith("relion_"):
        return [command[0]]
    behind = (word for word in command[1:] if re.fullmatch(r"relion_\w+_mpi", word))
    return [command[0], *itertools.islice(behind, 1)]


def _finite_map(path: Path) -> bool:
    try:
        read_volume(path)
    except InputError:
        return False
    return True


def _require_finite(path: Path) -> None:
    try:
        read_volume(path)
    except InputError as error:
        raise ProgramError(
            f"RELION ended with exit code 0, but its output is no use: {error}"
        ) from error


def _read_state(record: Path) -> tuple[str, list[str]] | None:
    if not record.is_file():
        return None
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return str(content["state"]), [str(word) for word in content["command"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def _write_state(record: Path, state: str, command: Sequence[str]) -> None:
    write_text(record, json.dumps({"state": state, "command": list(command)}, indent=1) + "\n")


def remove_run(root: Path) -> None:
    """Remove what an older run left, so that its files are not taken for those of this one.

    The runs that split its classes go with it; the record first, so that what an interrupt leaves
    is removed again.
    """
    (root.parent / RECORD).unlink(missing_ok=True)
    for path in root.parent.glob("class[0-9]*"):
        shutil.rmtree(path)
    for path in root.parent.glob(f"{root.name}_*"):
        if path.is_file():
            path.unlink()
    (root.parent / ".relion_lock").unlink(missing_ok=True)


def _remove_iterations(root: Path, *, keep: int) -> None:
    """Remove the iterations before the last: 25 of them fill a disk with maps."""
    kept = iteration_root(root, keep).name
    for path in root.parent.glob(f"{root.name}_it[0-9][0-9][0-9]_*"):
        if not path.name.startswith(kept):
            path.unlink()
