"""Surfaces against SciPy and against brute-force differences."""

import numpy as np
import pytest
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator

from alphacryo4d.core.errors import InputError
from alphacryo4d.landscape.surface import triangulated_surface

SCIPY = {"linear": LinearNDInterpolator, "cubic": CloughTocher2DInterpolator}


@pytest.fixture(params=["linear", "cubic"])
def kind(request):
    return request.param


@pytest.fixture
def scattered():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 2)) * 30
    energies = np.cos(points[:, 0] / 20) + rng.normal(size=200) * 0.3
    return points, energies, rng.uniform(-90, 90, (2000, 2))


def test_values_are_those_of_scipy(scattered, kind):
    points, energies, queries = scattered
    ours = triangulated_surface(points, energies, kind=kind).values(queries)
    np.testing.assert_allclose(ours, SCIPY[kind](points, energies)(queries), atol=1e-11)


def test_gradients_are_exact(scattered, kind):
    points, energies, queries = scattered
    ours = triangulated_surface(points, energies, kind=kind).gradients(queries)
    reference = SCIPY[kind](points, energies)
    h = 1e-6
    differences = np.stack(
        [(reference(queries + d) - reference(queries - d)) / (2 * h) for d in h * np.eye(2)], 1
    )
    both = np.isfinite(ours) & np.isfinite(differences)
    close = np.abs(ours - differences)[both] < 1e-6
    assert close.mean() > 0.999  # differences across an edge of a linear surface are no reference


def test_points_off_the_surface_come_back_to_its_nearest_edge():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.4, 0.6]], float)
    surface = triangulated_surface(square, square[:, 0], kind="linear")
    moved, count = surface.bring_back(np.array([[2.0, 0.5], [0.3, 0.3], [-1.0, -1.0]]))
    assert count == 2
    np.testing.assert_allclose(moved, [[1, 0.5], [0.3, 0.3], [0, 0]], atol=2e-6)
    assert np.isfinite(surface.values(moved)).all()


def test_points_on_one_line_span_no_surface():
    line = np.arange(10.0)[:, None] * [1.0, 2.0]
    with pytest.raises(InputError, match="span no surface"):
        triangulated_surface(line, np.arange(10.0), kind="cubic")
