"""Faults of image stacks: missing, truncated, images beyond the end, bad pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress
from alphacryo4d.core.words import plural
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.copies import image_count, image_ids, same_poses, split_copies
from alphacryo4d.particles.stacks import rival_fault, way_to_stacks
from alphacryo4d.tools.check_pixels import StackReport, pixel_faults

MOST_OF_A_KIND = 10
_PIXEL_SIZE_TOLERANCE = 0.005


def find_image_faults(
    table: Path,
    stacks: list[StackReport],
    codes: Array,
    numbers: Array,
    groups: tuple[Any, Array] | None,
    rows: Array,
    *,
    signs: Array | None = None,
    poses: tuple[Array, Array] | None = None,
    subset: Array | None = None,
    defocus: Array | None = None,
    micrograph: Array | None = None,
    full: bool,
    progress: Progress,
) -> list[Fault]:
    """Faults of the images of a table.

    Parameters
    ----------
    table : Path
        For messages.
    stacks : list of StackReport
        Stacks of the table.
    codes, numbers : (P,) arrays
        Stack and image number (from 1) of every particle.
    groups : (Optics, (P,) int) or None
        Optics and the group of every particle.
    rows : (P,) int
        Row numbers in the file, from 0.
    signs : (P,) array, optional
        -1 for images that the table calls dark on light.
    poses : ((P, 3), (P, 2)) arrays, optional
        Angles (degrees) and shifts (A).
    subset : (P,) array, optional
        Half-set of every particle, where they are split.
    defocus : (P,) array, optional
        Defocus U (A), which copies of one image share.
    micrograph : (P,) int array, optional
        Number of the micrograph of every particle.
    full : bool
        Look at all pixels.
    progress : callback
        Called while pixels are read.
    """
    kinds = [
        [fault for stack in stacks for fault in _stack_faults(table, stack)],
        _box_and_pixel_faults(stacks, codes, groups),
        _index_faults(table, stacks, codes, numbers, rows),
        copy_faults(table, stacks, codes, numbers, rows, poses, subset, defocus),
        pixel_faults(
            table, stacks, codes, numbers, rows, signs=signs,
            angles=None if poses is None else poses[0],
            group=None if groups is None else groups[1],
            micrograph=micrograph, full=full, progress=progress,
        ),
    ]  # fmt: skip
    return [fault for faults in kinds for fault in _shortened(faults)]


def _shortened(faults: list[Fault]) -> list[Fault]:
    """At most so many faults of a kind; the last one says how many more."""
    if len(faults) <= MOST_OF_A_KIND:
        return faults
    last = faults[MOST_OF_A_KIND - 1]
    more = len(faults) - MOST_OF_A_KIND
    return [
        *faults[: MOST_OF_A_KIND - 1],
        dataclasses.replace(last, what=f"{last.what} (and {more} more faults like this)"),
    ]


def _stack_faults(table: Path, stack: StackReport) -> list[Fault]:
    if stack.path is None:
        what, way_out = f"stack {stack.name!r} is missing", way_to_stacks(stack.name)
        return [Fault(table, "", what, way_out, "missing-stack")]
    if stack.header is None:
        what, _, way_out = stack.problem.removeprefix(f"{stack.path}: ").partition("; ")
        way_out = way_out or "restore the stack"
        return [Fault(stack.path, "", what, way_out, "unreadable-stack")]
    rival = rival_fault(stack.name, table)
    faults = [] if rival is None else [rival]
    if not stack.header.axes_are_plain:
        axes = stack.header.axes
        what = f"columns, rows and sections are stored as axes {axes}, not x, y, z"
        way_out = "write the stack again as x, y, z (RELION reads it as if it were so)"
        faults.append(Fault(stack.path, "", what, way_out, "axes"))
    sections, ny, nx = stack.header.shape
    if stack.header.available < sections:
        faults.append(
            Fault(
                stack.path,
                f"image {stack.header.available + 1}",
                f"truncated: the header promises {sections} images of {nx} x {ny}, the file holds "
                f"{stack.header.available}",
                "copy the stack again from its source",
                "truncated-stack",
            )
        )
    if nx != ny:
        faults.append(
            Fault(
                stack.path,
                "",
                f"images of {nx} x {ny} px are not square",
                "crop or pad them to a square box",
                "non-square-box",
            )
        )
    return faults


def _box_and_pixel_faults(
    stacks: list[StackReport], codes: Array, groups: tuple[Any, Array] | None
) -> list[Fault]:
    """Boxes and pixel sizes of headers that contradict the optics, or each other."""
    faults = []
    if groups is None:
        sizes = np.full(len(stacks), np.nan)
        boxes = np.zeros(len(stacks), np.int64)
        names = [""] * len(stacks)
        pairs = [(number, number) for number in range(len(stacks))]
    else:
        optics, index = groups
        sizes, boxes, names = optics.pixel_size, optics.box, optics.names
        keys = np.unique(index.astype(np.int64) * len(stacks) + codes)
        pairs = [divmod(key, len(stacks)) for key in keys.tolist()]
    for group, number in pairs:
        path, header = stacks[number].path, stacks[number].header
        if path is None or header is None:
            continue
        box, size = header.shape[2], sizes[group]
        if boxes[group] and boxes[group] != box:
            faults.append(
                Fault(
                    path,
                    "",
                    f"box of {box} px, but optics group {names[group]} has {boxes[group]} px",
                    "take the stack that belongs to the table",
                    "box-contradiction",
                )
            )
        if header.voxel_size_is_known and np.isfinite(size):
            difference = abs(header.voxel_size - size) / size
            if difference > _PIXEL_SIZE_TOLERANCE:
                faults.append(
                    Fault(
                        path,
                        "",
                        f"the header says {header.voxel_size:.4g} A a pixel, the table {size:.4g}",
                        "correct whichever is wrong, or give --pixel-size",
                        "pixel-size-contradiction",
                    )
                )
    return faults


def _index_faults(
    table: Path, stacks: list[StackReport], codes: Array, numbers: Array, rows: Array
) -> list[Fault]:
    limits = np.array(
        [np.inf if s.header is None else s.header.shape[0] for s in stacks], np.float64
    )
    bad = (numbers < 1) | (numbers > limits[codes]) | (numbers != np.floor(numbers))
    return [
        Fault(
            table,
            f"row {rows[row] + 1}",
            f"image {numbers[row]:.15g} of {stacks[codes[row]].name} is asked for, "
            f"the stack holds images 1 to {limits[codes[row]]:g}",
            "restore the stack or the row",
            "index-beyond-stack",
        )
        for row in np.flatnonzero(bad)
    ]


def copy_faults(
    table: Path,
    stacks: list[StackReport],
    codes: Array,
    numbers: Array,
    rows: Array,
    poses: tuple[Array, Array] | None,
    subset: Array | None,
    defocus: Array | None = None,
) -> list[Fault]:
    """Rows of one image and one pose, and copies of an image that are in both half-sets.

    Copies with other poses are symmetry-expanded on purpose and no fault.
    """
    places = [stack.path or Path(stack.name) for stack in stacks]
    ids = image_ids(places, codes, np.nan_to_num(numbers))
    if image_count(ids) == len(ids):
        return []
    angles, shifts = poses or (None, None)
    first, second = same_poses(ids, angles, shifts)
    if not len(second):
        both = split_copies(table, ids, subset) if subset is not None else []
        return [*both, _other_defocus(table, ids, rows, defocus) or _expanded(table, ids)]
    one, other = int(first[0]), int(second[0])
    more = f"; {len(second)} rows repeat others" if len(second) > 1 else ""
    pose = " with the same pose" if poses is not None else ""
    return [
        Fault(
            table,
            f"row {rows[other] + 1}",
            f"the same image as row {rows[one] + 1}{pose}: {numbers[other]:.15g} of "
            f"{stacks[codes[other]].name}{more}",
            "remove the repeated rows (relion_star_handler --remove_duplicates, or by image name); "
            "copies with other poses are kept",
            "duplicate",
        )
    ]


def _other_defocus(table: Path, ids: Array, rows: Array, defocus: Array | None) -> Fault | None:
    """Rows that name one image but differ in defocus: of different particles, not copies."""
    if defocus is None:
        return None
    _, firsts = np.unique(ids, return_index=True)
    first = firsts[ids]
    with np.errstate(invalid="ignore", over="ignore"):
        differ = np.abs(defocus - defocus[first]) > 1.0
    if not differ.any():
        return None
    row = int(np.argmax(differ))
    return Fault(
        table,
        f"row {rows[row] + 1}",
        f"the same image as row {rows[first[row]] + 1} with another defocus ({defocus[row]:g} and "
        f"{defocus[first[row]]:g} A; {plural(int(differ.sum()), 'row')}): the rows are of "
        "different particles, but name one image",
        "look whether the image names are right (stacks renamed, or joined in another order); the "
        "rows are kept in one fold",
        "shared-image",
        "warning",
    )


def _expanded(table: Path, ids: Array) -> Fault:
    return Fault(
        table,
        "",
        f"{len(ids)} particles are of {image_count(ids)} images (symmetry-expanded)",
        "taken as it is: copies of an image stay in one fold and one half-set; leave --symmetry "
        "at C1, since the copies stand for it",
        "symmetry-expanded",
        "warning",
    )
