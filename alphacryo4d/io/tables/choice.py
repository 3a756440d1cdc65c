"""Which table of a STAR file holds the particles."""

from __future__ import annotations

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.tables.structure import Block, Structure

IMAGE_COLUMN = "rlnImageName"


def choose_particles(structure: Structure) -> Block:
    """Table of the particles among the tables of a file.

    Raises
    ------
    InputError
        There is none, or it is not clear which.
    """
    path = structure.path
    loops = [block for block in structure.blocks if block.is_loop]
    named = [block for block in loops if block.name == "particles"]
    images = [block for block in loops if IMAGE_COLUMN in block.columns]
    others = [block for block in loops if block.name != "optics"]
    chosen = named or images or (others if len(others) == 1 else [])
    if not chosen:
        held = ", ".join(f"data_{block.name}" for block in structure.blocks) or "no table"
        raise InputError(
            f"{path}: no particle table (data_particles, or a loop with {IMAGE_COLUMN}); "
            f"the file holds {held}"
        )
    if len(chosen) > 1:
        raise InputError(
            f"{path}: {len(chosen)} tables hold images ("
            f"{', '.join(f'data_{block.name}' for block in chosen)}); keep one of them"
        )
    if chosen[0].rows == 0:
        raise InputError(f"{path}: data_{chosen[0].name} has no rows; nothing can be done with it")
    return chosen[0]
