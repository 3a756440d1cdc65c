"""Several particles on one image: symmetry-expanded tables, and duplicates.

``relion_particle_symmetry_expand`` and cryoSPARC's Symmetry Expansion list every image once for
each element of the group, with another pose. Such copies share their noise: they stay in one fold
and in one half-set, or the folds and the half maps would not be independent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import IMAGE_COLUMN, ParticleTable
from alphacryo4d.io.tables.faults import Fault
from alphacryo4d.particles.stacks import resolve_stack, stack_file

if TYPE_CHECKING:
    from alphacryo4d.particles.particle_set import ParticleSet

logger = logging.getLogger(__name__)


_SAME_TURN, _SAME_SHIFT = 1e-3, 0.01
"""Poses are the same within so much (of a rotation matrix; Angstrom): what rounding makes."""
_MOST_COPIES = 200
"""Copies of an image that are compared with each other; the largest point group has 120."""


def image_ids(stacks: Sequence[Path], stack_index: Array, number: Array) -> Array:
    """Number of the image of every particle, from 0, the same for rows of one image.

    Parameters
    ----------
    stacks : sequence of Path
        Image files; two names of one file are one.
    stack_index, number : (P,) int arrays
        Stack of every particle, and image in it.
    """
    files: dict[str, int] = {}
    place = np.array([files.setdefault(_real_name(p), len(files)) for p in stacks], np.int64)
    within = np.clip(np.asarray(number), -1, 1 << 39).astype(np.int64)
    keys = place[stack_index] * (1 << 40) + within
    ids = np.unique(keys, return_inverse=True)[1]
    return np.asarray(ids, np.int64)


def _real_name(path: Path) -> str:
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):
        return str(path)


def table_images(table: ParticleTable) -> Array:
    """:func:`image_ids` of a table whose images need not be there; all differ without images."""
    if IMAGE_COLUMN not in table.columns:
        return np.arange(table.rows)
    numbers, texts = table.read_parts([], images=True)
    codes, names = texts[IMAGE_COLUMN]
    stacks = [resolve_stack(name, table.path) or Path(stack_file(name)) for name in names]
    return image_ids(stacks, codes, np.nan_to_num(numbers[IMAGE_COLUMN]))


def particle_images(particles: ParticleSet) -> Array:
    """:func:`image_ids` of particles."""
    if not particles.stacks:
        return np.arange(len(particles))
    return image_ids(particles.stacks, particles.stack_index, particles.slice_index)


def image_count(ids: Array) -> int:
    """How many images the rows are of."""
    return int(ids.max(initial=-1)) + 1


def counted_once(ids: Array) -> Array:
    """Weight (P,) of every row, so that all rows of an image weigh one together."""
    weights: Array = 1.0 / np.bincount(ids)[ids]
    return weights


def images_of_volumes(assignments: Array, copies: Array, volumes: int) -> Array:
    """Images (V,) that every volume holds, each once.

    Parameters
    ----------
    assignments : (P, M + 1) int array
        Volume of every particle in every fold; negative where it has none.
    copies : (P,) int array
        Image of every particle.
    volumes : int
    """
    images = np.zeros(volumes)
    for column in assignments.T:
        inside = column >= 0
        held = np.unique(np.stack([column[inside], copies[inside]]), axis=1)
        images += np.bincount(held[0], minlength=volumes)
    return images


def copied_images(particles: ParticleSet) -> Array | None:
    """Image of every particle where some share one, or None."""
    ids = particle_images(particles)
    return None if image_count(ids) == len(ids) else ids


def shared_images(particles: ParticleSet) -> Array | None:
    """Image of every particle where some share one, which is said; or None."""
    ids = copied_images(particles)
    if ids is not None:
        logger.info(
            "%d particles of %d images: copies stay in one fold", len(ids), image_count(ids)
        )
    return ids


def half_sets(particles: ParticleSet) -> Array:
    """Half (0 or 1) of every particle, all copies of an image in one.

    ``rlnRandomSubset``, or a split of the images that is always the same.

    Raises
    ------
    InputError
        The table has copies of one image in both half-sets.
    """
    from alphacryo4d.ml3d.reconstruct import random_half_sets

    ids = particle_images(particles)
    subset = particles.random_subset
    if subset is None:
        mine: Array = random_half_sets(image_count(ids))
        return mine[ids] if image_count(ids) < len(ids) else mine
    for fault in split_copies(particles.path, ids, subset):
        raise fault.error()
    return np.asarray(subset - 1, np.int8)


def half_sets_within(particles: ParticleSet, whole: ParticleSet) -> Array:
    """Half (0 or 1) that some particles have among all of a table, (n,), by their images.

    Raises
    ------
    InputError
        One of the particles is not in that table.
    """
    first = len(whole)
    ids = image_ids(
        [*whole.stacks, *particles.stacks],
        np.concatenate([whole.stack_index, particles.stack_index + len(whole.stacks)]),
        np.concatenate([whole.slice_index, particles.slice_index]),
    )
    halves = np.full(image_count(ids), -1, np.int8)
    halves[ids[:first]] = half_sets(whole)
    mine: Array = halves[ids[first:]]
    if (mine < 0).any():
        raise InputError(
            f"{particles.path}: row {int(np.argmax(mine < 0)) + 1}: its image is not in "
            f"{whole.path}, whose halves the half maps have; make the tables of the states again "
            "with `vote`, or ask for `--half-sets fresh`"
        )
    return mine


def batch_half_sets(particles: ParticleSet, rows: Array) -> Array | None:
    """Half of some particles, or None where any split will do: no column, and no copies."""
    if particles.random_subset is None:
        ids = particle_images(particles)
        if image_count(ids) == len(ids):
            return None
    return np.asarray(half_sets(particles)[rows], np.int32)


def split_copies(path: Path, ids: Array, subset: Array) -> list[Fault]:
    """Fault where copies of an image are in both half-sets, which then are not independent."""
    low, high = np.full(image_count(ids), np.inf), np.full(image_count(ids), -np.inf)
    subset = np.nan_to_num(np.asarray(subset, np.float64))
    np.minimum.at(low, ids, subset)
    np.maximum.at(high, ids, subset)
    both = high > low
    if not both.any():
        return []
    row = int(np.argmax(both[ids]))
    what = (
        f"rlnRandomSubset puts copies of one image into both half-sets ({int(both.sum())} images); "
        "their half maps are not independent"
    )
    way_out = (
        "split the images before the symmetry expansion, or remove the column: half-sets are then "
        "made here, by image"
    )
    return [Fault(path, f"row {row + 1}", what, way_out, "split-copies")]


def same_poses(ids: Array, angles: Array | None, shifts: Array | None) -> tuple[Array, Array]:
    """Rows that repeat another: the same image with the same pose.

    Parameters
    ----------
    ids : (P,) int array
        :func:`image_ids`.
    angles : (P, 3) float array or None
        Degrees; without poses every copy repeats the first.
    shifts : (P, 2) float array or None
        Angstrom.

    Returns
    -------
    (n,) int array, (n,) int array
        Rows, and the rows that repeat them, from 0, by the second.
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    repeated = np.zeros(len(ids), bool)
    partner = np.zeros(len(ids), np.int64)
    turns = None if angles is None else _matrices(angles[order])
    for step in range(1, min(len(ids), _MOST_COPIES)):
        same = ordered[step:] == ordered[:-step]
        if not same.any():
            break
        later = np.flatnonzero(same) + step
        if turns is not None and shifts is not None:
            near = np.abs(turns[later] - turns[later - step]).max(axis=1) < _SAME_TURN
            moved = np.abs(shifts[order[later]] - shifts[order[later - step]]).max(axis=1)
            later = later[near & (moved < _SAME_SHIFT)]
        partner[later] = later - step
        repeated[later] = True
    repeats = np.flatnonzero(repeated)
    repeats = repeats[np.argsort(order[repeats], kind="stable")]
    return order[partner[repeats]], order[repeats]


def _matrices(angles: Array) -> Array:
    """The nine elements of the rotation of each pose, (P, 9), equal for equal rotations."""
    from alphacryo4d.maths.rotations import euler_matrices

    with np.errstate(invalid="ignore"):
        return np.nan_to_num(euler_matrices(np.nan_to_num(angles))).reshape(len(angles), 9)
