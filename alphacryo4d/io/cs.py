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
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import PARTICLES_CS, atomic_path
from alphacryo4d.io.star import SIGN_COLUMN, UID_COLUMN, ParticleTable, choose_particles
from alphacryo4d.io.tables.scan import scan
from alphacryo4d.io.tables.small import quote
from alphacryo4d.maths.rotations import cryosparc_angles

Array = np.ndarray[Any, Any]

logger = logging.getLogger(__name__)

_NEEDED = ("uid", "blob/path", "blob/idx", "blob/psize_A", "blob/shape")
_CTF = ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad", "phase_shift_rad")
_ABERRATIONS = ("ctf/tilt_A", "ctf/trefoil_A", "ctf/tetra_A", "ctf/shift_A", "ctf/anisomag")
_UNREADABLE = (ArithmeticError, EOFError, MemoryError, OSError, RuntimeError, SyntaxError,
               TokenError, TypeError, ValueError)  # fmt: skip
_ROWS_AT_ONCE = 100_000


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
    if not path.is_file():
        raise InputError(f"{path}: no such file")
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
        merged = np.empty(
            len(particles),
            [*_fields(particles), *(field for field in _fields(more) if field[0] in names)],
        )
        for name in particles.dtype.names or ():
            merged[name] = particles[name]
        for name in names:
            merged[name] = more[name][rows]
        particles = merged
    return particles


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


def _require(path: Path, particles: Array, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in (particles.dtype.names or ())]
    if missing:
        raise InputError(
            f"{path}: no field {', '.join(missing)}; add the job's passthrough file with: "
            f"alphacryo4d convert --i {path.name} --passthrough FILE --o merged.cs"
        )


def _refuse_aberrations(path: Path, particles: Array) -> None:
    for name in _ABERRATIONS:
        if name in (particles.dtype.names or ()):
            bad = np.abs(particles[name]).max(axis=1) > 1e-6
            if bad.any():
                row = int(np.argmax(bad))
                raise InputError(
                    f"{path}: row {row + 1}: {name} is {particles[name][row].tolist()}; such "
                    "aberrations are not modelled and will not be ignored silently: where their "
                    "effect at the resolution limit can be neglected reset them in cryoSPARC"
                )


def _optics_groups(particles: Array) -> tuple[Array, Array]:
    """Group of every particle, and the first particle of every group."""
    index = np.zeros(len(particles), np.int64)
    for column in (
        *(
            particles[f"ctf/{name}"]
            for name in ("exp_group_id", "accel_kv", "cs_mm", "amp_contrast")
            if f"ctf/{name}" in (particles.dtype.names or ())
        ),
        particles["blob/psize_A"],
        particles["blob/shape"][:, 0],
    ):
        _, codes = np.unique(column, return_inverse=True)
        _, index = np.unique(index * (int(codes.max()) + 1) + codes, return_inverse=True)
    _, firsts = np.unique(index, return_index=True)
    return index, firsts


def write_star_of_cs(path: Path, particles: Array, out_path: Path) -> Path:
    """Write cryoSPARC particles as a STAR table of RELION 3.1.

    Parameters
    ----------
    path : Path
        File that the particles come from, for messages.
    particles : (P,) structured array
        Particles with ``blob`` and ``ctf``; poses where ``alignments3D`` is there.
    out_path : Path
        STAR file. ``ac4dUid`` keeps the ``uid``, ``ac4dImageSign`` the ``blob/sign``.
    """
    _require(path, particles, [*_NEEDED, *(f"ctf/{name}" for name in _CTF)])
    _refuse_aberrations(path, particles)
    shapes = particles["blob/shape"]
    if (shapes[:, 0] != shapes[:, 1]).any():
        row = int(np.argmax(shapes[:, 0] != shapes[:, 1]))
        raise InputError(f"{path}: row {row + 1}: images of {shapes[row].tolist()} are not square")
    index, firsts = _optics_groups(particles)
    with atomic_path(Path(out_path)) as temporary, temporary.open("wb") as out:
        out.write(_optics_text(particles, firsts).encode())
        names: list[str] | None = None
        for first in range(0, len(particles), _ROWS_AT_ONCE):
            part = particles[first : first + _ROWS_AT_ONCE]
            columns = _star_columns(path, part, index[first : first + _ROWS_AT_ONCE])
            if names is None:
                names = list(columns)
                labels = "".join(f"_{name} #{i}\n" for i, name in enumerate(names, 1))
                out.write(f"\n# version 30001\n\ndata_particles\n\nloop_\n{labels}".encode())
            rows = zip(*columns.values(), strict=True)
            out.write(
                "".join(" ".join(row) + "\n" for row in rows).encode("utf-8", "surrogateescape")
            )
        out.write(b"\n")
    return Path(out_path)


def _optics_text(particles: Array, firsts: Array) -> str:
    names = (
        "rlnOpticsGroup", "rlnOpticsGroupName", "rlnAmplitudeContrast", "rlnSphericalAberration",
        "rlnVoltage", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality",
    )  # fmt: skip
    lines = ["", "# version 30001", "", "data_optics", "", "loop_"]
    lines += [f"_{name} #{i}" for i, name in enumerate(names, 1)]
    for number, row in enumerate(firsts.tolist(), 1):
        p = particles[row]
        lines.append(
            f"{number} opticsGroup{number} {p['ctf/amp_contrast']:.6g} {p['ctf/cs_mm']:.6g} "
            f"{p['ctf/accel_kv']:.6g} {p['blob/psize_A']:.7g} {p['blob/shape'][0]} 2"
        )
    return "\n".join([*lines, "", ""])


def _decimals(values: Array) -> list[str]:
    return [f"{value:.6f}" for value in np.asarray(values, np.float64).tolist()]


def _star_columns(path: Path, part: Array, group: Array) -> dict[str, list[str]]:
    """Columns of a STAR table as text."""
    fields = set(part.dtype.names or ())
    stacks = [_stack_name(_path_text(name)) for name in part["blob/path"].tolist()]
    slices = (part["blob/idx"].astype(np.int64) + 1).tolist()
    columns = {
        "rlnImageName": [
            quote(f"{number:06d}@{stack}") for number, stack in zip(slices, stacks, strict=True)
        ],
        "rlnOpticsGroup": [str(number + 1) for number in group.tolist()],
        "rlnDefocusU": _decimals(part["ctf/df1_A"]),
        "rlnDefocusV": _decimals(part["ctf/df2_A"]),
        "rlnDefocusAngle": _decimals(np.rad2deg(part["ctf/df_angle_rad"])),
        "rlnPhaseShift": _decimals(np.rad2deg(part["ctf/phase_shift_rad"])),
        UID_COLUMN: [str(uid) for uid in part["uid"].tolist()],
    }
    if "location/micrograph_path" in fields:
        names = part["location/micrograph_path"].tolist()
        columns["rlnMicrographName"] = [quote(_path_text(name)) for name in names]
    if "ctf/bfactor" in fields and part["ctf/bfactor"].any():
        columns["rlnCtfBfactor"] = _decimals(part["ctf/bfactor"])
    if "ctf/scale" in fields and (part["ctf/scale"] != 1).any():
        columns["rlnCtfScalefactor"] = _decimals(part["ctf/scale"])
    sign = part["blob/sign"] if "blob/sign" in fields else np.ones(len(part))
    columns[SIGN_COLUMN] = ["-1" if value < 0 else "1" for value in sign.tolist()]
    if {"alignments3D/pose", "alignments3D/shift"} <= fields:
        size = "alignments3D/psize_A" if "alignments3D/psize_A" in fields else "blob/psize_A"
        shifts = part["alignments3D/shift"].astype(np.float64) * part[size][:, None]
        angles = cryosparc_angles(part["alignments3D/pose"])
        bad = ~(np.isfinite(angles).all(axis=1) & np.isfinite(shifts).all(axis=1))
        if bad.any():
            uid = part["uid"][int(np.argmax(bad))]
            raise InputError(f"{path}: the pose of uid {uid} is not finite; remove the particle")
        for name, values in zip(("Rot", "Tilt", "Psi"), angles.T, strict=True):
            columns[f"rlnAngle{name}"] = _decimals(values)
        columns["rlnOriginXAngst"] = _decimals(shifts[:, 0])
        columns["rlnOriginYAngst"] = _decimals(shifts[:, 1])
    if "alignments3D/split" in fields:
        columns["rlnRandomSubset"] = [str(n + 1) for n in part["alignments3D/split"].tolist()]
    if "alignments3D/class" in fields:
        columns["rlnClassNumber"] = [str(n + 1) for n in part["alignments3D/class"].tolist()]
    return columns


def _stack_name(path: str) -> str:
    """Name by which RELION reads a stack; it takes ``.mrc`` for a volume unless told."""
    return path if path.endswith(".mrcs") else f"{path}:mrcs"


def _path_text(name: bytes | str) -> str:
    """Path of a stack or micrograph; a leading ``>`` marks it as relative to the project."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return text.removeprefix(">")


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
        data = write_star_of_cs(path, particles, Path(folder.name) / "particles.star")
        structure = scan(data)
        structure.require_sound()
        table = ParticleTable(path, structure, choose_particles(structure), data)
        weakref.finalize(table, stack.pop_all().close)
    return table
