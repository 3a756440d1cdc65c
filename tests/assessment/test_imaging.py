import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.assessment.imaging import perturb_rotations, random_rotations
from alphacryo4d.maths.rotations import euler_angles, euler_matrices


def test_matrices_are_the_zyz_rotations_of_scipy():
    angles = random_rotations(np.random.default_rng(0), 50)
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(euler_matrices(angles), expected, atol=1e-12)


def test_euler_angles_give_the_same_matrices_back():
    angles = np.vstack(
        [random_rotations(np.random.default_rng(1), 50), [(10, 0, 20), (30, 180, -50), (0, 0, 0)]]
    )
    matrices = euler_matrices(angles)
    np.testing.assert_allclose(euler_matrices(euler_angles(matrices)), matrices, atol=1e-8)


def test_random_rotations_are_uniform():
    matrices = euler_matrices(random_rotations(np.random.default_rng(2), 40_000))
    np.testing.assert_allclose(matrices.mean(axis=0), 0, atol=0.015)
    np.testing.assert_allclose((matrices**2).mean(axis=0), 1 / 3, atol=0.01)


def test_pose_error_is_gaussian_on_every_axis_of_the_rotation_vector():
    rng = np.random.default_rng(3)
    angles = random_rotations(rng, 20_000)
    turned = euler_matrices(perturb_rotations(angles, 1.5, rng))
    vectors = Rotation.from_matrix(turned @ euler_matrices(angles).transpose(0, 2, 1))
    degrees = np.rad2deg(vectors.as_rotvec())
    np.testing.assert_allclose(degrees.std(axis=0), 1.5, rtol=0.02)
    np.testing.assert_allclose(degrees.mean(axis=0), 0, atol=0.04)
