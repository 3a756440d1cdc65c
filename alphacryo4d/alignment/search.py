"""Best pose of every image against one map: a coarse search of all poses, and refinement.

The log-likelihood of a pose, against noise alone, is ``sum (2 Re conj(x) c p - |c p|^2) / noise``
over the Fourier samples x of the image that its shift has centred, with the projection p of the map
in its orientation and the CTF c. Over a grid of all orientations and shifts both terms are products
of matrices. Good poses are then refined (:mod:`alphacryo4d.alignment.climbing`).
"""

from __future__ import annotations

import numpy as np

from alphacryo4d.alignment.kernels import project
from alphacryo4d.alignment.poses import Poses, Target
from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.images import PreparedImages

_BLOCK = 4096
"""Products of an image with a pose that are in memory at once, in thousands."""


class EveryPose:
    """Projections of a map in all rotations, which images are compared with at all shifts.

    Parameters
    ----------
    images : PreparedImages
    target : Target
    rotations : (m, 3, 3) array
    shifts : (t, 2) array
        Pixels.
    unscaled : bool
        The grey scale of the map is not known: the best of every pose is taken.
    workers : int
    """

    def __init__(
        self,
        images: PreparedImages,
        target: Target,
        rotations: Array,
        shifts: Array,
        *,
        unscaled: bool = False,
        workers: int = 1,
    ) -> None:
        self.images, self.target, self.unscaled = images, target, unscaled
        self.rotations, self.shifts = rotations, shifts
        self.last = images.samples_within(target.radius)
        kx, ky = images.kx[: self.last], images.ky[: self.last]
        slices = np.empty((len(rotations), self.last, 2), np.float32)
        matrices = np.ascontiguousarray(2 * rotations[:, :2], np.float32)
        in_ranges(project, len(matrices), 8, workers, matrices, kx, ky, target.spectrum, slices)
        self.power = np.ascontiguousarray(np.square(slices).sum(axis=2).T)
        self.slices = np.ascontiguousarray(slices.reshape(len(slices), -1).T)
        self.place = np.stack([kx, ky]).astype(np.float64)

    def _turns(self, shifts: Array) -> Array:
        """Phases (n, S) of shifts (n, 2)."""
        phases = (-2 * np.pi / self.images.box) * (shifts @ self.place)
        return np.asarray(np.exp(1j * phases), np.complex64)

    def best(self, rows: Array, start: Array, keep: int) -> Poses:
        """The best rotations of some images, each with its best shift.

        Parameters
        ----------
        rows : (n,) int array
        start : (n, 2) array
            Shifts (pixels) around which others are looked for.
        keep : int
            Rotations of an image.

        Returns
        -------
        Poses
            Of ``keep`` rows an image, the best first.
        """
        block = max(1, _BLOCK * 1000 // (len(self.shifts) * len(self.rotations)))
        parts = [
            self._best_of_block(rows[a : a + block], start[a : a + block], keep)
            for a in range(0, len(rows), block)
        ]
        return Poses(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in Poses.NAMES)
        )

    def _best_of_block(self, rows: Array, start: Array, keep: int) -> Poses:
        images, last, count = self.images, self.last, len(self.shifts)
        ctf = images.ctf[rows, :last]
        weight = self.target.inverse[images.group[rows]][:, images.shell[:last]] * ctf
        centred = images.data[rows, :last].view(np.complex64)[..., 0] * weight * self._turns(start)
        moved = centred[:, None] * self._turns(self.shifts)
        cross = moved.reshape(len(rows) * count, last).view(np.float32) @ self.slices
        cross = cross.reshape(len(rows), count, -1)
        where = cross.argmax(axis=1)
        best = np.take_along_axis(cross, where[:, None], axis=1)[:, 0]
        norm = (weight * ctf) @ self.power
        if self.unscaled:
            score = np.square(np.maximum(best, 0)) / np.maximum(norm, 1e-30)
        else:
            score = 2 * best - norm
        order = np.argpartition(-score, keep - 1, axis=1)[:, :keep]
        kept = np.take_along_axis(score, order, axis=1)
        order = np.take_along_axis(order, np.argsort(-kept, axis=1), axis=1)
        moves = self.shifts[np.take_along_axis(where, order, axis=1)]
        return Poses(
            np.repeat(rows, keep),
            self.rotations[order.ravel()],
            (start[:, None] + moves).reshape(-1, 2),
            np.take_along_axis(score, order, axis=1).ravel(),
        )
