"""A ``.cs`` file as a RELION table."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import atomic_path
from alphacryo4d.core.identity import absolute_path
from alphacryo4d.io.cs_aberrations import (
    held_aberrations,
    optics_columns,
    without_beam_shift,
)
from alphacryo4d.io.star import MICROGRAPH_COLUMN, SIGN_COLUMN, UID_COLUMN
from alphacryo4d.io.tables.small import quote
from alphacryo4d.maths.rotations import cryosparc_angles

_NEEDED = ("uid", "blob/path", "blob/idx", "blob/psize_A", "blob/shape")
_CTF = ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad", "phase_shift_rad")
POSE_FIELDS = {"alignments3D/pose", "alignments3D/shift"}
_ROWS_AT_ONCE = 100_000
_SOURCES = "# converted by alphacryo4d from "
"""Begins the comment that names the files of a table, by the words of a shell."""
_HEAD = 1 << 16


def _require(path: Path, particles: Array, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in (particles.dtype.names or ())]
    if missing:
        what = f"{path}: no field {', '.join(missing)}"
        if "passthrough" in path.name:
            raise InputError(
                f"{what}: it goes with the job's particles, which are given first: alphacryo4d "
                f"convert --i PARTICLES.cs --passthrough {path} --o merged.cs"
            )
        raise InputError(
            f"{what}; add the job's passthrough file with: "
            f"alphacryo4d convert --i {path} --passthrough FILE --o merged.cs"
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
        *(part for name in held_aberrations(particles) for part in particles[name].T),
    ):
        _, codes = np.unique(column, return_inverse=True)
        _, index = np.unique(index * (int(codes.max()) + 1) + codes, return_inverse=True)
    _, firsts = np.unique(index, return_index=True)
    return index, firsts


def write_star_of_cs(
    path: Path, particles: Array, out_path: Path, sources: Sequence[Path] = ()
) -> Path:
    """Write cryoSPARC particles as a STAR table of RELION 3.1.

    Parameters
    ----------
    path : Path
        File that the particles come from, for messages.
    particles : (P,) structured array
        Particles with ``blob`` and ``ctf``; poses where ``alignments3D`` is there.
    out_path : Path
        STAR file. ``ac4dUid`` keeps the ``uid``, ``ac4dImageSign`` the ``blob/sign``.
    sources : sequence of Path
        Files that the table came from, which a comment at its head names (:func:`sources_of`).
    """
    _require(path, particles, [*_NEEDED, *(f"ctf/{name}" for name in _CTF)])
    shapes = particles["blob/shape"]
    if (shapes[:, 0] != shapes[:, 1]).any():
        row = int(np.argmax(shapes[:, 0] != shapes[:, 1]))
        raise InputError(f"{path}: row {row + 1}: images of {shapes[row].tolist()} are not square")
    index, firsts = _optics_groups(particles)
    with atomic_path(Path(out_path)) as temporary, temporary.open("wb") as out:
        out.write(_sources_text(sources).encode("utf-8", "surrogateescape"))
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


def _sources_text(sources: Sequence[Path]) -> str:
    text = shlex.join(str(absolute_path(path)) for path in sources)
    return f"\n{_SOURCES}{text}\n" if text.isprintable() and text else ""


def sources_of(table: Path) -> list[Path]:
    """Files that a STAR table, or one of its rows, came from; none where it does not say so.

    Files that are gone are none either: all are needed on the way back.
    """
    with table.open("rb") as stream:
        head = stream.read(_HEAD).decode("utf-8", "surrogateescape").splitlines()
    line = next((one for one in head if one.startswith(_SOURCES)), _SOURCES)
    try:
        paths = [Path(word) for word in shlex.split(line.removeprefix(_SOURCES))]
    except ValueError:
        return []
    return paths if all(path.is_file() for path in paths) else []


def _optics_text(particles: Array, firsts: Array) -> str:
    more = optics_columns(particles, firsts)
    names = (
        "rlnOpticsGroup", "rlnOpticsGroupName", "rlnAmplitudeContrast", "rlnSphericalAberration",
        "rlnVoltage", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality", *more,
    )  # fmt: skip
    lines = ["", "# version 30001", "", "data_optics", "", "loop_"]
    lines += [f"_{name} #{i}" for i, name in enumerate(names, 1)]
    for number, row in enumerate(firsts.tolist(), 1):
        p = particles[row]
        lines.append(
            f"{number} opticsGroup{number} {p['ctf/amp_contrast']:.6g} {p['ctf/cs_mm']:.6g} "
            f"{p['ctf/accel_kv']:.6g} {p['blob/psize_A']:.7g} {p['blob/shape'][0]} 2"
            + "".join(f" {values[number - 1]}" for values in more.values())
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
        columns[MICROGRAPH_COLUMN] = [quote(_path_text(name)) for name in names]
    if "ctf/bfactor" in fields and part["ctf/bfactor"].any():
        columns["rlnCtfBfactor"] = _decimals(part["ctf/bfactor"])
    if "ctf/scale" in fields and (part["ctf/scale"] != 1).any():
        columns["rlnCtfScalefactor"] = _decimals(part["ctf/scale"])
    sign = part["blob/sign"] if "blob/sign" in fields else np.ones(len(part))
    columns[SIGN_COLUMN] = ["-1" if value < 0 else "1" for value in sign.tolist()]
    if fields >= POSE_FIELDS:
        angles, shifts = cs_poses(part)
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


def cs_poses(particles: Array) -> tuple[Array, Array]:
    """Poses of cryoSPARC particles as a table has them.

    Parameters
    ----------
    particles : (P,) structured array
        With :data:`POSE_FIELDS`.

    Returns
    -------
    (P, 3) array, (P, 2) array
        rot, tilt, psi in degrees; shifts in A without that of the beam.
    """
    shifts = particles["alignments3D/shift"].astype(np.float64)
    shifts *= pixels_of_shifts(particles)[:, None]
    return cryosparc_angles(particles["alignments3D/pose"]), without_beam_shift(particles, shifts)


def pixels_of_shifts(particles: Array) -> Array:
    """Pixel size (P,) in A of ``alignments3D/shift``."""
    own = "alignments3D/psize_A" in (particles.dtype.names or ())
    return np.asarray(particles["alignments3D/psize_A" if own else "blob/psize_A"])


def _stack_name(path: str) -> str:
    """Name by which RELION reads a stack; it takes ``.mrc`` for a volume unless told."""
    return path if path.endswith(".mrcs") else f"{path}:mrcs"


def _path_text(name: bytes | str) -> str:
    """Path of a stack or micrograph; a leading ``>`` marks it as relative to the project."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return text.removeprefix(">")
