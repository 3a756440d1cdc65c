"""Optics that a particle table lacks, filled in; every other byte stays."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import read_header
from alphacryo4d.io.star import IMAGE_COLUMN, ParticleTable, whole_numbers
from alphacryo4d.io.tables.small import quote, read_block
from alphacryo4d.io.tables.structure import Block
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.optics import COLUMNS, read_optics
from alphacryo4d.particles.stacks import resolve_stack

INPUT_STAR = "input.star"


def fill_optics(input_path: Path, output_path: Path, given: Mapping[str, float | None]) -> int:
    """Write a table again with pixel size, voltage, Cs or amplitude contrast filled in.

    Parameters
    ----------
    input_path, output_path : Path
        STAR tables. With optics groups the values go into ``data_optics`` and the rows stay byte
        for byte; without, they become columns behind those that are there. Where ``data_optics``
        is missing altogether it is written before the particles, the same for all groups.
    given : mapping
        ``pixel_size`` (A), ``voltage`` (kV), ``spherical_aberration`` (mm) and
        ``amplitude_contrast``; None leaves what the table says.

    Returns
    -------
    int
        Particles written.

    Raises
    ------
    InputError
        A value is not positive, or the table is damaged.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name, value in values.items():
        least = 0.0 if name in ("pixel_size", "voltage") else -1e-9
        if not (np.isfinite(value) and value > least):
            raise InputError(f"{COLUMNS[name][2]} {value:g}: must be positive")
    table = open_table(input_path)
    group = None
    if "rlnOpticsGroup" in table.columns:
        group = table.read_parts(["rlnOpticsGroup"])[0]["rlnOpticsGroup"]
    if lacks_optics_table(table):
        _with_optics_table(table, values, output_path)
        return table.rows
    read_optics(table, group, values, complete=False)  # says where a value contradicts the table
    if table.optics_block is not None:
        _with_optics(table, table.optics_block, values, output_path)
    else:
        _with_columns(table, values, output_path)
    return table.rows


def lacks_optics_table(table: ParticleTable) -> bool:
    """Whether the particles are of optics groups that no ``data_optics`` describes."""
    return table.optics_block is None and "rlnOpticsGroup" in table.columns


def way_to_optics_table(path: Path, given: Mapping[str, float | None]) -> str:
    """How a missing ``data_optics`` is had."""
    values = {name: given.get(name) for name in COLUMNS}
    options = " ".join(
        f"{COLUMNS[name][2]} {'VALUE' if value is None else f'{value:g}'}"
        for name, value in values.items()
    )
    return (
        "restore it from the file that the particles came from, or have it written, the same for "
        f"all particles: alphacryo4d convert --i {path} --o completed.star {options}"
    )


def _with_optics_table(table: ParticleTable, values: Mapping[str, float], path: Path) -> None:
    """``data_optics`` with one entry a group, before the particles, whose bytes are copied."""
    lacking = [option for name, (_, _, option) in COLUMNS.items() if name not in values]
    if lacking:
        raise InputError(
            f"{table.path}: has no data_optics; give {', '.join(lacking)} as well, so that it can "
            "be written"
        )
    numbers, texts = table.read_parts(["rlnOpticsGroup"], images=True)
    group = whole_numbers(table.path, "rlnOpticsGroup", numbers["rlnOpticsGroup"])
    codes, names = texts[IMAGE_COLUMN]
    held = list(values.items())
    labels = ["rlnOpticsGroup", "rlnOpticsGroupName", *(COLUMNS[name][0] for name, _ in held)]
    labels += ["rlnImageSize", "rlnImageDimensionality"]
    lines = ["", "# version 30001", "", "data_optics", "", "loop_"]
    lines += [f"_{label} #{number}" for number, label in enumerate(labels, 1)]
    for number in np.unique(group).tolist():
        stack = names[int(codes[np.argmax(group == number)])]
        place = resolve_stack(stack, table.path)
        if place is None:
            raise InputError(
                f"{table.path}: {stack} is not found, of which data_optics holds the box; start "
                "where the image paths start, or name that folder: --images-from FOLDER"
            )
        optics = " ".join(f"{value:.6f}" for _, value in held)
        lines.append(f"{number} opticsGroup{number} {optics} {read_header(place).shape[2]} 2")
    with (
        files.atomic_path(path) as temporary,
        table.bytes_path.open("rb") as before,
        temporary.open("wb") as after,
    ):
        after.write("\n".join([*lines, "", ""]).encode())
        shutil.copyfileobj(before, after, 1 << 24)


def _with_columns(table: ParticleTable, values: Mapping[str, float], path: Path) -> None:
    """RELION 3.0: a column each; the pixel size as magnification and detector pixel."""
    columns: dict[str, float] = {}
    for name, value in values.items():
        if name == "pixel_size":
            columns |= {"rlnMagnification": 10000.0, "rlnDetectorPixelSize": value}
        else:
            columns[COLUMNS[name][1]] = value
    table.write_with_columns(
        path, {name: np.full(table.rows, value) for name, value in columns.items()}
    )


def _with_optics(
    table: ParticleTable, block: Block, values: Mapping[str, float], path: Path
) -> None:
    """RELION 3.1 to 5: the optics table is written anew, the bytes around it are copied."""
    if not block.is_loop:
        raise InputError(f"{table.path}: data_optics is no loop; save the table with RELION first")
    texts = read_block(table.structure, block)
    count = block.rows
    for name, value in values.items():
        texts[COLUMNS[name][0]] = [f"{value:.6f}"] * count
    labels = [f"_{name} #{number}" for number, name in enumerate(texts, 1)]
    rows = [" ".join(map(quote, row)) for row in zip(*texts.values(), strict=True)]
    text = "\n".join([*labels, *rows]) + "\n"
    with (
        files.atomic_path(path) as temporary,
        table.bytes_path.open("rb") as before,
        temporary.open("wb") as after,
    ):
        after.write(before.read(block.label_lines[0][0]))
        after.write(text.encode("utf-8", "surrogateescape"))
        before.seek(block.rows_end)
        shutil.copyfileobj(before, after, 1 << 24)


def completed_input(table: Path, folder: Path, given: Mapping[str, float | None]) -> Path:
    """Table that a run works on: the user's, or ``input.star`` with the given optics filled in.

    Parameters
    ----------
    table : Path
        The user's table.
    folder : Path
        Output folder of the run.
    given : mapping
        As for :func:`fill_optics`; where all are None the table is taken as it is.

    Raises
    ------
    InputError
        The table is no STAR table, or its images are found only from its own folder.
    """
    if all(value is None for value in given.values()):
        return table
    if table.suffix.lower() == ".cs":
        raise InputError(f"{table}: holds its own optics; leave out --pixel-size and its like")
    path = folder / INPUT_STAR
    fill_optics(table, path, given)
    for name in open_table(table).read_parts([], images=True)[1][IMAGE_COLUMN][1]:
        if resolve_stack(name, path) is None and resolve_stack(name, table) is not None:
            raise InputError(
                f"{table}: {name} is found from the table's folder only; start from that folder, "
                "or write the completed table there first: alphacryo4d convert --i "
                f"{table.name} --o completed.star with the same options"
            )
    return path
