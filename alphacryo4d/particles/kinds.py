"""What is no table of single-particle images: which program it comes from, and the way to one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import read_cs
from alphacryo4d.io.foreign import foreign_format
from alphacryo4d.io.mrc_header import read_header
from alphacryo4d.io.star import IMAGE_COLUMN, MICROGRAPH_COLUMN, ParticleTable
from alphacryo4d.io.tables.structure import Structure

_TOMO = "tomography is not supported, give single-particle images"
_FOURIER_OF_3D = ("rlnCtfImage", "rlnCoordinateZ", "rlnOriginZ", "rlnOriginZAngst")
_PARTICLES = "give particles.star of the job that extracted them, or run_data.star of Refine3D"

# What a table is by one of its columns, and the way out; the first that fits is said
_BY_COLUMN = [
    ("rlnReferenceImage", "the classes of a RELION job", "give its run_it025_data.star"),
    ("rlnMicrographMovieName", "movies", _PARTICLES),
    ("rlnMicrographCoordinates", "lists of picked coordinates", _PARTICLES),
    ("rlnCtfFigureOfMerit", "micrographs with their CTF", _PARTICLES),
    ("rlnCoordinateX", "picked coordinates without images", _PARTICLES),
    (MICROGRAPH_COLUMN, "micrographs", _PARTICLES),
]
_BY_TABLE = [
    ("model_", "the model of a RELION job (run_model.star)", "give its run_data.star"),
    ("optimiser_general", "an optimiser file of RELION", "give its run_data.star"),
    ("sampling_general", "a sampling file of RELION", "give its run_data.star"),
    ("job", "the options of a RELION job (job.star)", "give its particle table"),
    ("pipeline_", "RELION's list of jobs", "give the particle table of one of them"),
    ("output_nodes", "RELION's list of outputs", "give the particle table that it names"),
    ("micrographs", "a table of micrographs", _PARTICLES),
    ("movies", "a table of movies", _PARTICLES),
    ("coordinate_files", "lists of picked coordinates", _PARTICLES),
    ("filament", "filaments", _PARTICLES),
]


def refuse_foreign(path: Path) -> None:
    """Raise ``InputError`` for a file that is no table at all, and name what it is."""
    refuse_folder(Path(path))
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(1 << 16)
    except (OSError, ValueError):
        return  # the reader says what is wrong with it
    foreign = foreign_format(raw, Path(path))
    if foreign is None and _is_mrc(Path(path), raw):
        foreign = "an MRC stack or map, not a table", "give the STAR or .cs file of its particles"
    if foreign is None and raw.startswith(b"\x93NUMPY") and Path(path).suffix.lower() != ".cs":
        foreign = "a numpy array", "give the STAR or .cs file; cryoSPARC's must end in .cs"
    if foreign is not None:
        raise InputError(f"{path}: is {foreign[0]}; {foreign[1]}")


def refuse_folder(path: Path) -> None:
    """Raise ``InputError`` for a folder in the place of a table, with the tables that it holds."""
    try:
        held = sorted(p.name for p in path.iterdir() if p.suffix in (".star", ".cs"))
    except (OSError, ValueError):
        return
    named = f" ({', '.join(held[:3])}{' ...' if len(held) > 3 else ''})" if held else ""
    raise InputError(f"{path}: is a folder, not a particle table; give the table in it{named}")


def _is_mrc(path: Path, raw: bytes) -> bool:
    named = path.suffix.lower() in (".mrc", ".mrcs")  # old programs write no stamp
    if raw[208:211] != b"MAP" and not (named and b"\0" in raw):
        return False
    try:
        read_header(path)
    except InputError:
        return False
    return True


def refuse_other_tables(structure: Structure) -> None:
    """Raise ``InputError`` where a STAR file holds something else than particles, by its names."""
    blocks = structure.blocks
    for block in blocks:
        tomo = sorted(name for name in block.columns if name.startswith("rlnTomo"))
        if tomo:
            what = f"subtomograms or tilt series ({tomo[0]})"
            raise InputError(f"{structure.path}: holds {what}; {_TOMO}")
    if any(IMAGE_COLUMN in block.columns or block.name == "particles" for block in blocks):
        blocks = [b for b in blocks if IMAGE_COLUMN not in b.columns and b.name == "particles"]
    own = [any(name.startswith("ac4d") for name in block.columns) for block in blocks]
    if own and all(own) and not any(block.name == "particles" for block in blocks):
        raise InputError(
            f"{structure.path}: holds results of this program, no images; give particles.star of "
            "the same project's vote, or the table that was resampled"
        )
    for start, what, way_out in _BY_TABLE:
        if any(b.name.startswith(start) for b in blocks):
            raise InputError(f"{structure.path}: is {what}, not a particle table; {way_out}")
    for column, what, way_out in _BY_COLUMN:
        if any(column in b.columns for b in blocks):
            raise InputError(f"{structure.path}: holds {what} ({column}), no images; {way_out}")


def refuse_tomography(table: ParticleTable) -> None:
    """Raise ``InputError`` for subtomograms and tilt series, which are no single particles."""
    names = set(table.columns)
    optics = table.optics_columns or {}
    what = ""
    dimensions = optics.get("rlnImageDimensionality")
    if dimensions is not None and any(_is_three(value) for value in dimensions.tolist()):
        what = "subtomograms (rlnImageDimensionality is 3)"
    tomo = sorted(name for name in [*names, *optics] if name.startswith("rlnTomo"))
    if not what and tomo:
        what = f"subtomograms or tilt series ({tomo[0]})"
    signs = [name for name in _FOURIER_OF_3D if name in names]
    if not what and signs:
        what = f"subtomograms ({', '.join(signs)}, as Warp, M and RELION write them)"
    if not what and {"rlnGroupName", "rlnCtfBfactor"} <= names:
        what = _tilt_group(table)
    if what:
        raise InputError(f"{table.path}: holds {what}; {_TOMO}")


def _is_three(value: Any) -> bool:
    text = str(value).strip().lower().removesuffix("d")
    try:
        return float(text) == 3
    except ValueError:
        return False


def _tilt_group(table: ParticleTable) -> str:
    """Tilt images, where B factors in a group are doses: whole steps of one size, of one sign."""
    values, texts = table.read_parts(["rlnCtfBfactor"], ["rlnGroupName"])
    codes, groups = texts["rlnGroupName"]
    order = np.lexsort((np.abs(values["rlnCtfBfactor"]), codes))
    doses, sorted_codes = values["rlnCtfBfactor"][order], codes[order]
    bounds = np.flatnonzero(np.diff(sorted_codes, prepend=-1, append=-1))
    examined, series = 0, ""
    tilted = 0
    for first, after in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if after - first < 3:
            continue
        examined += 1
        if _is_series(doses[first:after]):
            tilted += 1
            series = series or groups[int(sorted_codes[first])]
        if examined == 1000:
            break
    if tilted <= examined / 2:
        return ""
    return (
        "tilt images (rows share rlnGroupName and rlnCtfBfactor is a dose that rises in steps: "
        f"group {series})"
    )


def _is_series(doses: Array) -> bool:
    """Whether B factors, sorted by size, are those of a tilt series (4 A^2 per e/A^2)."""
    if not np.isfinite(doses).all() or not ((doses <= 0).all() or (doses >= 0).all()):
        return False
    steps = np.diff(np.abs(doses))
    if (steps < 1).any():
        return False
    multiples = steps / steps.min()
    return bool((np.abs(multiples - np.round(multiples)) < 0.02).all())


def refuse_volumes(table: ParticleTable, stacks: Sequence[Path]) -> None:
    """Raise ``InputError`` where names without ``@`` mean files of several sections: volumes.

    RELION takes such a name for image 1 of the file, so that the first section of a subtomogram
    would pass for a particle.

    Parameters
    ----------
    table : ParticleTable
    stacks : sequence of Path
        Image files of the table, as they were found.
    """
    if not table.rows or "@" in table.first_row().get(IMAGE_COLUMN, "@"):
        return
    for stack in stacks:
        try:
            sections = read_header(stack).shape[0]
        except InputError:
            continue  # said by whoever reads the images
        if sections > 1:
            raise InputError(
                f"{table.path}: holds subtomograms or other volumes ({IMAGE_COLUMN} without @, and "
                f"{stack} has {sections} sections); {_TOMO}"
            )


FIND_POSES = "or a map to find poses from: alphacryo4d run --i TABLE --reference MAP"


def way_to_poses(table: ParticleTable) -> str:
    """Where a table with poses is to be had, for a table without."""
    if table.path.suffix.lower() != ".cs":
        return f"give a table of a 3D refinement, such as RELION's run_data.star; {FIND_POSES}"
    names = read_cs(table.path).dtype.names or ()
    several = sorted(name for name in names if name.startswith("alignments3D_multi"))
    job = "Homogeneous, Non-uniform or Local Refinement"
    if several:
        return (
            f"it has {several[0]} of several classes (Ab-initio, Heterogeneous Refinement), of "
            f"which none is the particle's pose: refine all particles together ({job}) and give "
            "that job's particles .cs"
        )
    return (
        f"take the .cs of a job that refines poses ({job}): it is that job's output itself, or "
        f"its passthrough file: alphacryo4d convert --i {table.path} --passthrough "
        "FILE --o merged.cs"
    )
