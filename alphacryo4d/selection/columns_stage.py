"""What is known of the particles of a project, column by column, read when it is asked for."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.contents import require_intact
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.reading import read_numbers
from alphacryo4d.io.star import MICROGRAPH_COLUMN, ParticleTable
from alphacryo4d.io.tables.small import is_text_column
from alphacryo4d.particles.open import open_table
from alphacryo4d.selection.expression import Columns, Texts
from alphacryo4d.selection.sets_stage import state_names, volume_states_file, word
from alphacryo4d.voting.edits import inside_polygon
from alphacryo4d.voting.inputs_stage import read_assignments
from alphacryo4d.voting.votes import blocks

OF_VOTES = {
    "state": "rlnClassNumber",
    "votes": "ac4dVotes",
    "confidence": "ac4dConfidence",
    "entropy": "ac4dEntropy",
}
OF_TABLE = {
    "micrograph": MICROGRAPH_COLUMN,
    "half": "rlnRandomSubset",
    "optics": "rlnOpticsGroup",
    "posterior": "rlnMaxValueProbDistribution",
}
OF_PROJECT = ("heldout", "energy", "x", "y", "batch", "group")


def _corners(path: Path) -> Array:
    """Corners (n, 2) of a polygon in a JSON file: a list, or an object with ``corners``."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return np.asarray(data["corners"] if isinstance(data, dict) else data, np.float64)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no list of corners ({error!r})") from error


class ProjectColumns:
    """Columns of the particles of a project, or of a particle table alone.

    Parameters
    ----------
    table : ParticleTable
        The input of the project; its rows are chosen.
    project : Path, optional
        Project folder.
    selection : str
        Folder of the project with the states.
    """

    def __init__(self, table: ParticleTable, project: Path | None, selection: str) -> None:
        self.table, self.project = table, project
        self.votes = None if project is None else project / selection
        self.used: list[Path] = []
        self._voted: ParticleTable | None = None

    @property
    def of_states(self) -> bool:
        """Whether the criterion asked for something of the states."""
        return self._voted is not None

    def names(self) -> list[str]:
        """All columns that can be asked for."""
        own = [] if self.project is None else [*OF_VOTES, *OF_PROJECT, "posterior"]
        known = {**OF_TABLE, "defocus": "rlnDefocusU"}
        own += [name for name, column in known.items() if column in self.table.columns]
        return [*dict.fromkeys(own), "row", *self.table.columns]

    def columns(self) -> Columns:
        """Columns for :func:`alphacryo4d.selection.expression.choose`."""
        return Columns(self.column, self.rows_of_file, self.inside_of_file, self.number_of)

    def column(self, name: str) -> Array | Texts:
        """One column.

        Raises
        ------
        UsageError
            There is none of that name, or not in this table; the nearest name is given.
        """
        if name == "row":
            return np.arange(self.table.rows)
        if name == "defocus" and "rlnDefocusU" in self.table.columns:
            numbers, _ = self.table.read_parts(["rlnDefocusU", "rlnDefocusV"])
            return np.asarray(numbers["rlnDefocusU"] + numbers["rlnDefocusV"]) / 2
        if self.project is not None and name in OF_VOTES:
            return self._of_table(self._particles(), OF_VOTES[name])
        if self.project is not None and name in OF_PROJECT:
            return self._of_project(name)
        own = OF_TABLE.get(name, name)
        if name == "posterior" and self.project is not None:
            return self._posterior()
        if own in self.table.columns:
            return self._of_table(self.table, own)
        if name in OF_TABLE or name == "defocus":
            raise UsageError(
                f"--where: no column {name}: it is {OF_TABLE.get(name, 'rlnDefocusU')} of "
                f"{self.table.path}, which lacks it; there are {', '.join(self.names())}"
            )
        near = difflib.get_close_matches(name, self.names(), 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self.names())}"
        raise UsageError(f"--where: no column {name}{hint}")

    def _of_table(self, table: ParticleTable, name: str) -> Array | Texts:
        if is_text_column(name):
            _, texts = table.read_parts([], [name])
            return Texts(*texts[name])
        numbers, _ = table.read_parts([name])
        return numbers[name]

    def _particles(self) -> ParticleTable:
        if self._voted is None:
            assert self.votes is not None
            path = self.votes / files.PARTICLES_STAR
            if not path.is_file():
                raise InputError(f"{path}: no such file; --selection names a folder of states")
            self._voted = open_table(path)
            self._same_length(path, self._voted.rows)
            self.used.append(path)
        return self._voted

    def _same_length(self, path: Path, rows: int) -> None:
        if rows != self.table.rows:
            raise InputError(
                f"{path}: {rows} particles, but {self.table.path} has {self.table.rows}"
            )

    def _file(self, *parts: str) -> Path:
        assert self.project is not None
        return self._known(self.project.joinpath(*parts))

    def _known(self, path: Path) -> Path:
        if not path.is_file():
            raise InputError(f"{path}: no such file; this criterion needs it")
        require_intact([path])
        self.used.append(path)
        return path

    def _of_project(self, name: str) -> Array:
        if name in ("batch", "group"):
            groups = files.load_array(self._file(files.RESAMPLE, files.GROUPS_NPY), ndim=2)
            return np.asarray(groups[:, 0 if name == "batch" else 1])
        if name == "heldout":
            return self._heldout()
        if name == "energy":
            path = self._file(files.LANDSCAPE, files.ENERGY_NPY)
            return self._mean(files.load_array(path, ndim=1))
        points = files.load_array(self._file(files.LANDSCAPE, files.EMBEDDING_NPY), ndim=2)
        return self._mean(points[:, 0 if name == "x" else 1])

    def _mean(self, values: Array) -> Array:
        """Mean over the volumes that hold a particle; NaN for one whose classes were dropped."""
        path = self._file(files.RESAMPLE, files.ASSIGNMENTS_NPY)
        assignments = read_assignments(path.parent)
        self._same_length(path, len(assignments))
        lookup = np.append(np.asarray(values, np.float64), [0.0, 0.0])
        result = np.empty(len(assignments))
        for part in blocks(len(assignments)):
            block = np.asarray(assignments[part])
            count = (block >= 0).sum(1)
            total = lookup[block].sum(1)
            result[part] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return result

    def _heldout(self) -> Array:
        """Whether the fold that has not seen a particle puts it into its state."""
        assert self.votes is not None
        own = self.votes / files.HELDOUT_NPY
        states = self.column("state")
        assert isinstance(states, np.ndarray)
        if own.is_file():  # of a reclassification: its volumes are its states, fold by fold
            require_intact([own, self.votes / files.VOTES_NPY])
            heldout = files.load_array(own, ndim=1)
            count = int(files.load_array(self.votes / files.VOTES_NPY, memory_map=True).shape[1])
            self.used.append(own)
            return np.asarray((heldout % count + 1 == states) & (states > 0) & (heldout >= 0))
        heldout = files.load_array(self._file(files.RESAMPLE, files.HELDOUT_NPY), ndim=1)
        of_volumes = files.load_array(self._known(volume_states_file(self.votes)), ndim=1)
        seen = np.append(of_volumes, [0, 0])[heldout]
        return np.asarray((seen == states) & (states > 0))

    def _posterior(self) -> Array:
        """Largest posterior of a particle, mean over the folds that hold it."""
        assert self.project is not None
        resample = self.project / files.RESAMPLE
        groups = files.load_array(self._file(files.RESAMPLE, files.GROUPS_NPY), ndim=2)
        folds, name = int(groups[:, 1].max()), OF_TABLE["posterior"]
        total = np.zeros(len(groups))
        for batch in range(1, int(groups[:, 0].max()) + 1):
            for left_out in range(1, folds + 1):
                folder = files.fold_folder(resample, batch, left_out, folds)
                tables = sorted(folder.glob("run_it*_data.star"))
                if not tables:
                    raise InputError(f"{folder}: no run_it..._data.star; posterior needs it")
                numbers, _ = open_table(tables[-1]).read_parts([name])
                rows = (groups[:, 0] == batch) & (groups[:, 1] != left_out)
                total[rows] += numbers[name]
        return total / (folds - 1)

    def rows_of_file(self, name: str) -> Array:
        """Rows from 0 that a ``.npy`` or text file lists, or a list such as 3,5,7."""
        path = Path(name)
        if not path.is_file():
            raise InputError(f"{path}: no such file; rows FILE names a .npy or text file of rows")
        if path.suffix == ".npy":
            rows = files.load_array(path, dtype=np.integer, ndim=1)
        else:
            rows = read_numbers(path, dtype=np.int64, ndmin=1)
        wrong = np.flatnonzero((rows < 0) | (rows >= self.table.rows))
        if wrong.size:
            raise InputError(
                f"{path}: entry {wrong[0] + 1} is row {rows[wrong[0]]}; the table has rows 0 to "
                f"{self.table.rows - 1}"
            )
        self.used.append(path)
        chosen = np.zeros(self.table.rows, bool)
        chosen[rows] = True
        return chosen

    def inside_of_file(self, name: str) -> Array:
        """Particles whose mean place in the embedding is inside a polygon."""
        path = Path(name)
        if not path.is_file():
            raise InputError(f"{path}: no such file; inside FILE names the corners of a polygon")
        if path.suffix == ".json":
            corners = _corners(path)
        elif path.suffix == ".npy":
            corners = files.load_array(path, ndim=2)
        else:
            corners = read_numbers(path, ndmin=2)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
            raise InputError(f"{path}: three corners x y at least are needed")
        if self.project is None:
            raise UsageError("--where: inside needs a project with a landscape")
        self.used.append(path)
        return inside_polygon(
            np.column_stack([self._of_project("x"), self._of_project("y")]), corners
        )

    def number_of(self, name: str, text: str) -> float | None:
        """State of a name; none of its own for another column."""
        if name != "state" or self.votes is None:
            return None
        called = {word(one): number for number, one in state_names(self.votes).items()}
        return float(called[word(text)]) if word(text) in called else None
