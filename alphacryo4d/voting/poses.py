"""Local refinement of poses around the consensus, without commitment to a state.

The likelihood of a particle is summed over all states, so that a pose is never bent towards the
state that a particle happens to be in. Use volumes that have not seen the particle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution, viewing_order
from alphacryo4d.ml3d.kernels_linear import thread_count
from alphacryo4d.ml3d.model import Grid, resize_cubes
from alphacryo4d.ml3d.sums import View, expect
from alphacryo4d.voting.pose_scatter import PoseMoments, log_mean, softmax

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PoseChange:
    """Change of the poses of some particles.

    Attributes
    ----------
    rotations : (n, 3) float64
        Rotation vectors in the frame of the image (degrees): R becomes exp(rotation) R.
    shifts : (n, 2) float64
        Added to the shift that centres the image (Angstrom).
    gain : (n,) float64
        Rise of the log-likelihood.
    """

    rotations: Array
    shifts: Array
    gain: Array


def rotation_matrices(vectors: Array) -> Array:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3) in degrees (Rodrigues)."""
    radians = np.deg2rad(vectors)
    angle = np.linalg.norm(radians, axis=1)
    axis = radians / np.maximum(angle, 1e-12)[:, None]
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = axis
    cross[:, [1, 2, 0], [2, 0, 1]] = -axis
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    matrices: Array = np.eye(3) + sine * cross + (1 - cosine) * cross @ cross
    return matrices


def take_rows(images: PreparedImages, rows: Array) -> PreparedImages:
    """The same samples of some particles only, in the order of ``rows``."""
    third = np.cross(images.matrices[rows, 0], images.matrices[rows, 1])
    return replace(
        images,
        data=np.ascontiguousarray(images.data[rows]),
        ctf=np.ascontiguousarray(images.ctf[rows]),
        matrices=np.ascontiguousarray(images.matrices[rows]),
        group=np.ascontiguousarray(images.group[rows]),
        order=viewing_order(third.astype(np.float64)),
    )


def moved_images(images: PreparedImages, rotations: Array, shifts: Array) -> PreparedImages:
    """Samples with changed poses.

    Parameters
    ----------
    images : PreparedImages
    rotations : (P, 3) array
        Rotation vectors in the frame of the image (degrees).
    shifts : (P, 2) array
        Further shift of the image (Angstrom).
    """
    return replace(
        images, matrices=_turned(images, rotations), data=_shifted(images, images.data, shifts)
    )


def _turned(images: PreparedImages, rotations: Array) -> Array:
    turned = (rotation_matrices(rotations) @ _frames(images.matrices))[:, :2]
    return np.ascontiguousarray(turned, dtype=np.float32)


def _shifted(images: PreparedImages, data: Array, shifts: Array) -> Array:
    cycles = np.asarray(shifts, np.float32) / np.float32(images.box * images.pixel_size)
    phase = np.outer(cycles[:, 0], images.kx) + np.outer(cycles[:, 1], images.ky)
    turn = np.exp(np.complex64(-2j * np.pi) * phase.astype(np.float32))
    moved = data.view(np.complex64)[..., 0] * turn
    result: Array = np.ascontiguousarray(moved).view(np.float32).reshape(data.shape)
    return result


def changes_so_far(images: PreparedImages, rows: Array, rotations: Array, shifts: Array) -> Array:
    """Changes of poses in the frame of the volume.

    Parameters
    ----------
    images : PreparedImages
        With the changed poses.
    rows : (n,) int array
    rotations, shifts : (n, 3), (n, 2) arrays
        Changes of these rows as in :class:`PoseChange`.

    Returns
    -------
    (n, 6) float64 array
        Rotation vectors (radians) and shifts of the volume (Angstrom).
    """
    whole = _frames(images.matrices[rows])
    turned = np.einsum("nij,ni->nj", whole, np.deg2rad(rotations))
    moved = -np.einsum("nij,ni->nj", whole[:, :2], shifts)
    return np.concatenate([turned, moved], axis=1)


def refine_poses(
    images: PreparedImages,
    rows: Array,
    moments: PoseMoments,
    volumes: Array,
    weights: Array,
    *,
    resolution: float,
    noise: Array,
    errors: tuple[float, float],
    before: tuple[Array, Array] | None = None,
    threads: int | None = None,
) -> PoseChange:
    """Most likely small change of the poses of some particles: one Gauss-Newton step.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles that the volumes have not seen.
    moments : PoseMoments
        Of these rows at the poses of ``images``.
    volumes : (K, box, box, box) float32
        Volumes of the states.
    weights : (K,) array
        Share of each state.
    resolution : float
        Finest resolution used (A).
    noise : (G, shells) array
        Noise power by noise group and shell.
    errors : tuple of float
        Expected error of the consensus on each axis (degrees, Angstrom): the prior's width.
    before : tuple of (n, 3) and (n, 2) arrays, optional
        Changes that the poses of ``images`` hold already.
    threads : int, optional

    Returns
    -------
    PoseChange
        From the consensus on; a particle that gets less likely keeps its pose.
    """
    rotations, shifts = before or (np.zeros((len(rows), 3)), np.zeros((len(rows), 2)))
    share = np.maximum(np.asarray(weights, np.float64) / np.sum(weights), 1e-9)
    so_far = changes_so_far(images, rows, rotations, shifts)
    values, changes = moments.marginal(errors, so_far)
    step = np.einsum("nk,nik->ni", softmax(values[:, :-1] + np.log(share)), changes[..., :-1])
    whole = _frames(images.matrices[rows])
    turn = np.rad2deg(np.einsum("nij,nj->ni", whole, step[:, :3]))
    move = -np.einsum("nij,nj->ni", whole[:, :2], step[:, 3:])
    new_rotations = rotation_vectors(rotation_matrices(turn) @ rotation_matrices(rotations))
    new_shifts = shifts + move
    tried = moved_images(take_rows(images, rows), turn, move)
    first = log_mean(moments.plain[:, :-1], share) - _prior(rotations, shifts, errors)
    second = _mixture_evidence(tried, volumes, share, resolution, noise, threads)
    second -= _prior(new_rotations, new_shifts, errors)
    better = second > first
    return PoseChange(
        np.where(better[:, None], new_rotations, rotations),
        np.where(better[:, None], new_shifts, shifts),
        np.where(better, second - first, 0.0),
    )


def rotation_vectors(matrices: Array) -> Array:
    """Rotation vectors (n, 3) in degrees of rotation matrices (n, 3, 3)."""
    from scipy.spatial.transform import Rotation

    vectors: Array = Rotation.from_matrix(matrices).as_rotvec(degrees=True)
    return vectors


def _frames(rows: Array) -> Array:
    """Rotation matrices (n, 3, 3) of their first two rows."""
    first = rows.astype(np.float64)
    third = np.cross(first[:, 0], first[:, 1])[:, None]
    whole: Array = np.concatenate([first, third], axis=1)
    return whole


def _prior(rotations: Array, shifts: Array, errors: tuple[float, float]) -> Array:
    turned = np.square(rotations / errors[0]).sum(axis=1)
    total: Array = 0.5 * (turned + np.square(shifts / errors[1]).sum(axis=1))
    return total


def _mixture_evidence(
    images: PreparedImages,
    volumes: Array,
    share: Array,
    resolution: float,
    noise: Array,
    threads: int | None,
) -> Array:
    radius = min(shell_of_resolution(resolution, images.box, images.pixel_size), images.radius)
    grid = Grid(radius, thread_count(threads))
    density = (images.box / volumes.shape[1]) ** 3 / images.box
    references = grid.class_references(resize_cubes(volumes, grid.cube) * np.float32(density))
    outcome = expect(
        View(images, images.order, grid), references, 1 / noise[:, : radius + 1], share
    )
    values = np.empty(len(images))
    values[images.order] = outcome.evidence
    return values
