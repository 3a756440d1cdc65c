"""One frame for all folds: against brute force and closed forms."""

import numpy as np
from scipy.stats import multivariate_normal

from alphacryo4d.particle_landscape.frame import (
    common_frame,
    evidence_by_count,
    in_frame,
    likelihood_of,
    packed_size,
    posterior,
    unpacked,
)
from alphacryo4d.particle_landscape.orientation import explained, polynomials
from alphacryo4d.particle_landscape.volumes import linear_volumes

EDGE, Q = 8, 3


def random_fold(rng, mean, components, noise=0.0):
    """The same volumes as another fold would give them: turned, scaled and moved components."""
    q = len(components)
    turn = rng.standard_normal((q, q)) * 0.3 + np.linalg.qr(rng.standard_normal((q, q)))[0]
    shift = 0.3 * rng.standard_normal(q)
    cubes = np.concatenate([(mean + shift @ components)[None], turn @ components])
    cubes = cubes + noise * rng.standard_normal(cubes.shape)
    return cubes.reshape(q + 1, EDGE, EDGE, EDGE), turn, shift


def smooth(rng, count):
    """Band-limited random volumes, as vectors."""
    from alphacryo4d.maths.fourier import resize_cubes

    cubes = rng.standard_normal((count, EDGE, EDGE, EDGE))
    return resize_cubes(resize_cubes(cubes, 7), EDGE).reshape(count, -1).astype(float)


def test_a_particle_has_the_same_volume_and_likelihood_in_every_frame():
    rng = np.random.default_rng(0)
    volumes = smooth(rng, Q + 1)
    mean, components = volumes[0], np.array([3.0, 2.0, 1.0])[:, None] * volumes[1:]
    folds = [random_fold(rng, mean, components) for _ in range(4)]
    frame = common_frame([fold[0] for fold in folds], Q)
    assert frame.components.shape[0] == Q
    for cubes, turn, shift in folds:
        z = rng.standard_normal(Q)
        volume = mean + (shift + z @ turn) @ components
        offset, back = frame.from_fold(cubes)
        place = np.linalg.solve(back, z - offset)
        np.testing.assert_allclose(frame.mean + place @ frame.components, volume, atol=1e-4)
        root = rng.standard_normal((Q, Q))
        information, projected = root @ root.T, rng.standard_normal(Q)
        moved, matrix = in_frame(projected[None], information[None], offset, back)
        others = rng.standard_normal((5, Q))
        there = offset + others @ back.T
        value = there @ projected - 0.5 * np.einsum("ki,ij,kj->k", there, information, there)
        same = others @ moved[0] - 0.5 * np.einsum("ki,ij,kj->k", others, matrix[0], others)
        np.testing.assert_allclose(np.diff(value), np.diff(same), atol=1e-8)


def test_noise_of_single_folds_is_weak_in_the_frame():
    rng = np.random.default_rng(1)
    volumes = smooth(rng, 3)
    mean, real = volumes[0], volumes[1:2]
    folds = []
    for _ in range(4):
        own = smooth(rng, 1)
        folds.append(np.concatenate([mean[None], real, own]).reshape(3, EDGE, EDGE, EDGE))
    power = np.square(common_frame(folds, 5).components).sum(axis=1)
    assert power[1] < 0.45 * power[0]


def test_a_direction_that_a_fold_does_not_know_is_not_measured_by_it():
    rng = np.random.default_rng(2)
    volumes = smooth(rng, 3)
    whole = volumes.reshape(3, EDGE, EDGE, EDGE)
    frame = common_frame([whole, whole], 2)
    _, turn = frame.from_fold(whole[:2])
    known = turn @ frame.components @ np.linalg.pinv(volumes[1][None])
    assert turn.shape == (1, 2)
    assert np.isfinite(known).all()
    # the column of the unknown direction is what the two volumes have in common alone
    across = volumes[2] - (volumes[2] @ volumes[1]) / (volumes[1] @ volumes[1]) * volumes[1]
    along = across @ np.linalg.pinv(frame.components)
    assert abs(turn @ along) < 1e-6


def test_evidence_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(3)
    n, q = 4, 3
    root = rng.standard_normal((n, q, q))
    information = root @ root.transpose(0, 2, 1) + 0.3 * np.eye(q)
    measured = rng.standard_normal((n, q))
    projected = np.einsum("nij,nj->ni", information, measured)
    evidence = evidence_by_count(projected, information)
    for i in range(n):
        assert evidence[i, 0] == 0
        # with all components: the measurement has the covariance of error and prior
        error = np.linalg.inv(information[i])
        wanted = multivariate_normal(np.zeros(q), error + np.eye(q)).logpdf(measured[i])
        wanted -= multivariate_normal(np.zeros(q), error).logpdf(measured[i])
        np.testing.assert_allclose(evidence[i, q], wanted, atol=1e-10)
        grid = np.linspace(-12, 12, 20001)
        value = projected[i, 0] * grid - 0.5 * information[i, 0, 0] * grid**2 - 0.5 * grid**2
        integral = np.exp(value).sum() * (grid[1] - grid[0]) / np.sqrt(2 * np.pi)
        np.testing.assert_allclose(evidence[i, 1], np.log(integral), atol=1e-6)


def test_the_prior_comes_off_again_and_triangles_unfold():
    rng = np.random.default_rng(4)
    root = rng.standard_normal((6, 3, 3))
    information, projected = root @ root.transpose(0, 2, 1), rng.standard_normal((6, 3))
    mean, covariance = posterior(projected, information)
    slope, matrix = likelihood_of(mean, covariance)
    np.testing.assert_allclose(slope, projected, atol=1e-8)
    np.testing.assert_allclose(matrix, information, atol=1e-8)
    row, column = np.triu_indices(3)
    assert packed_size(3) == len(row)
    np.testing.assert_array_equal(unpacked(covariance[:, row, column], 3), covariance)


def test_a_coordinate_that_encodes_the_view_is_known():
    rng = np.random.default_rng(5)
    direction = rng.standard_normal((4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    noise = rng.standard_normal(4000)
    terms = polynomials(direction, 4)
    assert np.linalg.matrix_rank(np.column_stack([np.ones(4000), terms])) == 25
    assert explained(noise, terms) < 0.02
    view = direction[:, 0] * direction[:, 2] ** 3
    share = explained(view / view.std() + noise, terms)
    assert abs(share - 0.5) < 0.05
    assert explained(np.ones(4000), terms) == 0


def test_a_point_has_its_volume_whatever_the_components_of_the_folds():
    rng = np.random.default_rng(0)
    volumes = smooth(rng, 4)
    mean, components = volumes[0], np.array([3.0, 2.0, 1.0])[:, None] * volumes[1:]
    folds = [random_fold(rng, mean, components)[0] for _ in range(4)]
    frame = common_frame(folds, 3)
    points = rng.standard_normal((5, 3))
    at_points = linear_volumes(folds, frame, points)
    wanted = (frame.mean + points @ frame.components).reshape(-1, EDGE, EDGE, EDGE)
    np.testing.assert_allclose(at_points, wanted, atol=2e-4)
    assert at_points.dtype == np.float32


def test_coordinates_that_are_not_given_are_at_their_mean():
    rng = np.random.default_rng(1)
    volumes = smooth(rng, 3)
    folds = [random_fold(rng, volumes[0], volumes[1:])[0] for _ in range(2)]
    frame = common_frame(folds, 2)
    at_points = linear_volumes(folds, frame, np.array([[0.7]]))
    wanted = linear_volumes(folds, frame, np.array([[0.7, 0.0]]))
    np.testing.assert_allclose(at_points, wanted, atol=1e-6)
