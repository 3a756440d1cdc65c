"""Where the images of a particle table are: stacks found, counted and compared with the table."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import read_header
from alphacryo4d.io.star import IMAGE_COLUMN, ParticleTable, whole_numbers
from alphacryo4d.particles.optics import Optics

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


def stack_file(name: str) -> str:
    """File of a stack's name: RELION reads ``x.mrc:mrcs`` as the stack ``x.mrc``."""
    return name.removesuffix(":mrcs")


def resolve_stack(name: str, table: Path) -> Path | None:
    """File of an image path: from the working directory as RELION does, then beside the table.

    Paths of a ``.cs`` file start from the project folder, which is above the job's folder.

    Parameters
    ----------
    name : str
        Path as the table has it.
    table : Path
        The table.

    Returns
    -------
    Path or None
        None where neither is a file.
    """
    direct = Path(stack_file(name))
    folders = [Path(), table.parent, *([table.parent / ".."] if table.suffix == ".cs" else [])]
    for candidate in (folder / direct for folder in folders):
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):
            return None
    return None


def _resolve_stacks(names: list[str], table: Path, *, required: bool) -> tuple[Path, ...]:
    stacks, beside, missing = [], 0, []
    for name in names:
        found = resolve_stack(name, table)
        if found is None:
            missing.append(name)
        beside += found is not None and found != Path(stack_file(name))
        stacks.append(found or Path(stack_file(name)))
    if beside and table.parent != Path():
        logger.info(
            "%s: %d of %d stacks were found from the table's folder, not from the working directory"
            " (RELION looks only there)",
            table,
            beside,
            len(names),
        )
    if missing and required:
        raise InputError(
            f"{table}: {len(missing)} of {len(names)} image stacks are missing, first "
            f"{missing[0]!r}; run from the folder that image paths start from (RELION's project "
            "folder), or restore the stacks"
        )
    return tuple(stacks)


def image_places(
    table: ParticleTable,
    numbers: dict[str, Array],
    texts: dict[str, tuple[Array, list[str]]],
    *,
    required: bool,
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
    return _resolve_stacks(names, table.path, required=required), codes, index


def with_boxes(
    table: ParticleTable, optics: Optics, group: Array, stacks: tuple[Path, ...], stack_index: Array
) -> Optics:
    """Box of every optics group from the headers of its stacks, compared with the table."""
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
        if nx != ny or nx % 2:
            raise InputError(
                f"{stacks[stack]}: images of {nx} x {ny} px; crop or pad them to an even square box"
            )
        if box[number] and box[number] != nx:
            raise InputError(
                f"{stacks[stack]}: images of {nx} px, but optics group {optics.names[number]} of "
                f"{table.path} has {box[number]} px; take the stack that belongs to the table"
            )
        box[number] = nx
    return dataclasses.replace(optics, box=box)
