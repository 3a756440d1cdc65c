"""Local pose refinement against volumes whose particles are known."""

import numpy as np
import pytest
import simulated
from scipy.spatial.transform import Rotation

from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.ml3d.model import Grid, resize_cubes
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.sums import View, expect
from alphacryo4d.particles import read_particles
from alphacryo4d.particles_samples import prepare_rows
from alphacryo4d.voting.pose_scatter import PoseMoments, pose_moments
from alphacryo4d.voting.poses import moved_images, refine_poses, rotation_matrices


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


def test_wrong_poses_come_closer_to_the_truth(particles):
    images, angles, rng = particles
    rows, left = np.arange(600), np.arange(600, 900)
    options = ClassifyOptions(
        classes="1", iterations=2, limit_resolution=12.0, sharpen_to=0, mask_diameter=110.0
    )
    found = classify(images, rows, options, rng, start=np.ones((600, 1), np.float32))
    turn, slide = rng.normal(0, 3.0, (900, 3)), rng.normal(0, 2.0, (900, 2))
    wrong = moved_images(images, turn, slide)
    change = refined(wrong, left, found, (3.0, 2.0))
    before = Rotation.from_rotvec(turn[left], degrees=True)
    after = Rotation.from_rotvec(change.rotations, degrees=True) * before
    error = [np.sqrt((np.degrees(r.magnitude()) ** 2).mean()) for r in (before, after)]
    assert error[1] < 0.8 * error[0]
    assert (slide[left] + change.shifts).std() < 0.6 * slide[left].std()
    assert change.gain.mean() > 0


def refined(images, rows, found, errors, before=None):
    moments = pose_moments(
        images, rows, found.volumes, found.weights, resolution=12.0, noise=found.noise
    )
    return refine_poses(
        images,
        rows,
        moments,
        found.volumes,
        found.weights,
        resolution=12.0,
        noise=found.noise,
        errors=errors,
        before=before,
    )


@pytest.fixture(scope="module")
def one_class(particles):
    images, _, rng = particles
    options = ClassifyOptions(
        classes="1", iterations=2, limit_resolution=12.0, sharpen_to=0, mask_diameter=110.0
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


def test_integral_over_poses_equals_sampling():
    """One particle, by drawing from the prior; its constant, the same for all, is left out."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((6, 6))
    moments = PoseMoments(
        np.array([[0.7, -0.2]]),
        rng.standard_normal((1, 6, 2)),
        (0.1 * root @ root.T)[None],
        np.zeros((1, 1, 1)),
    )
    errors, so_far = (20.0, 0.4), 0.1 * rng.standard_normal((1, 6))
    values, changes = moments.marginal(errors, so_far)
    deviation = np.repeat([np.deg2rad(20.0), 0.4], 3)
    drawn = deviation * rng.standard_normal((400_000, 6)) - so_far[0]
    for k in range(2):
        quadratic = 0.5 * np.einsum("ni,ij,nj->n", drawn, moments.curvature[0], drawn)
        logs = moments.plain[0, k] + drawn @ moments.slope[0, :, k] - quadratic
        expected = np.log(np.exp(logs).mean()) + np.log(deviation).sum()
        assert np.isclose(values[0, k], expected, atol=0.01)
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


def test_a_second_step_starts_where_the_first_ended(particles, one_class):
    images, angles, _ = particles
    rng = np.random.default_rng(13)
    turn = rng.normal(0, 4.0, (900, 3))
    wrong, rows = moved_images(images, turn, np.zeros((900, 2))), np.arange(600, 900)
    first = refined(wrong, rows, one_class, (4.0, 0.5))
    rotations, shifts = np.zeros((900, 3)), np.zeros((900, 2))
    rotations[rows], shifts[rows] = first.rotations, first.shifts
    moved = moved_images(wrong, rotations, shifts)
    second = refined(moved, rows, one_class, (4.0, 0.5), (first.rotations, first.shifts))
    before = Rotation.from_rotvec(turn[rows], degrees=True)
    error = [
        (Rotation.from_rotvec(change.rotations, degrees=True) * before).magnitude().mean()
        for change in (first, second)
    ]
    assert error[1] < 1.02 * error[0] < before.magnitude().mean()


def test_no_particle_gets_less_likely(particles, one_class):
    images, _, _ = particles
    change = refined(images, np.arange(600, 700), one_class, (1.0, 1.0))
    assert (change.gain >= 0).all()
    still = change.gain == 0
    assert (change.rotations[still] == 0).all()
