"""Local pose refinement against volumes whose particles are known."""

import numpy as np
import pytest
import simulated
from scipy.spatial.transform import Rotation

from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.held_out import judge_states
from alphacryo4d.reclassify.pose_scatter import PoseMoments, pose_moments
from alphacryo4d.reclassify.poses import MovingPoses, rotation_matrices
from alphacryo4d.reclassify.state_fit import fit_states
from alphacryo4d.reclassify.state_model import StateModel


def moved_images(images, rotations, shifts):
    """Images of which all poses were changed, by rotations in degrees and shifts in A."""
    poses = MovingPoses(images)
    poses.turn(np.arange(len(images)), rotations, shifts)
    return poses.images


def test_rotation_vectors_are_those_of_scipy():
    vectors = np.random.default_rng(0).normal(0, 20, (50, 3))
    expected = Rotation.from_rotvec(vectors, degrees=True).as_matrix()
    np.testing.assert_allclose(rotation_matrices(vectors), expected, atol=1e-12)


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poses")
    rng = np.random.default_rng(4)
    table, angles = simulated.simulate(folder, np.full(900, 1), 0.5, rng)
    images = prepare_rows(read_particles(table), np.arange(900), 12.0)
    return images, angles, rng


def test_moving_back_and_forth_changes_nothing(particles):
    images, _, rng = particles
    shifts = rng.normal(0, 3, (900, 2))
    there = moved_images(images, np.zeros((900, 3)), shifts)
    back = moved_images(there, np.zeros((900, 3)), -shifts)
    assert abs(there.data - images.data).max() > 0.1 * abs(images.data).max()
    np.testing.assert_allclose(back.data, images.data, atol=1e-4 * abs(images.data).max())


def model_of(classification, errors):
    """One state, whose single component is nothing."""
    grid = Grid(shell_of_resolution(12.0, simulated.BOX, simulated.PIXEL), 1)
    mean = resize_cubes(classification.volumes, grid.cube) / np.float32(simulated.BOX)
    cubes = np.concatenate([mean, np.zeros_like(mean)])
    return StateModel(
        grid, cubes, np.zeros((1, 1)), np.eye(1), np.ones(1),
        classification.noise[:, : grid.radius + 1], errors,
    )  # fmt: skip


def distances(turn, poses, rows):
    """Angles (degrees) of what wrong turns and the changes of the poses leave."""
    wrong = Rotation.from_rotvec(turn[rows], degrees=True)
    change = Rotation.from_rotvec(poses.rotations[rows], degrees=True)
    return np.degrees((change * wrong).magnitude())


def test_changes_of_poses_add_up(particles):
    images, _, rng = particles
    rows = np.array([3, 8, 11])
    poses = MovingPoses(images)
    first, second = rng.normal(0, 5, (2, 3, 3))
    slide = rng.normal(0, 2, (2, 3, 2))
    poses.turn(rows, first, slide[0])
    poses.turn(rows, second, slide[1])
    both = Rotation.from_rotvec(second, degrees=True) * Rotation.from_rotvec(first, degrees=True)
    np.testing.assert_allclose(poses.rotations[rows], both.as_rotvec(degrees=True), atol=1e-8)
    np.testing.assert_allclose(poses.shifts[rows], slide.sum(axis=0))
    direct = moved_images(images, poses.rotations, poses.shifts)
    np.testing.assert_allclose(poses.images.matrices, direct.matrices, atol=1e-6)
    scale = abs(images.data).max()
    np.testing.assert_allclose(poses.images.data, direct.data, atol=1e-5 * scale)
    untouched = np.setdiff1d(np.arange(900), rows)
    np.testing.assert_array_equal(poses.images.data[untouched], images.data[untouched])
    poses.put(rows, np.zeros((3, 3)), np.zeros((3, 2)))
    np.testing.assert_allclose(poses.images.data, images.data, atol=1e-5 * scale)


def test_steps_in_the_volume_are_what_so_far_tells(particles):
    images, _, rng = particles
    rows = np.arange(40)
    step = rng.normal(0, [0.002] * 3 + [1.0] * 3, (40, 6))
    # a shift along the line of sight does not show
    frames = np.cross(images.matrices[rows, 0], images.matrices[rows, 1])
    step[:, 3:] -= np.einsum("ni,ni->n", step[:, 3:], frames)[:, None] * frames
    poses = MovingPoses(images)
    poses.move(rows, step)
    changes = poses.so_far(rows)
    np.testing.assert_allclose(changes[:, :3], step[:, :3], atol=1e-5)
    # the frame turns with the pose
    np.testing.assert_allclose(changes[:, 3:], step[:, 3:], atol=0.02)


@pytest.mark.parametrize(("errors", "least"), [((3.0, 2.0), 0.8), ((4.0, 0.5), 0.8)])
def test_wrong_poses_come_closer_to_the_truth(particles, one_class, errors, least):
    images, _, rng = particles
    left = np.arange(600, 900)
    turn, slide = rng.normal(0, errors[0], (900, 3)), rng.normal(0, errors[1], (900, 2))
    poses = MovingPoses(moved_images(images, turn, slide))
    judged = judge_states(poses, left, model_of(one_class, errors), steps=2)
    before = np.linalg.norm(turn[left], axis=1)
    after = distances(turn, poses, left)
    assert np.sqrt((after**2).mean()) < least * np.sqrt((before**2).mean())
    assert (slide[left] + poses.shifts[left]).std() < 0.9 * slide[left].std()
    assert judged.gain.mean() > 0
    assert (poses.rotations[:600] == 0).all()


def test_poses_of_a_fold_come_closer_while_states_are_fitted(particles):
    images, _, rng = particles
    rows = np.arange(600)
    turn = rng.normal(0, 3.0, (900, 3))
    poses = MovingPoses(moved_images(images, turn, np.zeros((900, 2))))
    options = FitOptions(resolution=12.0, iterations=3, mask_diameter=110.0)
    start = np.eye(2, dtype=np.float32)[rows % 2]
    state_fit = fit_states(poses, rows, start, options)
    assert np.isclose(state_fit.model.pose_sigma[0], 3.0, rtol=0.25)
    before = np.linalg.norm(turn[rows], axis=1)
    assert (distances(turn, poses, rows) ** 2).mean() < 0.7 * (before**2).mean()
    assert (poses.rotations[600:] == 0).all()


@pytest.fixture(scope="module")
def one_class(particles):
    images, _, rng = particles
    options = ClassifyOptions(
        classes="1", iterations=2, initial_resolution=12.0, final_resolution=0, mask_diameter=110.0
    )
    return classify(images, np.arange(600), options, rng, start=np.ones((600, 1), np.float32))


def test_slopes_are_finite_differences_of_the_likelihood(particles, one_class):
    images, _, _ = particles
    rows = np.arange(600, 640)

    def moments(turn, move):
        moved = moved_images(images, np.tile(turn, (900, 1)), np.tile(move, (900, 1)))
        found = pose_moments(
            moved, rows, one_class.volumes, np.ones(1), resolution=12.0, noise=one_class.noise
        )
        third = np.cross(moved.matrices[rows, 0], moved.matrices[rows, 1])
        return found, np.concatenate([moved.matrices[rows], third[:, None]], axis=1)

    here, frames = moments(np.zeros(3), np.zeros(2))
    for axis in range(5):
        step = np.zeros(5)
        step[axis] = 0.5 if axis < 3 else 0.2
        up, down = (moments(sign * step[:3], sign * step[3:])[0].plain[:, 0] for sign in (1, -1))
        if axis < 3:
            slope = np.einsum("ni,ni->n", frames[:, axis], here.slope[:, :3, 0]) * np.deg2rad(1.0)
        else:
            slope = -np.einsum("ni,ni->n", frames[:, axis - 3], here.slope[:, 3:, 0])
        found = (up - down) / (2 * step[axis])
        assert np.corrcoef(found, slope)[0, 1] > 0.98
        assert np.isclose(np.polyfit(slope, found, 1)[0], 1, atol=0.1)


def test_likelihood_is_that_of_the_engine(particles, one_class):
    images, _, _ = particles
    rows = np.arange(600, 900)
    moments = pose_moments(
        images, rows, one_class.volumes, np.ones(1), resolution=12.0, noise=one_class.noise
    )
    grid = Grid(shell_of_resolution(12.0, images.box, images.pixel_size), 1)
    view = View(images, images.sorted_rows(rows), grid)
    cubes = resize_cubes(one_class.volumes, grid.cube) / np.float32(images.box)
    inverse = 1 / one_class.noise[:, : grid.radius + 1]
    outcome = expect(view, grid.class_references(cubes), inverse, np.ones(1))
    evidence = np.empty(900)
    evidence[view.rows] = outcome.evidence
    np.testing.assert_allclose(moments.plain[:, 0], evidence[rows], rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(moments.plain[:, 1], moments.plain[:, 0], rtol=1e-3, atol=0.02)


@pytest.mark.parametrize("errors", [(20.0, 0.4), (40.0, 0.4), (5.0, 1.0)])
def test_integral_over_poses_equals_sampling(errors):
    """One particle, by drawing from the prior of several widths, which is normalised."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((6, 6))
    moments = PoseMoments(
        np.array([[0.7, -0.2]]),
        rng.standard_normal((1, 6, 2)),
        (0.1 * root @ root.T)[None],
        np.zeros((1, 1, 1)),
    )
    so_far = 0.1 * rng.standard_normal((1, 6))
    values, changes = moments.marginal(errors, so_far)
    deviation = np.repeat([np.deg2rad(errors[0]), errors[1]], 3)
    drawn = deviation * rng.standard_normal((400_000, 6)) - so_far[0]
    for k in range(2):
        quadratic = 0.5 * np.einsum("ni,ij,nj->n", drawn, moments.curvature[0], drawn)
        logs = moments.plain[0, k] + drawn @ moments.slope[0, :, k] - quadratic
        expected = np.log(np.exp(logs).mean())
        assert np.isclose(values[0, k], expected, atol=0.03)
        assert changes.shape == (1, 6, 2)


@pytest.mark.parametrize(("angle", "shift"), [(3.0, 0.5), (1.0, 2.0)])
def test_errors_of_the_poses_are_estimated(particles, one_class, angle, shift):
    images, _, _ = particles
    rng = np.random.default_rng(12)
    wrong = moved_images(images, rng.normal(0, angle, (900, 3)), rng.normal(0, shift, (900, 2)))
    rows = np.arange(600, 900)
    moments = pose_moments(
        wrong, rows, one_class.volumes, np.ones(1), resolution=12.0, noise=one_class.noise
    )
    turned, moved = moments.estimated_errors(np.ones(1), np.zeros((300, 6)))
    assert np.isclose(turned, angle, rtol=0.25)
    assert np.isclose(moved, shift, rtol=0.25)


def test_no_particle_gets_less_likely(particles, one_class):
    images, _, _ = particles
    poses = MovingPoses(images)
    rows = np.arange(600, 700)
    judged = judge_states(poses, rows, model_of(one_class, (1.0, 1.0)), steps=2)
    assert (judged.gain >= 0).all()
    still = judged.gain == 0
    np.testing.assert_allclose(poses.rotations[rows[still]], 0, atol=1e-6)
    np.testing.assert_allclose(poses.shifts[rows[still]], 0, atol=1e-6)
