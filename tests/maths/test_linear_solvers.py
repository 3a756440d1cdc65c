"""Conjugate gradients end at the solution; stretched scores are seen in their direction."""

import numpy as np
import pytest

from alphacryo4d.maths.linear_solvers import (
    conjugate_gradients,
    root_of_covariance,
    stretched_direction,
)


def test_conjugate_gradients_solve_in_as_many_steps_as_dimensions() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix = root @ root.T + np.eye(6)
    right, diagonal = rng.normal(size=6), np.diag(matrix)
    fields = np.zeros(6)
    conjugate_gradients(
        lambda search: (search, matrix @ search), lambda r: r / diagonal, fields, right.copy(), 6
    )
    np.testing.assert_allclose(fields, np.linalg.solve(matrix, right), rtol=1e-3, atol=1e-5)


def test_fields_may_be_kept_in_another_space_than_residuals() -> None:
    rng = np.random.default_rng(1)
    power = rng.uniform(1, 3, 5)  # diagonal of the operator on transforms of length 8
    right = np.fft.rfft(rng.normal(size=8))
    fields = np.zeros(8)
    conjugate_gradients(
        lambda search: (np.fft.irfft(search, 8), power * search), lambda r: r.copy(), fields,
        right.copy(), 8,
        inner=lambda a, b: float(np.fft.irfft(a, 8) @ np.fft.irfft(b, 8)),
    )  # fmt: skip
    np.testing.assert_allclose(np.fft.rfft(fields), right / power, atol=1e-4)


def test_scores_of_one_state_have_no_excess_and_those_of_two_have() -> None:
    rng = np.random.default_rng(2)
    information = np.diag([4.0, 1.0, 0.25])
    noise = rng.normal(size=(20000, 3)) * np.sqrt(np.diag(information))
    weights = np.ones(len(noise))
    excess, direction = stretched_direction(noise, weights, len(noise) * information)
    assert abs(excess) < 0.05
    # two states at +-d: the score of a particle of one is d times the information
    apart = rng.choice([-1.0, 1.0], len(noise))[:, None] * np.array([0.0, 1.5, 0.0])
    excess, direction = stretched_direction(
        noise + apart @ information, weights, len(noise) * information
    )
    assert excess > 1.5
    assert abs(direction[1]) > 10 * abs(direction[[0, 2]]).max()
    np.testing.assert_allclose(direction @ information @ direction * len(noise), 1, rtol=1e-3)


def test_roots_of_covariances_that_rounding_left_without_positivity():
    rng = np.random.default_rng(3)
    some = rng.normal(size=(5, 3))
    sound = some.T @ some
    np.testing.assert_array_equal(root_of_covariance(sound), np.linalg.cholesky(sound))
    flat = np.outer(some[0], some[0])  # of rank one, and a little less
    flat[2, 2] -= 1e-9
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(flat)
    root = root_of_covariance(flat)
    np.testing.assert_allclose(root @ root.T, flat, atol=1e-8)
    assert np.isfinite(np.linalg.inv(root)).all()
    assert np.isfinite(root_of_covariance(np.zeros((3, 3)))).all()
