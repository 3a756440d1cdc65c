"""How wrong poses are, with the frame that all of them share taken out.

A refinement fixes a map up to a rotation and a shift of the whole. That frame is no error; what is
left has a mean for every state (its particles are drawn towards the consensus) and a spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.rotations import euler_matrices


def pose_errors(
    angles: Array, shifts: Array, true_angles: Array, true_shifts: Array, truth: Array
) -> dict[str, Any]:
    """Errors of poses on each axis, as they are and with one common frame taken out.

    Parameters
    ----------
    angles, true_angles : (P, 3) arrays
        rot, tilt, psi in degrees.
    shifts, true_shifts : (P, 2) arrays
        Angstrom.
    truth : (P,) int array
        State of every particle, from 1.

    Returns
    -------
    dict
        ``degrees`` and ``angstrom``: root mean square over particles and axes of rotation vectors
        and shifts. ``frame``: rotation (degrees) and shift (A) of the common frame, and the errors
        without it; ``spread_degrees`` and ``spread_angstrom`` without the mean of each state too.
        ``per_state``: length of the mean (``bias_degrees``, ``bias_angstrom``, in the frame of
        the volume) and spread about it on each axis.
    """
    given, right = euler_matrices(angles), euler_matrices(true_angles)
    moved = np.asarray(shifts - true_shifts, np.float64)
    apart = Rotation.from_matrix(right.transpose(0, 2, 1) @ given)
    plain = float(np.sqrt(np.square(apart.as_rotvec(degrees=True)).mean()))
    common = apart.mean()
    vectors = (apart * common.inv()).as_rotvec(degrees=True)
    drift = _volume_shift(given, moved)
    left = moved - np.einsum("nij,j->ni", given[:, :2], drift)
    spread, spread_shift, states = np.empty_like(vectors), np.empty_like(left), []
    for state in np.unique(truth):
        rows = np.flatnonzero(truth == state)
        mean, slide = vectors[rows].mean(axis=0), _volume_shift(given[rows], left[rows])
        spread[rows] = vectors[rows] - mean
        spread_shift[rows] = left[rows] - np.einsum("nij,j->ni", given[rows, :2], slide)
        states.append(
            {
                "state": int(state),
                "bias_degrees": float(np.linalg.norm(mean)),
                "bias_angstrom": float(np.linalg.norm(slide)),
                "spread_degrees": _root_mean_square(spread[rows]),
                "spread_angstrom": _root_mean_square(spread_shift[rows]),
            }
        )
    return {
        "degrees": plain,
        "angstrom": _root_mean_square(moved),
        "frame": {
            "rotation": float(np.rad2deg(common.magnitude())),
            "shift": float(np.linalg.norm(drift)),
            "degrees": _root_mean_square(vectors),
            "angstrom": _root_mean_square(left),
            "spread_degrees": _root_mean_square(spread),
            "spread_angstrom": _root_mean_square(spread_shift),
        },
        "per_state": states,
    }


def _volume_shift(matrices: Array, shifts: Array) -> Array:
    """Shift (3,) of the volume that explains the shifts (n, 2) of its images best (A)."""
    projections = matrices[:, :2].reshape(-1, 3)
    shift: Array = np.linalg.lstsq(projections, shifts.reshape(-1), rcond=None)[0]
    return shift


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def format_pose_errors(errors: dict[str, Any]) -> list[str]:
    """The figures as lines for people."""
    frame = errors["frame"]
    lines = [
        f"errors of the poses {errors['degrees']:.3f} degrees, {errors['angstrom']:.3f} A on "
        "each axis",
        f"a common frame of {frame['rotation']:.2f} degrees and {frame['shift']:.2f} A taken out: "
        f"{frame['degrees']:.3f} degrees, {frame['angstrom']:.3f} A; without the mean of each "
        f"state {frame['spread_degrees']:.3f} degrees, {frame['spread_angstrom']:.3f} A",
        "state  mean error (degrees, A)  spread on each axis (degrees, A)",
    ]
    lines += [
        f"{row['state']:5d}  {row['bias_degrees']:8.3f} {row['bias_angstrom']:8.3f}  "
        f"{row['spread_degrees']:15.3f} {row['spread_angstrom']:8.3f}"
        for row in errors["per_state"]
    ]
    return lines
