"""Particles that states have not seen: their poses, their state, and how likely they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from alphacryo4d.core.arrays import Array
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.reclassify.joint_moments import JointMoments, joint_moments
from alphacryo4d.reclassify.pose_centres import Centres
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.splitting import Latent
from alphacryo4d.reclassify.state_model import StateModel, weighted
from alphacryo4d.reclassify.wider_look import look_around
from alphacryo4d.voting.support import HeldOut

FREE_STEPS = 4
"""Times as many steps of poses that are free."""
SMALL_RISE = 0.02
"""Rise of the log-likelihood (nats) from which a free pose takes another step."""
_BLOCK = 4096


@dataclass(frozen=True)
class Judgement:
    """What states say of particles that they have not seen.

    Attributes
    ----------
    heldout : HeldOut
    gain : (n,) float64
        Rise of the log-likelihood by the change of the pose.
    likelihood : (n,) float64
        Log-likelihood of the images but for a constant, scatter within states included: unlike the
        evidence, which is of the points against noise alone, it can be compared between models that
        have other noise and other components.
    latent : Latent
        What the particles say of points among the components.
    """

    heldout: HeldOut
    gain: Array
    likelihood: Array
    latent: Latent


def judge_states(
    poses: MovingPoses,
    rows: Array,
    model: StateModel,
    *,
    steps: int,
    copies: Array | None = None,
    check: Callable[[], None] = lambda: None,
) -> Judgement:
    """Likelihoods of particles under states that have not seen them, and their most likely poses.

    Parameters
    ----------
    poses : MovingPoses
        Images of the batch; the poses of ``rows`` are changed.
    rows : (n,) int array
        Particles that the model has not seen.
    model : StateModel
    steps : int
        Gauss-Newton steps of the poses; where these are free, :data:`FREE_STEPS` times as many at
        most. A particle that gets less likely keeps the pose it had.
    copies : (n,) int array, optional
        Image of each particle, where some are copies of one.
    check : callable
        Called before every step; stops the work by raising.
    """
    order = poses.images.sorted_rows(rows)
    place = np.empty(len(poses.images), np.int64)
    place[order] = np.arange(len(order))
    joint, values = _judged(poses, order, model, None)
    centres = _own_centres(model, joint, poses.so_far(order))
    if centres is not None:
        joint, values = _judged(poses, order, model, centres)
    trials = _Trials(poses, order, model, centres, joint, values)
    going = np.arange(len(order))
    for _ in range(steps if centres is None else FREE_STEPS * steps):
        if not len(going):
            break
        check()
        rise = trials.uphill(going)
        if centres is not None:
            going = going[rise > SMALL_RISE]
    if centres is not None and steps:
        trials.elsewhere(check)
    back = place[rows]
    moments, so_far = joint.rows(back), poses.so_far(rows)
    likelihood, latent = model.log_likelihood(moments, so_far)
    heldout = _heldout(model, moments, latent, so_far, copies)
    alone = noise_likelihood(View(poses.images, order, model.grid), model.noise)
    return Judgement(heldout, trials.gain[back], likelihood + alone[back], latent)


class _Trials:
    """Poses of particles that the model has not seen: a change stays where it is more likely."""

    def __init__(
        self,
        poses: MovingPoses,
        order: Array,
        model: StateModel,
        centres: Centres | None,
        joint: JointMoments,
        values: Array,
    ) -> None:
        self.poses, self.order, self.model, self.centres = poses, order, model, centres
        self.joint, self.values = joint, values
        self.gain = np.zeros(len(order))

    def uphill(self, going: Array) -> Array:
        """A Gauss-Newton step of some particles; by how much their likelihood would rise."""
        mine = self.order[going]
        before = self.poses.rotations[mine], self.poses.shifts[mine]
        mean = _likely_change(self.model, self.joint.rows(going), self.poses.so_far(mine))
        self.poses.move(mine, mean[:, self.joint.count :])
        return self._keep_better(going, before)

    def elsewhere(self, check: Callable[[], None]) -> None:
        """Move particles to another optimum that fits their state better."""
        assert self.centres is not None
        images, workers = self.poses.images, self.poses.workers
        going, turn, slide = look_around(
            images, self.order, self.centres, self.model.grid, self.model.noise, workers, check
        )
        mine = self.order[going]
        before = self.poses.rotations[mine], self.poses.shifts[mine]
        self.poses.turn(mine, turn, slide)
        if len(going):
            self._keep_better(going, before)

    def _keep_better(self, going: Array, before: tuple[Array, Array]) -> Array:
        mine = self.order[going]
        centres = None if self.centres is None else self.centres.rows(going)
        tried, new = _judged(self.poses, mine, self.model, centres)
        rise = new - self.values[going]
        worse = rise < 0
        self.poses.put(mine[worse], before[0][worse], before[1][worse])
        better = going[~worse]
        self.joint.put(better, tried.rows(~worse))
        self.gain[better] += rise[~worse]
        self.values[better] = new[~worse]
        return np.asarray(rise)


def _heldout(
    model: StateModel,
    joint: JointMoments,
    latent: Latent,
    so_far: Array,
    copies: Array | None,
) -> HeldOut:
    """What particles say of the states at their poses of now."""
    proportions = np.maximum(model.proportions, 1e-9)
    moments = joint.of_states(model.points, proportions)
    likelihood, _ = moments.marginal(model.pose_sigma, so_far)
    soft = softmax(latent.of(model.points), axis=1).astype(np.float32)
    return HeldOut(
        evidence=logsumexp(likelihood[:, :-1], axis=1, b=proportions),
        consensus=likelihood[:, -1],
        posteriors=weighted(soft, proportions),
        labels=soft.argmax(axis=1).astype(np.int32),
        pose_sigma=model.sigma or model.pose_sigma,
        losses=moments.merging_losses(model.pose_sigma, so_far, proportions, copies),
    )


def noise_likelihood(view: View, noise: Array) -> Array:
    """Log-likelihood (n,) of images that are noise alone, but for a constant.

    Without the origin, as all evidence against it: the background that was subtracted says nothing.

    Parameters
    ----------
    view : View
    noise : (G, shells) array
        Noise power of a sample.
    """
    images, last = view.images, view.last
    first = int(np.searchsorted(images.shell[:last], 1))
    own = noise[:, images.shell[first:last]]
    logs, likelihoods = np.log(own).sum(axis=1), np.empty(len(view.rows))
    for begin in range(0, len(likelihoods), _BLOCK):
        rows = view.rows[begin : begin + _BLOCK]
        group = images.group[rows]
        power = np.square(images.data[rows, first:last]).sum(axis=2) / own[group]
        likelihoods[begin : begin + _BLOCK] = -power.sum(axis=1) - logs[group]
    return likelihoods


def _likely_change(model: StateModel, joint: JointMoments, so_far: Array) -> Array:
    """Most likely coordinates and changes of the poses (n, q + 6)."""
    if model.groups is None:
        return joint.posterior_mean(model.pose_sigma, so_far)
    likely = model.latent(joint, so_far).of(model.points)
    soft = softmax(likely + np.log(np.maximum(model.proportions, 1e-9)), axis=1)
    mean, _ = joint.posterior_of_states(model.pose_sigma, so_far, model.points, model.scatter, soft)
    return mean


def _own_centres(model: StateModel, joint: JointMoments, so_far: Array) -> Centres | None:
    """The volumes of the states that the particles are most likely in."""
    if model.groups is None:
        return None
    return model.centres(model.latent(joint, so_far).of(model.points).argmax(axis=1))


def _judged(
    poses: MovingPoses, order: Array, model: StateModel, centres: Centres | None
) -> tuple[JointMoments, Array]:
    """Moments of particles at their poses of now, and their log-likelihood under all states."""
    view = View(poses.images, order, model.grid)
    joint, _ = joint_moments(view, model.cubes, model.noise, None, centres)
    proportions = np.maximum(model.proportions, 1e-9)
    moments = joint.of_states(model.points, proportions)
    values, _ = moments.marginal(model.pose_sigma, poses.so_far(order))
    evidence: Array = logsumexp(values[:, :-1], axis=1, b=proportions)
    return joint, evidence
