"""cryoSPARC particle files (``.cs``): in, out, subsets, passthrough files.

A ``.cs`` file is a structured ``.npy`` array, read without pickle. Conventions: ``blob/idx`` counts
from 0; ``alignments3D/pose`` is a rotation vector, the transpose of RELION's matrix;
``alignments3D/shift`` in pixels of ``alignments3D/psize_A`` with RELION's sign;
``ctf/df_angle_rad`` and ``ctf/phase_shift_rad`` in radians; images times ``blob/sign`` have
positive contrast.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import PARTICLES_CS, atomic_path, require_file
from alphacryo4d.io.cs_star import write_star_of_cs
from alphacryo4d.io.star import ParticleTable
from alphacryo4d.io.tables.choice import choose_particles
from alphacryo4d.io.tables.scan import scan

logger = logging.getLogger(__name__)

_UNREADABLE = (ArithmeticError, EOFError, MemoryError, OSError, RuntimeError, SyntaxError,
               TokenError, TypeError, ValueError)  # fmt: skip


def read_cs(path: Path) -> Array:
    """Read a ``.cs`` file as a memory map.

    Returns
    -------
    (P,) structured array
        With a field ``uid``.

    Raises
    ------
    InputError
        The file is missing, damaged, pickled, or no particle file.
    """
    path = Path(path)
    require_file(path)
    try:
        with warnings.catch_warnings():  # numpy grumbles over files of cryoSPARC on Python 2
            warnings.simplefilter("ignore", UserWarning)
            array = np.lib.format.open_memmap(path, mode="r", max_header_size=1 << 30)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable .cs file ({reason}); restore it") from error
    if not isinstance(array, np.ndarray) or array.dtype.names is None or array.ndim != 1:
        raise InputError(f"{path}: holds no particles (no table of named fields)")
    if "uid" not in array.dtype.names:
        raise InputError(f"{path}: has no field uid; give a particles .cs file of cryoSPARC")
    if not len(array):
        raise InputError(f"{path}: has no particles")
    uids, counts = np.unique(array["uid"], return_counts=True)
    if len(uids) < len(array):
        raise InputError(
            f"{path}: uid {uids[np.argmax(counts > 1)]} is there twice; write the file again with "
            "cryoSPARC's Remove Duplicates or Particle Sets tool"
        )
    return array


def write_cs(path: Path, array: Array) -> Path:
    """Write particles as ``.cs``, whole or not at all."""
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return Path(path)


def write_cs_rows(source: Path, out_path: Path, rows: Any) -> Path:
    """Write some particles of a ``.cs`` file with every field and ``uid`` as they are.

    Parameters
    ----------
    source, out_path : Path
    rows : (P,) bool or (n,) int
        Mask, or row numbers from 0.
    """
    return write_cs(out_path, read_cs(source)[np.asarray(rows)])


def write_cs_states(source: Path, folder: Path, states: Array) -> list[Path]:
    """Write ``particles.cs`` and ``class001.cs`` ... of an election.

    Parameters
    ----------
    source : Path
        The ``.cs`` input.
    folder : Path
        Output folder.
    states : (P,) int
        State of every particle from 1; 0 is voted out.

    Returns
    -------
    list of Path
        All particles with the state in ``alignments3D/class``, then the particles of every state
        with every field as it was.
    """
    particles = read_cs(source)
    everything = np.empty(
        len(particles), list(dict(_fields(particles) + [("alignments3D/class", "<u4")]).items())
    )
    for name in particles.dtype.names or ():
        everything[name] = particles[name]
    everything["alignments3D/class"] = states
    paths = [write_cs(folder / PARTICLES_CS, everything)]
    for state in range(1, int(states.max(initial=0)) + 1):
        members = states == state
        if members.any():
            paths.append(write_cs(folder / f"class{state:03d}.cs", particles[members]))
    return paths


def add_passthrough(path: Path, particles: Array, others: Sequence[Path]) -> Array:
    """Add the fields of passthrough files, row by row of the same ``uid``.

    Raises
    ------
    InputError
        A particle is missing in a passthrough file.
    """
    for other in others:
        more = read_cs(other)
        rows = match_uids(path, particles["uid"], other, more["uid"])
        names = [
            name for name in more.dtype.names or () if name not in (particles.dtype.names or ())
        ]
        particles = with_fields(particles, {name: more[name][rows] for name in names})
    return particles


def with_fields(particles: Array, more: Mapping[str, Array]) -> Array:
    """Particles (P,) with fields (P, ...) behind theirs."""
    added = [(name, column.dtype, column.shape[1:]) for name, column in more.items()]
    merged = np.empty(len(particles), [*_fields(particles), *added])
    for name in particles.dtype.names or ():
        merged[name] = particles[name]
    for name, column in more.items():
        merged[name] = column
    return merged


def _fields(array: Array) -> list[Any]:
    return [(name, array.dtype[name]) for name in array.dtype.names or ()]


def match_uids(path: Path, wanted: Array, other: Path, present: Array) -> Array:
    """Rows of ``present`` that hold the wanted ``uid`` values.

    Raises
    ------
    InputError
        One is not there.
    """
    order = np.argsort(present, kind="stable")
    places = np.minimum(np.searchsorted(present[order], wanted), len(order) - 1)
    rows = order[places]
    missing = present[rows] != wanted
    if missing.any():
        row = int(np.argmax(missing))
        raise InputError(
            f"{other}: lacks {int(missing.sum())} of the {len(wanted)} particles of {path}, first "
            f"uid {wanted[row]} (row {row + 1}); give the file of the same job"
        )
    return np.asarray(rows)


def open_cs_table(path: Path) -> ParticleTable:
    """Open a ``.cs`` file as a particle table, through a STAR file in the temporary folder.

    Returns
    -------
    ParticleTable
        Whose rows go out as rows of RELION 3.1; :func:`write_cs_rows` writes ``.cs`` subsets.
    """
    path = Path(path)
    particles = read_cs(path)
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="alphacryo4d-")
        stack.callback(folder.cleanup)
        data = write_star_of_cs(path, particles, Path(folder.name) / "particles.star", (path,))
        structure = scan(data)
        structure.require_sound()
        table = ParticleTable(path, structure, choose_particles(structure), data)
        weakref.finalize(table, stack.pop_all().close)
    return table
