"""Faults of pixels: what is read from the images, all of them or a sample spread over all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress
from alphacryo4d.core.words import plural
from alphacryo4d.io.mrc import MrcHeader, open_stack, read_header
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.ml3d.background import circle
from alphacryo4d.particles.stacks import resolve_stack
from alphacryo4d.particles.typical import spread_rows
from alphacryo4d.particles.view_scales import one_scale
from alphacryo4d.tools.check_outliers import Pixels, image_faults, unsigned_fault
from alphacryo4d.tools.check_views import view_faults

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
    signs: Array | None = None,
    angles: Array | None = None,
    group: Array | None = None,
    micrograph: Array | None = None,
    full: bool,
    progress: Progress,
) -> list[Fault]:
    """Images that are not finite, or are unlikely, among all or a sample spread over all.

    Parameters
    ----------
    table : Path
        For messages.
    stacks : list of StackReport
        Stacks of the table.
    codes, numbers : (P,) arrays
        Stack and image number (from 1) of every particle.
    rows : (P,) int
        Row numbers in the file, from 0.
    signs : (P,) array, optional
        -1 for images that are dark on light, as the table says.
    angles : (P, 3) array, optional
        Of the poses (degrees).
    group : (P,) int array, optional
        Optics group, from 0.
    micrograph : (P,) int array, optional
        Number of the micrograph of every particle.
    full : bool
        Look at all pixels.
    progress : callback
        Called while pixels are read.
    """
    faults, parts = _looked_at(table, stacks, codes, numbers, rows, micrograph, full, progress)
    if not parts:
        return faults
    pixels = np.concatenate(parts).T
    integers = [values.astype(np.int64) for values in pixels[[1, 0, 2]]]
    looked_at = np.searchsorted(rows, integers[0])
    sign = None if signs is None else signs[looked_at]
    names, figures = [stack.name for stack in stacks], Pixels(*integers, *pixels[3:])
    faults += image_faults(table, names, figures, sign)
    if angles is not None:
        mine = np.zeros(len(looked_at), int) if group is None else group[looked_at]
        unit = one_scale(None if micrograph is None else micrograph[looked_at], mine)
        faults += view_faults(table, figures.ring, angles[looked_at], unit)
    return faults


def _looked_at(
    table: Path,
    stacks: list[StackReport],
    codes: Array,
    numbers: Array,
    rows: Array,
    micrograph: Array | None,
    full: bool,
    progress: Progress,
) -> tuple[list[Fault], list[Array]]:
    """Faults of the pixels, and stack, row, number and figures of the images of every stack."""
    count = len(codes)
    chosen = spread_rows(count, count if full else SAMPLED_IMAGES, micrograph)
    chosen = chosen[np.lexsort((numbers[chosen], codes[chosen]))]
    faults: list[Fault] = []
    parts: list[Array] = []
    done = 0
    bounds = np.flatnonzero(np.diff(codes[chosen], prepend=-1, append=-1))
    for first, after in zip(bounds[:-1], bounds[1:], strict=True):
        part = chosen[first:after]
        code = int(codes[part[0]])
        if _can_be_read(stacks[code]):
            more, figures = _stack_pixels(table, stacks[code], numbers[part], rows[part])
            faults += more
            parts.append(np.column_stack([np.full(len(figures), code), figures]))
        done += len(part)
        progress(done, len(chosen), "checking pixels")
    return faults, parts


def _can_be_read(stack: StackReport) -> bool:
    header = stack.header
    return (
        stack.path is not None
        and header is not None
        and header.available > 0
        and header.axes_are_plain
        and header.shape[1] == header.shape[2]
    )


def _stack_pixels(
    table: Path, stack: StackReport, numbers: Array, rows: Array
) -> tuple[list[Fault], Array]:
    """Faults of one stack, and row, number and figures of each of its images (columns)."""
    path, header = stack.path, stack.header
    assert path is not None
    assert header is not None
    whole = dataclasses.replace(header, shape=(header.available, *header.shape[1:]))
    pixels = open_stack(path, whole)
    inside = (numbers >= 1) & (numbers <= header.available)
    numbers, rows = numbers[inside].astype(np.int64), rows[inside]
    size = max(1, _CHUNK_BYTES // (4 * header.shape[1] * header.shape[2]))
    outside, middle = _regions(header.shape[1])
    ring = ~circle(header.shape[1]).ravel()
    ring |= not ring.any()  # a single pixel
    faults, figures = [], [np.empty((0, 7))]
    wrapped = 0
    for first in range(0, len(numbers), size):
        part = slice(first, first + size)
        stored = pixels[numbers[part] - 1]
        wrapped += _wrapped(stored)
        with np.errstate(invalid="ignore", over="ignore"):
            images = stored.reshape(len(stored), -1).astype(np.float64)
            finite = np.isfinite(images.sum(axis=1)) & np.isfinite(np.square(images).sum(axis=1))
        for place in np.flatnonzero(~finite).tolist():
            number, row = int(numbers[part][place]), int(rows[part][place])
            faults += _not_finite(table, path, stored[place], number, row)
        good, rest = images[finite], images[finite][:, outside]
        columns = [rows[part][finite], numbers[part][finite], rest.mean(axis=1), rest.std(axis=1)]
        columns += [good[:, middle].mean(axis=1), good.std(axis=1), good[:, ring].std(axis=1)]
        figures.append(np.column_stack(columns))
    if wrapped > len(numbers) / 2:
        faults.append(unsigned_fault(path, header.dtype))
    return faults, np.concatenate(figures)


def _not_finite(table: Path, path: Path, image: Array, number: int, row: int) -> list[Fault]:
    where, way_out = f"image {number} (row {row + 1} of {table.name})", "extract it again"
    bad = np.argwhere(~np.isfinite(image))
    what = (
        f"{plural(len(bad), 'pixel')} not finite, first at y {bad[0][0]}, x {bad[0][1]}"
        if len(bad)
        else f"pixels up to {np.abs(image).max():.3g} are no densities"
    )
    return [Fault(path, where, what, f"remove the particle or {way_out}", "not-finite-pixels")]


def _regions(box: int) -> tuple[Array, Array]:
    """Pixels outside the inscribed circle, and within half of its radius."""
    line = np.arange(box) - box // 2
    radius = np.hypot(*np.meshgrid(line, line)).ravel()
    outside, middle = radius > box / 2, radius <= box / 4
    return (outside if outside.any() else radius >= 0), middle


def _wrapped(images: Array) -> int:
    """How many images of signed integers are far smoother when they are taken as unsigned."""
    if images.dtype.kind != "i":
        return 0
    whole = images.reshape(len(images), -1)
    signed = whole.astype(np.float64).std(axis=1)
    unsigned = whole.astype(f"{images.dtype.newbyteorder('=').str[1:]}").view(
        f"u{images.dtype.itemsize}"
    )
    limit = 2.0 ** (8 * images.dtype.itemsize - 2)
    ends = (whole.min(axis=1) < -limit) & (whole.max(axis=1) > limit)
    return int((ends & (unsigned.astype(np.float64).std(axis=1) < signed / 2)).sum())
