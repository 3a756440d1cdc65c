"""A finished project folder, as arrays and tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import read_job
from alphacryo4d.core.reading import read_object

if TYPE_CHECKING:
    from alphacryo4d.particles.particle_set import ParticleSet


def _array(path: Path, made_by: str) -> Array:
    """Array of a file, memory-mapped."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; `alphacryo4d {made_by}` writes it")
    return files.load_array(path, memory_map=True)


def _table(path: Path, name: str, made_by: str) -> dict[str, Array]:
    """Columns of a small table by name."""
    from alphacryo4d.io.tables.small import read_tables

    if not path.is_file():
        raise InputError(f"{path}: no such file; `alphacryo4d {made_by}` writes it")
    table = read_tables(path).get(name)
    if table is None:
        raise InputError(f"{path}: no table `{name}`; run `alphacryo4d {made_by}` again")
    return {column: table[column].to_numpy() for column in table}


@dataclass(frozen=True)
class Landscape:
    """The pseudo-energy landscape of the volumes.

    Attributes
    ----------
    embedding : (V, 2) float array
        RC1, RC2 of every volume, in the order of ``volumes.star``.
    energy, energy_error : (V,) float arrays
        Energy in kT (eq. 6 of the paper) and its standard error.
    centers : (K, 2) float array
        Centres of the states.
    path : (images, 2) float array or None
        Minimum-energy path, where one was made.
    """

    embedding: Array
    energy: Array
    energy_error: Array
    centers: Array
    path: Array | None


class StateSet:
    """Particles of every state, by votes (``vote/``) or reclassification (``reclassify/``).

    Parameters
    ----------
    folder : Path
        Folder with ``particles.star``, ``votes.npy``, ``report.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @cached_property
    def states(self) -> Array:
        """State of every particle, (P,) int32: from 1, 0 for voted out; rows of the input."""
        from alphacryo4d.particles.open import open_table

        path = self.folder / files.PARTICLES_STAR
        if not path.is_file():
            raise InputError(f"{path}: no such file; `alphacryo4d vote` writes it")
        states: Array = open_table(path).read(["rlnClassNumber"])["rlnClassNumber"]
        return states.astype(np.int32)

    @cached_property
    def votes(self) -> Array:
        """Votes of every particle for every state, (P, K) uint8, memory-mapped."""
        return _array(self.folder / files.VOTES_NPY, "vote")

    @cached_property
    def report(self) -> dict[str, Any]:
        """Figures of ``report.json``: particles, agreement, held-out test, by state."""
        path = self.folder / "report.json"
        if not path.is_file():
            raise InputError(f"{path}: no such file; `alphacryo4d vote` writes it")
        return read_object(path)

    def volume(self, state: int) -> tuple[Array, float]:
        """Reconstruction (n, n, n) float32 of a state (from 1), and its voxel size (A)."""
        from alphacryo4d.io.mrc import read_volume

        return read_volume(self.folder / f"class{state:03d}.mrc")

    def table(self, state: int) -> Path:
        """Particle table of a state (from 1), ready for RELION."""
        return self.folder / f"class{state:03d}.star"


class Project:
    """The folder that ``alphacryo4d run`` wrote.

    Nothing is read before it is asked for; large arrays are memory-mapped.

    Parameters
    ----------
    folder : Path or str
        Project folder, with ``resample/``, ``landscape/``, ``vote/``.

    Raises
    ------
    InputError
        The folder holds no project; later, where a stage has not been run.

    Examples
    --------
    >>> import alphacryo4d
    >>> alphacryo4d.Project("no/such/folder")
    Traceback (most recent call last):
    alphacryo4d.core.errors.InputError: no/such/folder: no project; give the folder of `alphacryo4d run --o`
    """  # noqa: E501

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / files.RESAMPLE).is_dir():
            raise InputError(f"{self.folder}: no project; give the folder of `alphacryo4d run --o`")

    def __repr__(self) -> str:
        return f"Project({str(self.folder)!r})"

    @cached_property
    def particles(self) -> ParticleSet:
        """The particles that the project was made from (P of them, rows of the input)."""
        from alphacryo4d.voting.output_stage import input_particles

        return input_particles(self.folder / files.RESAMPLE)

    @cached_property
    def volumes(self) -> Array:
        """Volumes of all folds, (V, n, n, n) float32, memory-mapped."""
        return _array(self.folder / files.RESAMPLE / files.VOLUMES_NPY, "resample")

    @cached_property
    def volume_table(self) -> dict[str, Array]:
        """Columns of ``volumes.star`` by name, each (V,)."""
        return _table(self.folder / files.RESAMPLE / files.VOLUMES_STAR, "volumes", "resample")

    @cached_property
    def assignments(self) -> Array:
        """Volume of every particle in every fold, (P, M+1) int32; -1 left out, -2 dropped."""
        return _array(self.folder / files.RESAMPLE / files.ASSIGNMENTS_NPY, "resample")

    @cached_property
    def heldout(self) -> Array:
        """Volume that a particle fits best in the fold that has not seen it, (P,) int32."""
        return _array(self.folder / files.RESAMPLE / files.HELDOUT_NPY, "resample")

    @cached_property
    def landscape(self) -> Landscape:
        """Embedding, energies and path."""
        folder = self.folder / files.LANDSCAPE
        path = folder / files.PATH_NPY
        return Landscape(
            _array(folder / files.EMBEDDING_NPY, "landscape"),
            _array(folder / files.ENERGY_NPY, "landscape"),
            _array(folder / files.ENERGY_ERROR_NPY, "landscape"),
            _array(folder / files.CENTERS_NPY, "landscape"),
            _array(path, "landscape") if path.is_file() else None,
        )

    @cached_property
    def states(self) -> dict[str, Array]:
        """Columns of ``states.star`` by name, each (K,): centre, radius, energy, its error."""
        return _table(self.folder / files.LANDSCAPE / files.STATES_STAR, "states", "landscape")

    @cached_property
    def votes(self) -> StateSet:
        """Particles of the states by their votes."""
        return self._state_set(files.VOTE, "vote")

    @cached_property
    def reclassified(self) -> StateSet:
        """Particles of the states after reclassification."""
        return self._state_set(files.RECLASSIFY, "vote reclassify")

    @property
    def report(self) -> dict[str, Any]:
        """Figures of the reclassification where there is one, else of the votes."""
        there = (self.folder / files.RECLASSIFY / "report.json").is_file()
        return (self.reclassified if there else self.votes).report

    def _state_set(self, name: str, command: str) -> StateSet:
        folder = self.folder / name
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; `alphacryo4d {command}` writes it")
        reason = (read_job(folder) or {}).get("results", {}).get(files.NO_RESULT)
        if reason is not None:
            raise InputError(f"{folder}: no result: {reason}")
        return StateSet(folder)
