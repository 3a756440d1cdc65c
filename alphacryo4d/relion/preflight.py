"""What must hold before RELION starts: it reads damaged input as garbage and exits with 0."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.program import refuse_unsafe_name
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.core.settings import IMAGES_FROM
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.io.star import IMAGE_COLUMN
from alphacryo4d.particles.particle_set import ParticleSet, read_particles, stack_file
from alphacryo4d.particles.stacks import KnownStacks
from alphacryo4d.relion.version import Version

_CHUNK = 512
_NAMED = 10
_BACKGROUND = 0.5
"""Background of the middle image, in its standard deviations, from which it is not normalised."""


def check_particles(
    path: Path,
    *,
    version: Version,
    rows: Array | None = None,
    need_poses: bool = True,
    stacks_of: KnownStacks | None = None,
    progress: Progress = no_progress,
) -> ParticleSet:
    """Read a particle table and every image of it once; refuse what RELION would not notice.

    Parameters
    ----------
    path : Path
        Particle table.
    version : Version
        RELION that is to read it.
    rows : (n,) int array, optional
        Rows whose images are used; all by default.
    need_poses : bool
        Refuse a table without poses.
    stacks_of : callable, optional
        Tells where stacks are, as for ``read_particles``.

    Raises
    ------
    InputError
        A truncated stack, a pixel that is not finite, a blank line in the table, an odd box, an
        image beyond its stack, a name that RELION would mangle, a dialect that it cannot read,
        images that are not normalised or unlike all others.
    """
    refuse_unsafe_name(path.name, program="RELION")
    particles = read_particles(path, need_poses=need_poses, stacks_of=stacks_of)
    if particles.table.dialect == "3.1" and version < (3, 1):
        raise InputError(
            f"{path}: has optics groups, which RELION {version} cannot read; load RELION 3.1 or "
            "newer, or write the table for RELION 3.0"
        )
    if particles.image_sign is not None:
        raise InputError(
            f"{path}: the images are dark on light (blob/sign of cryoSPARC is -1), which RELION "
            "does not know; invert them with relion_image_handler --multiply_constant -1, or take "
            "--engine native"
        )
    for stack in stack_names(particles):
        refuse_unsafe_name(stack_file(stack), program="RELION")
    used = np.arange(len(particles)) if rows is None else rows
    _refuse_levels(particles, used, _levels(particles, used, progress))
    return particles


def _levels(particles: ParticleSet, rows: Array, progress: Progress) -> Array:
    """Read all images; mean and deviation of their background, and deviation, (n, 3)."""
    from alphacryo4d.ml3d.background import circle, level

    levels = np.zeros((len(rows), 3))
    for first in range(0, len(rows), _CHUNK):
        part = rows[first : first + _CHUNK]
        boxes = particles.optics.box[particles.optics_group[part]]
        for box in np.unique(boxes):
            rows_of_box = part[boxes == box]
            if box % 2:
                stack = particles.stacks[particles.stack_index[rows_of_box[0]]]
                raise InputError(
                    f"{stack}: images of {box} x {box} px; RELION needs an even box: crop or pad "
                    "them (relion_image_handler --new_box), or take --engine native"
                )
            images = particles.images(rows_of_box)
            levels[first:][: len(part)][boxes == box] = level(images, circle(box), "none")
        progress(first + len(part), len(rows), "checking images")
    return levels


def _refuse_levels(particles: ParticleSet, rows: Array, levels: Array) -> None:
    """Refuse images that our own engine levels or leaves out, and of which RELION only warns."""
    from alphacryo4d.ml3d.background import typical_of

    filled = levels[:, 1] > 0
    offset = float(np.median(levels[filled, 0] / levels[filled, 1])) if filled.any() else 0.0
    if abs(offset) > _BACKGROUND:
        raise InputError(
            f"{particles.path}: the images are not normalised: their background is {offset:.3g} "
            "standard deviations, not 0; normalise the stacks (relion_preprocess --operate_on "
            "STACK --operate_out OUT --norm --bg_radius PIXELS), or take --engine native, which "
            "levels them when it reads them"
        )
    group = particles.optics_group[rows]
    strange = typical_of(levels, group, len(particles.optics)).outliers(levels, group)
    if strange.any():
        named = ", ".join(str(row + 1) for row in rows[strange][:_NAMED].tolist())
        more = f" and {int(strange.sum()) - _NAMED} more" if strange.sum() > _NAMED else ""
        raise InputError(
            f"{particles.path}: {int(strange.sum())} of {len(rows)} images are constant or of a "
            f"contrast far from that of all others, which ruins RELION's classes: row {named}{more}"
            "; remove these rows, or take --engine native, which gives them no weight"
        )


def stack_names(particles: ParticleSet) -> list[str]:
    """Stacks as the table names them."""
    return particles.table.read_parts([], images=True)[1][IMAGE_COLUMN][1]


def image_root(particles: ParticleSet) -> Path:
    """Folder from which RELION finds every stack of the table.

    Raises
    ------
    InputError
        Some stacks are found from here, others only from the table's folder.
    """
    names = [stack_file(name) for name in stack_names(particles)]
    given = os.environ.get(IMAGES_FROM)
    roots = [Path(given)] if given else []
    roots += [Path.cwd(), particles.path.parent.absolute()]
    if names and str(particles.stacks[0].absolute()).endswith(f"/{names[0]}"):
        roots.append(Path(str(particles.stacks[0].absolute()).removesuffix(f"/{names[0]}")))
    for root in roots:
        pairs = zip(names, particles.stacks, strict=True)
        if all(_is_file_of(root / name, stack) for name, stack in pairs):
            return root
    raise InputError(
        f"{particles.path}: there is no folder from which RELION finds every stack by its name in "
        f"the table, such as {names[0]} for {particles.stacks[0]}: give all paths from one folder, "
        "or link the stacks there"
    )


def _is_file_of(path: Path, stack: Path) -> bool:
    return path.is_file() and (path == stack or path.samefile(stack))


def check_map(path: Path, particles: ParticleSet, *, what: str, is_mask: bool = False) -> None:
    """Refuse a reference or mask that does not fit the particles (RELION 3.1 dies on it late).

    Raises
    ------
    InputError
        Another box or voxel size, or a mask with values outside 0 to 1.
    """
    volume, voxel_size = read_volume(path)
    box, pixel_size = particles.box, particles.pixel_size
    if volume.shape[0] != box:
        raise InputError(
            f"{path}: the {what} has a box of {volume.shape[0]} voxels, the particles {box} "
            "pixels; crop or pad it (relion_image_handler --new_box)"
        )
    if voxel_size > 0 and voxel_size != 1 and abs(voxel_size - pixel_size) > 1e-3 * pixel_size:
        raise InputError(
            f"{path}: the {what} has voxels of {voxel_size:g} A, the particles pixels of "
            f"{pixel_size:g} A; rescale it (relion_image_handler --rescale_angpix)"
        )
    if is_mask and (volume.min() < -1e-4 or volume.max() > 1 + 1e-4 or volume.max() <= 0):
        raise InputError(
            f"{path}: mask values run from {volume.min():g} to {volume.max():g}; "
            "they must be from 0 to 1, with 1 somewhere"
        )


def name_from(root: Path, path: Path) -> Path:
    """Shortest name of a path as seen from a folder, refused where RELION would mangle it.

    Parameters
    ----------
    root : Path
        Working directory of RELION.
    path : Path
        File or folder, relative to the working directory of this process.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links of the user stay as they are
    name = absolute.relative_to(root) if absolute.is_relative_to(root) else absolute
    refuse_unsafe_name(name, program="RELION")
    return name
