"""Likelihoods of conformation and pose together, against sampling and the plain moments."""

import numpy as np
import pytest
import simulated

from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reclassify.joint_moments import POSE, JointMoments, joint_moments
from alphacryo4d.reclassify.pose_scatter import pose_moments
from alphacryo4d.reclassify.state_mixture import points_of_labels
from alphacryo4d.reclassify.state_model import StateModel, weighted

ERRORS = (20.0, 0.4)


@pytest.fixture(scope="module")
def made_up():
    """Three particles, two components."""
    rng = np.random.default_rng(1)
    roots = rng.standard_normal((3, 2 + POSE, 2 + POSE))
    return JointMoments(
        base=rng.standard_normal(3),
        projected=rng.standard_normal((3, 2 + POSE)),
        information=0.1 * roots @ roots.transpose(0, 2, 1),
    )


def drawn_errors(rng, so_far):
    deviation = np.repeat([np.deg2rad(ERRORS[0]), ERRORS[1]], 3)
    return deviation * rng.standard_normal((400_000, POSE)) - so_far, np.log(deviation).sum()


def test_integral_over_poses_equals_sampling(made_up):
    rng = np.random.default_rng(2)
    so_far = 0.1 * rng.standard_normal((3, POSE))
    base, projected, information = made_up.marginalise_pose(ERRORS, so_far)
    points = np.array([[0.0, 0.0], [1.0, -0.5], [-0.4, 1.2]])
    for i in range(3):
        drawn, _ = drawn_errors(rng, so_far[i])
        expected, integrals = [], []
        for point in points:
            x = np.concatenate([np.tile(point, (len(drawn), 1)), drawn], axis=1)
            quadratic = 0.5 * np.einsum("ni,ij,nj->n", x, made_up.information[i], x)
            logs = made_up.base[i] + x @ made_up.projected[i] - quadratic
            expected.append(np.log(np.exp(logs).mean()))
            integrals.append(base[i] + projected[i] @ point - 0.5 * point @ information[i] @ point)
        np.testing.assert_allclose(integrals, expected, atol=0.01)


def test_likelihood_of_a_mixture_equals_sampling(made_up):
    """Of points, the scatter about them and the errors of the poses, drawn and averaged."""
    rng = np.random.default_rng(5)
    so_far = 0.1 * rng.standard_normal((3, POSE))
    points, proportions = np.array([[1.0, -0.5], [-0.4, 1.2]]), np.array([0.3, 0.7])
    scatter = np.array([[0.5, 0.2], [0.2, 0.3]])
    model = StateModel(
        grid=None, cubes=None, points=points, scatter=scatter, proportions=proportions,
        noise=None, pose_sigma=ERRORS,
    )  # fmt: skip
    likelihood, _ = model.log_likelihood(made_up, so_far)
    for i in range(3):
        drawn, _ = drawn_errors(rng, so_far[i])
        state = rng.choice(2, len(drawn), p=proportions)
        z = points[state] + rng.multivariate_normal(np.zeros(2), scatter, len(drawn))
        x = np.concatenate([z, drawn], axis=1)
        quadratic = 0.5 * np.einsum("ni,ij,nj->n", x, made_up.information[i], x)
        logs = made_up.base[i] + x @ made_up.projected[i] - quadratic
        assert likelihood[i] == pytest.approx(np.log(np.exp(logs).mean()), abs=0.02)


def test_posterior_is_that_of_importance_sampling(made_up):
    rng = np.random.default_rng(3)
    mean, covariance = made_up.posterior(ERRORS, np.zeros((3, POSE)))
    so_far = 0.01 * rng.standard_normal((3, POSE))
    moved, _ = made_up.posterior(ERRORS, so_far)
    np.testing.assert_allclose(made_up.posterior_mean(ERRORS, so_far), moved, rtol=1e-8, atol=1e-10)
    assert abs(moved - mean).max() > 1e-4
    for i in range(3):
        drawn, _ = drawn_errors(rng, 0)
        x = np.concatenate([rng.standard_normal((len(drawn), 2)), drawn], axis=1)
        quadratic = 0.5 * np.einsum("ni,ij,nj->n", x, made_up.information[i], x)
        weight = np.exp(x @ made_up.projected[i] - quadratic)
        weight /= weight.sum()
        expected = weight @ x
        spread = (weight[:, None] * (x - expected)).T @ (x - expected)
        np.testing.assert_allclose(mean[i], expected, atol=0.03)
        np.testing.assert_allclose(covariance[i], spread, atol=0.03)


def test_posterior_about_states_is_that_of_their_mixture(made_up):
    """State by state a product of two normal laws; then the moments of the mixture."""
    rng = np.random.default_rng(4)
    so_far = 0.1 * rng.standard_normal((3, POSE))
    points, scatter = rng.standard_normal((3, 2)), np.array([[0.3, 0.1], [0.1, 0.2]])
    soft = rng.dirichlet(np.ones(3), 3)
    deviation = np.repeat([np.deg2rad(ERRORS[0]), ERRORS[1]], 3)
    law = np.zeros((2 + POSE, 2 + POSE))
    law[:2, :2], law[2:, 2:] = scatter, np.diag(deviation**2)
    mean, covariance = made_up.posterior_of_states(ERRORS, so_far, points, scatter, soft)
    for i in range(3):
        inner = np.linalg.inv(np.linalg.inv(law) + made_up.information[i])
        centres = np.concatenate([points, np.tile(-so_far[i], (3, 1))], axis=1)
        each = (made_up.projected[i] + centres @ np.linalg.inv(law)) @ inner
        expected = soft[i] @ each
        apart = each - expected
        np.testing.assert_allclose(mean[i], expected, atol=0.02)
        spread = inner + np.einsum("k,ka,kb->ab", soft[i], apart, apart)
        np.testing.assert_allclose(covariance[i], spread, atol=0.02)


def test_moments_of_states_are_those_of_their_volumes(tmp_path):
    """States as points among components, against the same states as volumes."""
    rng = np.random.default_rng(4)
    table, _ = simulated.simulate(tmp_path, rng.integers(1, 3, 60), 0.5, rng)
    rows = np.arange(60)
    images = prepare_rows(read_particles(table), rows, 12.0)
    grid = Grid(shell_of_resolution(12.0, images.box, images.pixel_size), 1)
    order = images.sorted_rows(rows)
    cubes = rng.standard_normal((3, grid.cube, grid.cube, grid.cube)).astype(np.float32)
    cubes = grid.inverse(grid.transform(cubes) * (grid.shell_map >= 0)).astype(np.float32)
    points, proportions = (
        np.array([[1.0, 0.2], [-0.5, 0.7], [0.1, -1.0]]),
        np.array([0.5, 0.3, 0.2]),
    )
    points -= proportions @ points  # the derivatives are those of the mean of the states
    noise = np.full((1, grid.radius + 1), 30.0)
    joint, _ = joint_moments(View(images, order, grid), cubes, noise)
    moments = joint.of_states(points, proportions)
    volumes = cubes[0] + np.tensordot(points, cubes[1:], 1)
    # volumes at the box of the grid, in the scale of maps
    maps = volumes.astype(np.float32) * np.float32(images.box * (grid.cube / images.box) ** 3)
    expected = pose_moments(images, order, maps, proportions, resolution=12.0, noise=noise)
    scale = abs(expected.plain).max()
    np.testing.assert_allclose(moments.plain, expected.plain, atol=1e-4 * scale)
    np.testing.assert_allclose(moments.slope, expected.slope, atol=1e-4 * abs(expected.slope).max())
    np.testing.assert_allclose(moments.apart, expected.apart, atol=1e-3 * expected.apart.max())
    np.testing.assert_allclose(
        moments.curvature, expected.curvature, atol=1e-4 * abs(expected.curvature).max()
    )


def test_points_of_labels_are_found_again():
    """Particles drawn about known points with a known scatter."""
    rng = np.random.default_rng(5)
    points = np.array([[1.0, -1.0], [-1.5, 0.5], [0.3, 1.0]])
    labels = rng.integers(0, 3, 6000)
    z = points[labels] + np.sqrt(0.2) * rng.standard_normal((6000, 2))
    roots = rng.standard_normal((6000, 2, 2))
    information = roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(2)
    noise = np.linalg.cholesky(information) @ rng.standard_normal((6000, 2, 1))
    projected = np.einsum("nij,nj->ni", information, z) + noise[..., 0]
    soft = np.eye(3, dtype=np.float32)[labels]
    fitted = points_of_labels(information, projected, soft, 0.2)
    np.testing.assert_allclose(fitted, points, atol=0.06)


def test_shares_turn_even_posteriors_into_those_of_rare_states():
    rng = np.random.default_rng(6)
    truth = rng.choice(3, 20_000, p=[0.9, 0.09, 0.01])
    values = rng.standard_normal((20_000, 3)) + 3.0 * np.eye(3)[truth]
    # log-likelihood ratios of unit normals 3 apart in three directions
    soft = np.exp(3.0 * values)
    soft = (soft / soft.sum(axis=1, keepdims=True)).astype(np.float32)
    rare = weighted(soft, np.array([0.9, 0.09, 0.01])).argmax(axis=1) == 2
    assert (truth[rare] == 2).mean() > 0.8
    assert (truth[soft.argmax(axis=1) == 2] == 2).mean() < 0.6
