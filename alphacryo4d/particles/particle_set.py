"""Particles as arrays: poses, shifts, CTF and optics in degrees and Angstrom, images on demand.

The table keeps its own words and units; here everything is what the science needs, whatever the
dialect: RELION 3.0 (one table, origins in pixels), RELION 3.1 to 5 (optics groups, Angstrom).
"""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array, as_slice
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import open_stack, release_pages
from alphacryo4d.io.star import IMAGE_COLUMN, SIGN_COLUMN, ParticleTable
from alphacryo4d.particles.aberrations import SINGLE, single_columns
from alphacryo4d.particles.grids import known, output_grid
from alphacryo4d.particles.kinds import refuse_tomography
from alphacryo4d.particles.measured import Measured
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.optics import Optics, read_optics
from alphacryo4d.particles.origins import (
    ANGLES,
    OLD_ORIGINS,
    ORIGINS,
    SUBSET,
    columns_of,
    image_signs,
    read_shifts,
    read_subset,
    require_poses,
)
from alphacryo4d.particles.plausible import refuse_implausible
from alphacryo4d.particles.stacks import (
    KnownStacks,
    image_places,
    resolve_stack,
    stack_file,
    with_boxes,
)
from alphacryo4d.particles.watched import WatchedStacks

__all__ = [
    "ANGLES",
    "OLD_ORIGINS",
    "ORIGINS",
    "Optics",
    "ParticleSet",
    "read_particles",
    "resolve_stack",
    "stack_file",
]

DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_OPEN_STACKS = 256


@dataclasses.dataclass(frozen=True, eq=False)
class ParticleSet:
    """Particles with their poses, CTF and images.

    Attributes
    ----------
    table : ParticleTable
        Where the rows come from; it writes them again byte for byte.
    angles : (P, 3) float64
        rot, tilt, psi in degrees (ZYZ).
    shifts : (P, 2) float64
        x, y in Angstrom, to be applied to the image to centre the particle.
    defocus : (P, 3) float64
        U and V in Angstrom, angle in degrees.
    phase_shift : (P,) float64
        Degrees.
    bfactor, ctf_scale : (P,) float64
        B factor (A^2) and scale of the CTF.
    optics : Optics
        Optics groups.
    optics_group : (P,) int32
        Index into ``optics``, from 0.
    random_subset : (P,) int8 or None
        Half-set, 1 or 2.
    stacks : tuple of Path
        Image files, as they can be opened from here.
    stack_index, slice_index : (P,) int32, (P,) int64, slices from 0
    image_sign : (P,) float32 or None
        -1 where an image is dark on light and must be inverted (cryoSPARC's ``blob/sign``).
    wanted_grid : (int or None, float or None)
        Box (pixels) and voxel size (A) that volumes shall have, where they were asked for.
    """

    table: ParticleTable
    angles: Array
    shifts: Array
    defocus: Array
    phase_shift: Array
    bfactor: Array
    ctf_scale: Array
    optics: Optics
    optics_group: Array
    random_subset: Array | None
    stacks: tuple[Path, ...]
    stack_index: Array
    slice_index: Array
    image_sign: Array | None = None
    wanted_grid: tuple[int | None, float | None] = (None, None)

    def __len__(self) -> int:
        return len(self.angles)

    @property
    def path(self) -> Path:
        """File of the table."""
        return self.table.path

    def on_grid(self, box: int | None, voxel_size: float | None) -> ParticleSet:
        """The same particles for volumes of another box (pixels) or voxel size (A)."""
        return dataclasses.replace(self, wanted_grid=(box, voxel_size))

    @functools.cached_property
    def grid(self) -> tuple[int, float]:
        """Box (pixels, even) and pixel size (A) of volumes from these particles."""
        return output_grid(self.path, self.optics, self.optics_group, self.wanted_grid)

    @property
    def box(self) -> int:
        """Box of volumes in pixels: of the first optics group unless another was asked for."""
        return int(known(self.path, self.grid[0], "box size"))

    @property
    def pixel_size(self) -> float:
        """Voxel size of volumes in Angstrom, likewise."""
        return float(known(self.path, self.grid[1], "pixel size"))

    @functools.cached_property
    def measured(self) -> Measured:
        """What was measured of the images so far."""
        return Measured()

    @functools.cached_property
    def _maps(self) -> OrderedDict[int, Array]:
        return OrderedDict()

    @functools.cached_property
    def _watched(self) -> WatchedStacks:
        return WatchedStacks()

    def _stack(self, number: int) -> Array:
        maps = self._maps
        if number in maps:
            maps.move_to_end(number)
            return maps[number]
        self._watched.require_unchanged(self.stacks[number])
        stack = maps[number] = open_stack(self.stacks[number])
        if len(maps) > _OPEN_STACKS:
            maps.popitem(last=False)
        return stack

    def images(self, rows: Any) -> Array:
        """Images of some particles.

        Parameters
        ----------
        rows : (n,) int
            Row numbers from 0, in any order, of optics groups of one box.

        Returns
        -------
        (n, box, box) float32 array
            Pixels in y, x.

        Raises
        ------
        InputError
            A stack is gone or truncated, an image lies beyond it or is not finite.
        """
        rows = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        boxes = np.unique(self.optics.box[self.optics_group[rows]])
        if len(boxes) > 1:
            raise InputError(f"{self.path}: images of boxes {boxes.tolist()} px in one array")
        box = int(boxes[0]) if len(boxes) else self.box
        images = np.empty((len(rows), box, box), np.float32)
        stacks = self.stack_index[rows]
        order = np.lexsort((self.slice_index[rows], stacks))
        bounds = np.flatnonzero(np.diff(stacks[order], prepend=-1, append=-1))
        for first, after in zip(bounds[:-1], bounds[1:], strict=True):
            places = order[first:after]
            number = int(stacks[places[0]])
            stack, slices = self._stack(number), self.slice_index[rows[places]]
            beyond = slices[(slices < 0) | (slices >= len(stack))]
            if beyond.size:
                raise InputError(
                    f"{self.stacks[number]}: image {beyond[0] + 1} is asked for, the stack holds "
                    f"{len(stack)}; restore the stack or the table"
                )
            if stack.shape[1:] != images.shape[1:]:
                raise InputError(
                    f"{self.stacks[number]}: images of {stack.shape[2]} x {stack.shape[1]} px, "
                    f"the table says {box}; take the stack that belongs to the table"
                )
            images[as_slice(places)] = stack[as_slice(slices)]
            self._watched.require_unchanged(self.stacks[number])
            release_pages(stack)
        if self.image_sign is not None:
            images *= self.image_sign[rows][:, None, None]
        with np.errstate(invalid="ignore", over="ignore"):
            finite = bool(np.isfinite(images.sum()))
        if not finite:  # a pixel, or the sum of large ones
            self._refuse_not_finite(images, rows)
        return images

    def _refuse_not_finite(self, images: Array, rows: Array) -> None:
        for image, row in zip(images, rows, strict=True):
            bad = np.argwhere(~np.isfinite(image))
            if len(bad):
                raise InputError(
                    f"{self.stacks[self.stack_index[row]]}: image {self.slice_index[row] + 1} "
                    f"(row {row + 1} of {self.path}) is not finite at y {bad[0][0]}, x {bad[0][1]};"
                    " remove the particle or extract it again"
                )


def read_particles(
    path: Path,
    *,
    pixel_size: float | None = None,
    voltage: float | None = None,
    spherical_aberration: float | None = None,
    amplitude_contrast: float | None = None,
    need_poses: bool = True,
    need_images: bool = True,
    stacks_of: KnownStacks | None = None,
) -> ParticleSet:
    """Read a particle table.

    Parameters
    ----------
    path : Path
        STAR of RELION 3.0 to 5, or ``.cs``.
    pixel_size, voltage, spherical_aberration, amplitude_contrast : float, optional
        Angstrom, kV, mm, fraction: used for all particles, also instead of the table's values.
    need_poses : bool
        Refuse a table without poses.
    need_images : bool
        Refuse missing stacks and missing CTF values. Without it such values become NaN, boxes 0.
    stacks_of : callable, optional
        Tells where stacks are (:func:`alphacryo4d.particles.recorded.recorded_stacks`).

    Raises
    ------
    InputError
        What is missing or cannot be used (subtomograms, tilt series), with the way out.
    """
    table = open_table(Path(path))
    refuse_tomography(table)
    columns = set(table.columns)
    if need_poses:
        require_poses(table)
    table.require([IMAGE_COLUMN, *DEFOCUS] if need_images else [])
    wanted = [*ANGLES, *DEFOCUS, *ORIGINS, *OLD_ORIGINS, *SINGLE, SUBSET, "rlnOpticsGroup"]
    wanted = [name for name in [*wanted, SIGN_COLUMN] if name in columns]
    numbers, texts = table.read_parts(wanted, images=IMAGE_COLUMN in columns, shared=SINGLE)
    places = image_places(table, numbers, texts, required=need_images, known=stacks_of)
    given = {
        "pixel_size": pixel_size,
        "voltage": voltage,
        "spherical_aberration": spherical_aberration,
        "amplitude_contrast": amplitude_contrast,
    }
    own = numbers.pop("rlnOpticsGroup", None)
    optics, group = read_optics(table, own, given, complete=need_images)
    if need_images:
        refuse_implausible(table.path, optics, group)
        optics = with_boxes(table, optics, group, places[0], places[1])
    shifts = read_shifts(table, numbers, optics.pixel_size[group])
    numbers = {n: v for n, v in numbers.items() if n not in (*ORIGINS, *OLD_ORIGINS)}
    single = single_columns(table, numbers, optics.row[group])
    particles = ParticleSet(
        table=table,
        angles=columns_of(table, numbers, ANGLES),
        shifts=shifts,
        defocus=columns_of(table, numbers, DEFOCUS),
        phase_shift=single["rlnPhaseShift"],
        bfactor=single["rlnCtfBfactor"],
        ctf_scale=single["rlnCtfScalefactor"],
        optics=optics,
        optics_group=group,
        random_subset=read_subset(table, numbers.get(SUBSET)),
        stacks=places[0],
        stack_index=places[1],
        slice_index=places[2],
        image_sign=image_signs(table, numbers),
    )
    if need_images:
        _ = particles.box, particles.pixel_size
    return particles
