"""Where the images of a particle table are: stacks found, counted and compared with the table."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.settings import IMAGES_FROM, PROJECT_IMAGES
from alphacryo4d.io.mrc import read_header
from alphacryo4d.io.star import IMAGE_COLUMN, ParticleTable, whole_numbers
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.kinds import refuse_volumes
from alphacryo4d.particles.optics import Optics

logger = logging.getLogger(__name__)


KnownStacks = Callable[[list[str]], dict[str, Path]]
"""Files of stacks by their names in the table, where they are known, for all names of a table."""

_COMPARED_AT_ONCE = 16 << 20


def stack_file(name: str) -> str:
    """File of a stack's name: RELION reads ``x.mrc:mrcs`` as the stack ``x.mrc``."""
    return name.removesuffix(":mrcs")


def resolve_stack(name: str, table: Path) -> Path | None:
    """File of an image path: from the working directory as RELION does, then beside the table.

    Paths of a ``.cs`` file start from the project folder, which is above the job's folder. Where
    the user named a folder (:data:`IMAGES_FROM`), relative paths start from there and nowhere else;
    else the place in the record of the project (:data:`PROJECT_IMAGES`) is looked at last.

    Parameters
    ----------
    name : str
        Path as the table has it.
    table : Path
        The table.

    Returns
    -------
    Path or None
        None where there is no such file.
    """
    stacks = candidates(name, table)
    return stacks[0] if stacks else None


def way_to_stacks(name: str) -> str:
    """What to do about a stack that is missing, for messages."""
    given, parts = os.environ.get(IMAGES_FROM), Path(stack_file(name)).parts
    if given and len(parts) > 1:
        return (
            f"image paths start from --images-from {given}: give the folder that holds {parts[0]}, "
            "or leave the option out where `relocate` has put the place of the stacks on record"
        )
    return (
        "run from the folder that image paths start from (RELION's project folder), name it with "
        "--images-from, or restore the stacks"
    )


def candidates(name: str, table: Path) -> list[Path]:
    """Every file that an image path may mean, the one that is taken first."""
    direct = Path(stack_file(name))
    given = os.environ.get(IMAGES_FROM)
    folders = [Path(), table.parent, *([table.parent / ".."] if table.suffix == ".cs" else [])]
    if given:
        folders = [Path(given)]
    stacks = []
    places = [folder / direct for folder in folders]
    if not given:
        places += _place_in_project(direct)
    for candidate in dict.fromkeys(places):
        try:
            if candidate.is_file():
                stacks.append(candidate)
        except (OSError, ValueError):
            return []
    return stacks


def _place_in_project(name: Path) -> list[Path]:
    """Where the record of the project that is worked on says that a stack is; empty for none."""
    number, _, folder = os.environ.get(PROJECT_IMAGES, "").partition(":")
    parts = [part for part in name.parts if part != "/"]
    if not folder or len(parts) <= int(number):
        return []
    return [Path(folder).joinpath(*parts[int(number) :])]


def rival_fault(name: str, table: Path) -> Fault | None:
    """Fault where a relative path means several files that are not the same images."""
    stacks = candidates(name, table)
    for other in stacks[1:]:
        difference = _difference(stacks[0], other)
        if difference:
            return Fault(
                table,
                "",
                f"stack {stack_file(name)!r} is there twice and differs in {difference}: "
                f"{stacks[0].absolute()} and {other.resolve()}",
                f"say which is meant, with --images-from {table.absolute().parent} or another "
                "folder that image paths start from",
                "ambiguous-stack",
            )
    return None


def _difference(one: Path, other: Path) -> str:
    """What tells two files apart, or nothing where they hold the same bytes."""
    try:
        state, second = one.stat(), other.stat()
        if (state.st_dev, state.st_ino) == (second.st_dev, second.st_ino):
            return ""
        if state.st_size != second.st_size:
            return f"size ({state.st_size:,} and {second.st_size:,} bytes)"
        keys = (one.resolve(), state.st_mtime_ns), (other.resolve(), second.st_mtime_ns)
    except OSError:
        return ""
    return "" if _same_bytes(*keys) else "content"


@functools.lru_cache(maxsize=65536)
def _same_bytes(one: tuple[Path, int], other: tuple[Path, int]) -> bool:
    """Whether two files of one size hold the same; known by time of change, so asked once."""
    try:
        with one[0].open("rb") as first, other[0].open("rb") as second:
            while piece := first.read(_COMPARED_AT_ONCE):
                if piece != second.read(_COMPARED_AT_ONCE):
                    return False
    except OSError:
        return True
    return True


def _resolve_stacks(
    names: list[str], table: Path, *, required: bool, known: KnownStacks | None = None
) -> tuple[Path, ...]:
    stacks, beside, missing = [], 0, []
    places = {} if known is None else known(names)
    for name in names:
        if name in places:
            stacks.append(places[name])
            continue
        stack = resolve_stack(name, table)
        if stack is None:
            missing.append(name)
        elif required:
            fault = rival_fault(name, table)
            if fault is not None:
                raise fault.error()
        beside += stack is not None and stack != Path(stack_file(name))
        stacks.append(stack or Path(stack_file(name)))
    if beside and table.parent != Path() and not os.environ.get(IMAGES_FROM):
        logger.info(
            "%s: %d of %d stacks were found from the table's folder%s, not from the working "
            "directory (RELION looks only there)",
            table,
            beside,
            len(names),
            " or where the project had them" if os.environ.get(PROJECT_IMAGES) else "",
        )
    if missing and required:
        raise InputError(
            f"{table}: {len(missing)} of {len(names)} image stacks are missing, first "
            f"{missing[0]!r}; {way_to_stacks(missing[0])}; where those of a project moved, "
            "alphacryo4d relocate --i PROJECT --images-from FOLDER"
        )
    return tuple(stacks)


def image_places(
    table: ParticleTable,
    numbers: dict[str, Array],
    texts: dict[str, tuple[Array, list[str]]],
    *,
    required: bool,
    known: KnownStacks | None = None,
) -> tuple[tuple[Path, ...], Array, Array]:
    """Stacks of a table, and stack and slice (from 0) of every particle."""
    if IMAGE_COLUMN not in texts:
        return (), np.zeros(table.rows, np.int32), np.zeros(table.rows, np.int64)
    index = whole_numbers(table.path, IMAGE_COLUMN, numbers.pop(IMAGE_COLUMN)) - 1
    codes, names = texts[IMAGE_COLUMN]
    if (index < 0).any():
        row = int(np.argmax(index < 0))
        raise InputError(
            f"{table.path}: row {row + 1}: {IMAGE_COLUMN} counts images from 1, not "
            f"{index[row] + 1}; restore the row from its source"
        )
    return _resolve_stacks(names, table.path, required=required, known=known), codes, index


def with_boxes(
    table: ParticleTable, optics: Optics, group: Array, stacks: tuple[Path, ...], stack_index: Array
) -> Optics:
    """Box of every optics group from the headers of its stacks, compared with the table."""
    refuse_volumes(table, stacks)
    pairs = np.unique(group.astype(np.int64) * len(stacks) + stack_index)
    shapes: dict[int, tuple[int, int]] = {}
    box = np.array(optics.box)
    for pair in pairs.tolist():
        number, stack = divmod(pair, len(stacks))
        if stack not in shapes:
            header = read_header(stacks[stack])
            header.require_complete()
            shapes[stack] = header.shape[1:]
        ny, nx = shapes[stack]
        if nx != ny:
            raise InputError(
                f"{stacks[stack]}: images of {nx} x {ny} px; crop or pad them to a square box"
            )
        if box[number] and box[number] != nx:
            raise InputError(
                f"{stacks[stack]}: images of {nx} px, but optics group {optics.names[number]} of "
                f"{table.path} has {box[number]} px; take the stack that belongs to the table"
            )
        box[number] = nx
    return dataclasses.replace(optics, box=box)
