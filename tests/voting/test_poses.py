"""Local pose refinement against volumes whose particles are known."""

from dataclasses import replace

import numpy as np
import pytest
import simulated
from scipy.spatial.transform import Rotation

from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles import read_particles
from alphacryo4d.voting.images_stage import prepare_rows
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
    change = refine_poses(
        wrong,
        left,
        found.volumes,
        resolution=12.0,
        noise=found.noise,
        angle_error=3.0,
        shift_error=2.0,
    )
    before = Rotation.from_rotvec(turn[left], degrees=True)
    after = Rotation.from_rotvec(change.rotations, degrees=True) * before
    error = [np.sqrt((np.degrees(r.magnitude()) ** 2).mean()) for r in (before, after)]
    assert error[1] < 0.7 * error[0]
    assert (slide[left] + change.shifts).std() < 0.6 * slide[left].std()
    assert change.gain.mean() > 0


def test_no_particle_gets_less_likely(particles):
    images, _, rng = particles
    volume = rng.standard_normal((2, *(simulated.BOX,) * 3)).astype(np.float32)
    noise = np.ones((1, images.radius + 1))
    change = refine_poses(
        replace(images),
        np.arange(50),
        volume,
        resolution=15.0,
        noise=noise,
        angle_error=1.0,
        shift_error=1.0,
        rounds=1,
    )
    assert (change.gain >= 0).all()
