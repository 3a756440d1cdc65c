"""Faults of pixels: values that are not finite, in all images or in a sample spread over all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress
from alphacryo4d.io.mrc import MrcHeader, open_stack, read_header
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.stacks import resolve_stack

Array = np.ndarray[Any, Any]

SAMPLED_IMAGES = 1000
_CHUNK_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class StackReport:
    """One image file of a table: where it was found and what its header says."""

    name: str
    path: Path | None
    header: MrcHeader | None
    problem: str


def read_stacks(names: list[str], table: Path) -> list[StackReport]:
    """Find every stack and read its header."""
    reports = []
    for name in names:
        path = resolve_stack(name, table)
        header, problem = None, ""
        if path is not None:
            try:
                header = read_header(path)
            except InputError as error:
                problem = str(error)
        reports.append(StackReport(name, path, header, problem))
    return reports


def pixel_faults(
    table: Path,
    stacks: list[StackReport],
    codes: Array,
    numbers: Array,
    rows: Array,
    *,
    full: bool,
    progress: Progress,
) -> list[Fault]:
    """Images with pixels that are not finite, among all or among a sample spread over all."""
    count = len(codes)
    step = 1 if full else max(1, count // SAMPLED_IMAGES)
    chosen = np.arange(0, count, step)
    chosen = chosen[np.lexsort((numbers[chosen], codes[chosen]))]
    faults: list[Fault] = []
    done = 0
    bounds = np.flatnonzero(np.diff(codes[chosen], prepend=-1, append=-1))
    for first, after in zip(bounds[:-1], bounds[1:], strict=True):
        part = chosen[first:after]
        stack = stacks[codes[part[0]]]
        if stack.path is not None and stack.header is not None:
            faults += _stack_pixels(table, stack.path, stack.header, numbers[part], rows[part])
        done += len(part)
        progress(done, len(chosen), "checking pixels")
    return faults


def _stack_pixels(
    table: Path, path: Path, header: MrcHeader, numbers: Array, rows: Array
) -> list[Fault]:
    if header.dtype[-2] != "f" or not header.available:
        return []
    whole = dataclasses.replace(header, shape=(header.available, *header.shape[1:]))
    pixels = open_stack(path, whole)
    inside = (numbers >= 1) & (numbers <= header.available)
    numbers, rows = numbers[inside].astype(np.int64), rows[inside]
    size = max(1, _CHUNK_BYTES // (4 * header.shape[1] * header.shape[2]))
    faults = []
    for first in range(0, len(numbers), size):
        images = pixels[numbers[first : first + size] - 1]
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(images.sum(dtype=np.float64)):
                continue
        for image, number, row in zip(images, numbers[first:], rows[first:], strict=False):
            bad = np.argwhere(~np.isfinite(image))
            if len(bad):
                faults.append(
                    Fault(
                        path,
                        f"image {number} (row {row + 1} of {table.name})",
                        f"{len(bad)} pixels are not finite, first at y {bad[0][0]}, x {bad[0][1]}",
                        "remove the particle or extract it again",
                        "not-finite-pixels",
                    )
                )
    return faults
