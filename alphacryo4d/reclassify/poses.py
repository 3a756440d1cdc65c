"""Small changes of poses around the consensus, in the frames of the image and of the volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import rotation_matrices, rotation_vectors, whole_rotations
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.images import PreparedImages, shifted_samples
from alphacryo4d.ml3d.room import copied


def _turned(matrices: Array, rotations: Array) -> Array:
    turned: Array = (rotation_matrices(rotations) @ whole_rotations(matrices))[:, :2]
    return turned


def changes_so_far(images: PreparedImages, rows: Array, rotations: Array, shifts: Array) -> Array:
    """Changes of poses in the frame of the volume.

    Parameters
    ----------
    images : PreparedImages
        With the changed poses.
    rows : (n,) int array
    rotations, shifts : (n, 3), (n, 2) arrays
        Rotation vectors in the frame of the image (degrees), and shifts of the image (A).

    Returns
    -------
    (n, 6) float64 array
        Rotation vectors (radians) and shifts of the volume (Angstrom).
    """
    whole = whole_rotations(images.matrices[rows])
    turned = np.einsum("nij,ni->nj", whole, np.deg2rad(rotations))
    moved = -np.einsum("nij,ni->nj", whole[:, :2], shifts)
    return np.concatenate([turned, moved], axis=1)


def in_image_frame(images: PreparedImages, rows: Array, step: Array) -> tuple[Array, Array]:
    """Turns (n, 3) in degrees and shifts (n, 2) in A of the images for changes of the volume.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
    step : (n, 6) array
        Rotation vectors (radians) and shifts (A) in the frame of the volume; the inverse of
        :func:`changes_so_far`.
    """
    whole = whole_rotations(images.matrices[rows])
    turn = np.rad2deg(np.einsum("nij,nj->ni", whole, step[:, :3]))
    return turn, -np.einsum("nij,nj->ni", whole[:, :2], step[:, 3:])


class MovingPoses:
    """Images of a batch whose poses change, with the sum of the changes.

    Samples and matrices are copied once and changed in place, for the particles in question alone.

    Attributes
    ----------
    images : PreparedImages
        With the changed poses.
    rotations : (P, 3) float64
        Rotation vectors of all changes so far, in the frame of the image (degrees).
    shifts : (P, 2) float64
        Sum of the further shifts of the image (Angstrom).
    """

    def __init__(self, images: PreparedImages, workers: int = 1) -> None:
        self.images = replace(images, data=copied(images.data), matrices=images.matrices.copy())
        self.workers = workers
        self.rotations = np.zeros((len(images), 3))
        self.shifts = np.zeros((len(images), 2))

    def so_far(self, rows: Array) -> Array:
        """Changes of some particles in the frame of the volume, (n, 6)."""
        return changes_so_far(self.images, rows, self.rotations[rows], self.shifts[rows])

    def put(self, rows: Array, rotations: Array, shifts: Array) -> None:
        """Set the sum of all changes of some particles."""
        if not len(rows):
            return
        back = rotation_matrices(self.rotations[rows]).transpose(0, 2, 1)
        turn = rotation_vectors(rotation_matrices(rotations) @ back)
        self.turn(rows, turn, shifts - self.shifts[rows])

    def move(self, rows: Array, step: Array) -> None:
        """Change the poses of some particles by a step (n, 6) in the frame of the volume."""
        turn, slide = in_image_frame(self.images, rows, step)
        self.turn(rows, turn, slide)

    def turn(self, rows: Array, turn: Array, slide: Array) -> None:
        """Change poses by rotations (n, 3) in degrees and shifts (n, 2) in A of the images."""
        if not len(rows):
            return
        before = rotation_matrices(self.rotations[rows])
        self.rotations[rows] = rotation_vectors(rotation_matrices(turn) @ before)
        self.shifts[rows] += slide

        def work(begin: int, end: int) -> None:
            some = rows[begin:end]
            self.images.matrices[some] = _turned(self.images.matrices[some], turn[begin:end])
            self.images.data[some] = shifted_samples(
                self.images, self.images.data[some], slide[begin:end]
            )

        in_ranges(work, len(rows), max(1, len(rows) // 512), self.workers)
