"""Poses that were fitted to the images, and poses that are wrong at random."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.pose_errors import pose_errors
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.maths.rotations import (
    euler_angles,
    euler_matrices,
    rotation_matrices,
    rotation_vectors,
    whole_rotations,
)
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reclassify import wider_look
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.held_out import judge_states
from alphacryo4d.reclassify.joint_moments import joint_moments
from alphacryo4d.reclassify.pose_centres import Centres, groups_of_volumes
from alphacryo4d.reclassify.pose_prior import PoseScores, consensus_map, scores_by_shell
from alphacryo4d.reclassify.pose_scatter import pose_variance
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.spanned_volumes import SpannedVolumes
from alphacryo4d.reclassify.state_fit import FormerFit, fit_states
from alphacryo4d.voting.losses import Losses
from alphacryo4d.voting.support import measure_support

PIXEL, FINEST = 6.5, 14.5


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Particles of the small hinge and their images, by the kind of pose error."""
    folder, sets_by_kind = tmp_path_factory.mktemp("sets"), {}
    for kind in ("random", "consensus"):
        options = SimulateOptions(
            particles_per_state=100, box=32, pixel_size=PIXEL, snr=0.2, snr_box=32, poses=kind,
            rotation_error=2.5, shift_error=1.0,
        )  # fmt: skip
        run_simulate(["small-hinge"], folder / kind, options=options, seed=6)
        particles = read_particles(folder / kind / "particles.star")
        truth = np.load(folder / kind / "truth.npy")
        true = np.load(folder / kind / "true_poses.npy")
        images = prepare_rows(particles, np.arange(len(truth)), FINEST)
        sets_by_kind[kind] = particles, images, truth, true
    return sets_by_kind


def errors_after(data, poses, rows):
    particles, _, truth, true = data
    turned = rotation_matrices(poses.rotations[rows]) @ euler_matrices(particles.angles[rows])
    moved = particles.shifts[rows] + poses.shifts[rows]
    errors = pose_errors(euler_angles(turned), moved, true[rows, :3], true[rows, 3:], truth[rows])
    return errors["frame"]


def fitted(data):
    """Fit of three quarters of the particles from the true labels, and the judged rest."""
    _, images, truth, _ = data
    poses, left = MovingPoses(images), np.arange(len(truth)) % 4 == 0
    start = np.eye(8, dtype=np.float32)[truth[~left] - 1]
    options = FitOptions(FINEST, initial_resolution=18.0)
    fit = fit_states(poses, np.flatnonzero(~left), start, options)
    judged = judge_states(poses, np.flatnonzero(left), fit.model, steps=2)
    return poses, left, fit, judged


@pytest.fixture(scope="module")
def fits(sets):
    """What :func:`fitted` finds, by the kind of pose error."""
    return {kind: fitted(data) for kind, data in sets.items()}


def test_changes_are_those_of_the_particles_own_volume(sets):
    _, images, truth, _ = sets["random"]
    grid = Grid(shell_of_resolution(FINEST, 32, PIXEL), 1)
    view = View(images, images.sorted_rows(np.arange(200)), grid)
    rng = np.random.default_rng(0)
    cubes = rng.normal(0, 1, (3, grid.cube, grid.cube, grid.cube)).astype(np.float32)
    own = cubes[0] + 0.5 * cubes[1]
    noise = np.ones((1, grid.radius + 1))
    group = np.arange(200) % 2 - 1
    moments, _ = joint_moments(view, cubes, noise, None, Centres(group, own[None]))
    mean, _ = joint_moments(view, cubes, noise)
    alone, _ = joint_moments(view, own[None], noise)
    rest = group < 0
    np.testing.assert_allclose(moments.information[rest], mean.information[rest], rtol=1e-5)
    scale = abs(alone.information).max()
    np.testing.assert_allclose(
        moments.information[~rest, 2:, 2:], alone.information[~rest], atol=1e-5 * scale
    )
    np.testing.assert_allclose(moments.base, mean.base, rtol=1e-5)


def test_volumes_that_are_alike_share_a_group():
    rng = np.random.default_rng(1)
    places = np.repeat([0.0, 1.0, 5.0], 4)[:, None] * rng.normal(size=50)
    groups = groups_of_volumes(places + rng.normal(0, 0.01, (12, 50)), most=3)
    assert len(np.unique(groups)) == 3
    assert all(len(np.unique(groups[k : k + 4])) == 1 for k in (0, 4, 8))
    assert groups_of_volumes(places[:5]).tolist() == [0, 1, 2, 3, 4]


def test_poses_fitted_to_the_images_are_free_and_get_better(sets, fits):
    data = sets["consensus"]
    before = errors_after(data, MovingPoses(data[1]), np.arange(800))
    poses, left, fit, judged = fits["consensus"]
    assert fit.model.groups is not None
    for rows in (np.flatnonzero(left), np.flatnonzero(~left)):
        after = errors_after(data, poses, rows)
        assert after["degrees"] < 0.95 * before["degrees"]
        # states stay in one frame
        assert after["degrees"] ** 2 - after["spread_degrees"] ** 2 < 0.5 * before["degrees"] ** 2
    assert judged.heldout.pose_sigma == fit.model.sigma
    assert fit.model.sigma[0] == pytest.approx(before["degrees"], rel=0.3)


def test_random_errors_are_estimated_and_held_to_their_sigma(sets, fits):
    data = sets["random"]
    poses, left, fit, judged = fits["random"]
    assert fit.model.groups is None
    assert fit.model.sigma is None
    assert judged.heldout.pose_sigma[0] == pytest.approx(2.5, rel=0.2)
    after = errors_after(data, poses, np.flatnonzero(left))
    assert after["degrees"] < 2.4


def test_likelihoods_of_images_are_largest_for_their_own_noise(sets, fits):
    """Evidence against noise alone rises without end when the noise is said to be less."""
    _, left, fit, judged = fits["consensus"]
    judgements = []
    for factor in (0.8, 1.0, 1.25):
        model = replace(fit.model, noise=factor * fit.model.noise)
        poses = MovingPoses(sets["consensus"][1])
        judgements.append(judge_states(poses, np.flatnonzero(left), model, steps=0))
    likelihood = [judged.likelihood.mean() for judged in judgements]
    evidence = [judged.heldout.evidence.mean() for judged in judgements]
    assert likelihood[1] > max(likelihood[0], likelihood[2])
    assert evidence[0] > evidence[1] > evidence[2]
    assert judged.likelihood.mean() > likelihood[1]


def test_likelihoods_do_not_see_what_the_background_was(sets, fits):
    """Evidence leaves the origin out, and so has what it is compared with."""
    _, left, fit, _ = fits["consensus"]
    images = sets["consensus"][1]
    data = images.data.copy()
    data[:, 0] += 30.0
    rows = np.flatnonzero(left)
    before, after = (
        judge_states(MovingPoses(some), rows, fit.model, steps=0).likelihood
        for some in (images, replace(images, data=data))
    )
    np.testing.assert_allclose(after, before, rtol=1e-9)


def test_poses_at_another_optimum_are_found_again(sets, fits, monkeypatch):
    """Steps uphill leave a pose that is wrong by 30 degrees; a look around it does not."""
    data, (_, left, fit, _) = sets["consensus"], fits["consensus"]
    rows = np.flatnonzero(left)
    axes = np.random.default_rng(3).normal(size=(len(rows) // 5, 3))
    wrong = rows[: len(axes)]
    turn = 30 * axes / np.linalg.norm(axes, axis=1)[:, None]
    matrices = data[1].matrices.copy()
    matrices[wrong] = (rotation_matrices(turn) @ whole_rotations(matrices[wrong]))[:, :2]
    images, beyond, checks = replace(data[1], matrices=matrices), {}, []
    for share in (0.0, wider_look.LOWEST):
        monkeypatch.setattr(wider_look, "LOWEST", share)
        poses = MovingPoses(images)
        judge_states(poses, rows, fit.model, steps=2, check=partial(checks.append, share))
        true = euler_matrices(data[3][:, :3])
        apart = whole_rotations(poses.images.matrices) @ true.transpose(0, 2, 1)
        angles = np.linalg.norm(rotation_vectors(apart), axis=1)
        beyond[share] = np.mean(angles[wrong] > 10), np.mean(angles[rows[len(wrong) :]] > 10)
    assert beyond[0.0][0] > 0.5
    assert beyond[wider_look.LOWEST][0] < 0.5 * beyond[0.0][0]
    assert beyond[wider_look.LOWEST][1] <= beyond[0.0][1]
    assert checks.count(wider_look.LOWEST) > checks.count(0.0) > 0


def test_errors_given_by_hand_are_not_tested(sets):
    assert not FitOptions(8.0, pose_sigma=(1.0, 0.5)).tests_poses
    assert not FitOptions(8.0, move=False).tests_poses
    assert not FitOptions(8.0, from_images=True).tests_poses
    assert FitOptions(8.0).tests_poses


@pytest.mark.parametrize(("molecule", "states"), [("rigid", 1), ("small-hinge", 8)])
def test_states_are_asked_for_where_there_are_some(tmp_path, molecule, states):
    options = SimulateOptions(
        particles_per_state=640 // states, box=32, pixel_size=PIXEL, snr=0.2, snr_box=32,
        poses="consensus",
    )  # fmt: skip
    run_simulate([molecule], tmp_path, options=options, seed=8)
    truth = np.load(tmp_path / "truth.npy")
    images = prepare_rows(read_particles(tmp_path / "particles.star"), np.arange(640), FINEST)
    poses, left = MovingPoses(images), np.arange(640) % 4 == 0
    labels = np.arange(640) % 5 % 3 if states == 1 else (truth - 1) // 3
    start = np.eye(3, dtype=np.float32)[labels[~left]]
    fit = fit_states(poses, np.flatnonzero(~left), start, FitOptions(FINEST, split_merge=False))
    assert fit.model.groups is not None
    seen = judge_states(poses, np.flatnonzero(left), fit.model, steps=2).heldout
    weights = np.broadcast_to(fit.model.proportions, seen.posteriors.shape)
    support = measure_support(
        seen.evidence,
        seen.consensus,
        seen.posteriors,
        weights,
        losses=Losses.of(*seen.losses, len(seen.labels)),
    )
    assert support.real == (states > 1)


def climbed(images, resolution, steps=5):
    """Poses that are best fits of their images to one map of all, to a resolution."""
    poses = MovingPoses(images)
    order = images.sorted_rows(np.arange(len(images)))
    for _ in range(steps):
        shell = shell_of_resolution(resolution, images.box, images.pixel_size)
        view = View(poses.images, order, Grid(shell, 1))
        moments, _ = joint_moments(view, *consensus_map(view))
        information = moments.information + np.diag(1 / pose_variance((10.0, 5.0)))
        poses.move(order, np.linalg.solve(information, moments.projected[..., None])[..., 0])
    return poses.images, order


def test_the_scores_tell_what_poses_are(sets):
    """The shell that poses were fitted to; how large errors are that are apart from the images."""
    images = sets["random"][1]
    random = scores_by_shell(images, images.sorted_rows(np.arange(800)))
    finest = scores_by_shell(*climbed(images, FINEST))
    coarse = scores_by_shell(*climbed(images, 24.0))
    assert random.fitted_shell is None
    assert finest.fitted_shell is None
    shell = shell_of_resolution(24.0, images.box, images.pixel_size)
    assert abs(coarse.fitted_shell - shell) <= 1
    assert finest.error < 0.5
    view = View(images, images.sorted_rows(np.arange(800)), Grid(images.radius, 1))
    moments, _ = joint_moments(view, *consensus_map(view))
    on_poses = moments.information[:, moments.count :, moments.count :]
    wrong = pose_variance((2.5, 1.0))  # as they were simulated
    left = np.sqrt(np.mean(np.einsum("ijj,j->i", on_poses, wrong)) / 5)
    assert random.error == pytest.approx(left, rel=0.25)
    assert random.pose_sigma == pytest.approx((2.5, 1.0), rel=0.3)


def test_poses_of_8_a_are_known_at_the_lowest_signal_and_refined_ones_stay():
    """Measured: *midi* at SNR 0.005, consensus poses to 8 A, and the same once they are refined."""
    shells = np.array([11, 12, 14, 15, 16, 18, 19, 20, 22, 23, 24, 26, 27, 28, 30, 31])
    before = [0.84, 0.78, 0.69, 0.65, 0.60, 0.55, 0.53, 0.50, 0.49, 0.51, 0.53, 0.56, 0.57, 0.58,
              0.61, 0.64]  # fmt: skip
    after = [1.10, 1.04, 0.92, 0.86, 0.80, 0.70, 0.65, 0.61, 0.55, 0.54, 0.51, 0.48, 0.47, 0.44,
             0.42, 0.46]  # fmt: skip
    hinge = [1.21, 1.16, 1.05, 0.96, 0.93, 0.82, 0.77, 0.72, 0.63, 0.59, 0.57, 0.49, 0.46, 0.43,
             0.35, 0.44]  # fmt: skip
    assert PoseScores(shells, np.array(before)).fitted_shell == 22
    assert PoseScores(shells, np.array(after)).fitted_shell is None
    assert PoseScores(shells, np.array(hinge)).fitted_shell is None


def test_conformations_and_junk_raise_the_score_of_fitted_poses():
    """Measured at SNR 0.05 with 20% junk and coloured noise: consensus poses to 8 A, and random."""
    shells = np.array([11, 12, 14, 15, 16, 18, 19, 20, 22, 23, 24, 26, 27, 28, 30, 31])
    fitted = [1.50, 1.42, 1.28, 1.20, 1.13, 1.05, 1.11, 1.18, 1.33, 1.42, 1.51, 1.72, 1.84, 1.94,
              2.19, 2.45]  # fmt: skip
    random = [2.11, 2.27, 2.76, 3.16, 3.61, 6.16, 10.5, 15.4, 19.2, 19.4, 19.6, 19.9, 20.0, 20.2,
              20.7, 21.6]  # fmt: skip
    assert PoseScores(shells, np.array(fitted)).fitted_shell == 18
    assert PoseScores(shells, np.array(random)).fitted_shell is None
    little = np.sqrt(np.array(fitted))  # errors of less than the images leave are no reason
    assert PoseScores(shells, little).fitted_shell is None


def test_conformations_are_not_taken_for_errors_of_poses():
    """Measured scores, coarse to fine: four arms at SNR 20 at true poses, and wrong by 1 degree."""
    shells = np.arange(11, 19)
    true = PoseScores(shells, np.array([4.13, 4.63, 4.74, 5.00, 5.01, 4.84, 4.52, 4.15]))
    wrong = PoseScores(shells, np.array([5.95, 11.79, 21.9, 30.8, 45.8, 63.0, 80.1, 100.0]))
    assert (true.error, true.fitted_shell) == (0.0, None)
    assert wrong.error == pytest.approx(9.95, abs=0.01)


def test_a_fit_that_goes_on_is_no_less_likely_than_before(sets, fits):
    """From its own volumes; volumes of the labels are behind after a few iterations."""
    _, images, truth, _ = sets["consensus"]
    poses, left, fit, judged = fits["consensus"]
    start = np.eye(8, dtype=np.float32)[truth[~left] - 1]
    options = FitOptions(FINEST, initial_resolution=FINEST, from_images=True)
    likelihood = {}
    for former in (None, FormerFit(fit.model.cubes, fit.model.noise)):
        again = MovingPoses(images)
        again.put(np.arange(len(truth)), poses.rotations, poses.shifts)
        later = fit_states(again, np.flatnonzero(~left), start, options, before=former)
        held_out = judge_states(again, np.flatnonzero(left), later.model, steps=2)
        likelihood[former is None] = held_out.likelihood.mean()
    assert likelihood[False] > judged.likelihood.mean() - 0.05
    assert likelihood[False] > likelihood[True]


def test_more_states_than_before_have_components_of_their_own(sets, fits):
    _, images, truth, _ = sets["random"]
    poses = MovingPoses(images)
    order = images.sorted_rows(np.arange(len(truth)))
    soft = np.eye(8, dtype=np.float32)[truth[order] - 1]
    options = FitOptions(FINEST)
    few = SpannedVolumes(poses, order, soft.reshape(-1, 2, 4).sum(axis=1), options, None, None)
    many = SpannedVolumes(poses, order, soft, options, None, None)
    own = many.fields[1:].reshape(len(many.fields) - 1, -1)
    count = len(many.fields)
    many.go_on_from(few.cubes)
    assert len(many.fields) == count > len(few.cubes)
    span = np.linalg.qr(many.fields[1:].reshape(count - 1, -1).T)[0]
    missing = own - (own @ span) @ span.T
    kept = 1 - np.square(missing).sum(axis=1) / np.square(own).sum(axis=1)
    assert kept[:3].min() > 0.5
