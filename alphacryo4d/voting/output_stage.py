"""Tables of the voting stage: every particle with its state, and one table for every state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import write_cs_states
from alphacryo4d.io.star import ParticleTable
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import (
    ParticleSet,
    read_particles,
)
from alphacryo4d.particles.recorded import recorded_stacks, say_outside
from alphacryo4d.selection.sets_stage import STATE_NAME, word
from alphacryo4d.voting.votes import VoteResult

_PIECE_BYTES = 16 << 20


def input_table(resample: Path) -> ParticleTable:
    """Particle table that the resample stage worked on, as ``job.json`` names it.

    Raises
    ------
    InputError
        The record or the table is missing, or the table was changed since.
    """
    return open_table(input_table_path(resample))


def input_table_path(resample: Path) -> Path:
    """Path of the particle table that the resample stage worked on."""
    from alphacryo4d.core.identity import located, outside_original, same_content
    from alphacryo4d.core.job import read_job

    record = read_job(resample)
    if record is None or not record.get("inputs"):
        raise InputError(
            f"{resample / files.JOB_JSON}: missing or without inputs; "
            "name the folder that `alphacryo4d resample` wrote"
        )
    entry = record["inputs"][0]
    path = located(entry, resample, record.get("folder"))
    if not path.is_file():
        raise InputError(
            f"{path}: the particle table is gone; put it back where it was, or name its place: "
            f"alphacryo4d relocate --i {resample.parent} --table FILE"
        )
    if not same_content(entry, path):
        raise InputError(
            f"{path}: changed since {resample} was made; run the resample stage again, or name the "
            f"table that it was made from: alphacryo4d relocate --i {resample.parent} --table FILE"
        )
    say_outside(resample, [path] if outside_original(entry, resample, record.get("folder")) else [])
    return path


def input_particles(resample: Path, table: Path | None = None) -> ParticleSet:
    """Particles that the resample stage worked on, their images where its record has them.

    Parameters
    ----------
    resample : Path
    table : Path, optional
        Another table with the same image names; that of the record by default.
    """
    path = input_table_path(resample) if table is None else table
    return read_particles(path, stacks_of=recorded_stacks(resample, path))


def state_table(folder: Path, state: int, suffix: str = ".star") -> Path:
    """File of one state, ``class001.star``."""
    return folder / f"class{state:03d}{suffix}"


def write_particles(
    table: ParticleTable,
    folder: Path,
    election: VoteResult,
    state_count: int,
    names: Mapping[int, str] | None = None,
    more: Mapping[str, Array] | None = None,
) -> list[Path]:
    """Write ``particles.star`` and ``class001.star`` ... of an election.

    Where states have names, ``particles.star`` has a column of them, and ``more`` others.

    Returns
    -------
    list of Path
        The tables; a state without particles gets none, since RELION refuses empty tables.
    """
    everything = table.write_with_columns(
        folder / files.PARTICLES_STAR,
        {
            "rlnClassNumber": election.states,
            "ac4dVotes": election.votes.astype(np.int32),
            "ac4dConfidence": np.round(election.confidence.astype(np.float64), 6),
            "ac4dEntropy": np.round(election.entropy.astype(np.float64), 6),
            **(more or {}),
            **_named(election.states, state_count, names),
        },
        rename={"rlnClassNumber": "ac4dInputClassNumber"}
        if "rlnClassNumber" in table.columns
        else None,
    )
    written = [everything, *split_table(table, folder, election.states, state_count)]
    if table.path.suffix.lower() == ".cs":
        written += write_cs_states(table.path, folder, election.states)
    return written


def _named(states: Array, count: int, names: Mapping[int, str] | None) -> dict[str, Array]:
    """Column with the name of every particle's state; nothing where no state has a name."""
    if not names:
        return {}
    return {STATE_NAME: np.array([word(names.get(k, "")) for k in range(count + 1)])[states]}


def split_table(table: ParticleTable, folder: Path, states: Array, state_count: int) -> list[Path]:
    """Write the rows of every state byte for byte, all in one pass over the input.

    Parameters
    ----------
    table : ParticleTable
        Input table of P rows.
    folder : Path
        Output folder.
    states : (P,) int array
        State of every row from 1; rows of 0 go nowhere.
    state_count : int
        K.

    Returns
    -------
    list of Path
        Tables of the states that have particles.
    """
    present = [k for k in range(1, state_count + 1) if (states == k).any()]
    paths = [state_table(folder, k) for k in present]
    block = table.block
    with ExitStack() as stack, table.bytes_path.open("rb") as source:
        header = source.read(block.rows_start)
        source.seek(block.rows_end)
        tail = source.read()
        streams = {}
        for state, path in zip(present, paths, strict=True):
            temporary = stack.enter_context(files.atomic_path(path))
            streams[state] = stack.enter_context(temporary.open("wb"))
            streams[state].write(header)
        for first, after in _pieces(block.offsets):
            source.seek(int(block.offsets[first]))
            text = source.read(int(block.offsets[after] - block.offsets[first]))
            _deal(text, block.offsets[first : after + 1], states[first:after], streams)
        for stream in streams.values():
            stream.write(tail)
            stream.close()
    return paths


def _pieces(offsets: Array) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of consecutive pieces of the rows."""
    row, rows = 0, len(offsets) - 1
    while row < rows:
        after = int(np.searchsorted(offsets, offsets[row] + _PIECE_BYTES, side="right")) - 1
        after = min(max(after, row + 1), rows)
        yield row, after
        row = after


def _deal(text: bytes, offsets: Array, states: Array, streams: dict[int, Any]) -> None:
    """Write each row of a piece to the stream of its state, in the order of the input."""
    bounds = (offsets - offsets[0]).tolist()
    order = np.argsort(states, kind="stable")
    sizes = np.bincount(states, minlength=1)
    first = int(sizes[0])
    for state, size in enumerate(sizes[1:].tolist(), 1):
        if size:
            rows = order[first : first + size].tolist()
            lines = [text[bounds[row] : bounds[row + 1]] for row in rows]
            if not lines[-1].endswith(b"\n"):
                lines[-1] += b"\n"
            streams[state].write(b"".join(lines))
            first += size
