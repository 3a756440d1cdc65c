"""What a fold says of every particle of its batch: those it has seen, and those it has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.held_out import judge_states
from alphacryo4d.reclassify.joint_moments import joint_moments
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.state_fit import fit_states
from alphacryo4d.reclassify.state_model import StateModel

POSE_STEPS = 2
"""Steps of the poses of particles that the fold has left out."""


@dataclass(frozen=True)
class FoldCoordinates:
    """Components of a fold, and the likelihood of the coordinates of all particles of its batch.

    Attributes
    ----------
    cubes : (p + 1, m, m, m) float32
        Mean and components.
    projected, information : (P, p) float32, (P, p, p) float32
        The log-likelihood of coordinates z is ``projected . z - z . information . z / 2``, with
        the errors of the pose integrated out.
    states : (P, K) float32
        Log-likelihood of every state, up to a number of each particle's own; states are points
        with the scatter of the fold.
    pose_sigma : tuple of float
        Pose sigma (degrees, A).
    """

    cubes: Array
    projected: Array
    information: Array
    states: Array
    pose_sigma: tuple[float, float]


def fold_coordinates(
    poses: MovingPoses,
    seen: Array,
    left_out: Array,
    start: Array,
    options: FitOptions,
    *,
    solvent: Array | None = None,
    check: Callable[[], None] = lambda: None,
) -> FoldCoordinates:
    """Fit the components of a fold, and ask them about all particles of the batch.

    Parameters
    ----------
    poses : MovingPoses
        Images of the batch; poses are changed.
    seen, left_out : (n,), (m,) int arrays
        Particles of the fold, and the others of the batch. Images without weight (junk) make
        nothing of the model.
    start : (n, K) array
        Soft labels of ``seen``, whose volumes span the first components.
    options : FitOptions
    solvent : array, optional
        Soft solvent mask (box, box, box).
    check : callable
        Called before every iteration; stops the work by raising.
    """
    known = np.flatnonzero(poses.images.informative[seen])
    model = fit_states(
        poses, seen[known], start[known], options, solvent=solvent, check=check
    ).model
    steps = POSE_STEPS if options.move else 0
    judge_states(poses, left_out, model, steps=steps, check=check)
    count, q = len(seen) + len(left_out), len(model.cubes) - 1
    coordinates = FoldCoordinates(
        model.cubes.astype(np.float32),
        np.empty((count, q), np.float32),
        np.empty((count, q, q), np.float32),
        np.empty((count, len(model.points)), np.float32),
        model.sigma or model.pose_sigma,
    )
    for rows in (seen, left_out):
        check()
        _ask(poses, rows, model, coordinates)
    return coordinates


def _ask(poses: MovingPoses, rows: Array, model: StateModel, coordinates: FoldCoordinates) -> None:
    """Fill in what the model says of some particles at their poses of now."""
    order = poses.images.sorted_rows(rows)
    view, so_far = View(poses.images, order, model.grid), poses.so_far(order)
    moments, _ = joint_moments(view, model.cubes, model.noise)
    states = model.latent(moments, so_far).of(model.points)
    if model.groups is not None:
        centres = model.centres(states.argmax(axis=1))
        moments, _ = joint_moments(view, model.cubes, model.noise, None, centres)
        states = model.latent(moments, so_far).of(model.points)
    _, projected, information = moments.marginalise_pose(model.pose_sigma, so_far)
    coordinates.projected[order], coordinates.information[order] = projected, information
    coordinates.states[order] = states
