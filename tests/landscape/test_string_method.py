"""The string method against the authors' result and against a plain loop."""

import numpy as np
import pytest
from scipy.interpolate import CloughTocher2DInterpolator

from alphacryo4d.landscape.energy import free_energy
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.string_method import minimum_energy_path, spaced_centers
from alphacryo4d.landscape.surface import triangulated_surface


@pytest.fixture(scope="module")
def proteasome(shared_data):
    folder = shared_data / "proteasome"
    energies = free_energy(np.loadtxt(folder / "num_big.txt"))
    return np.load(folder / "output_big.npy").astype(float), energies, folder


def test_the_authors_centers_are_reproduced(proteasome):
    embedding, energies, folder = proteasome
    surface = triangulated_surface(embedding, energies, kind="cubic")
    ends = np.array([[-50.0, 100.0], [-80.0, -30.0]])
    path = minimum_energy_path(surface, ends, PathOptions(stepsize=0.1))
    assert path.converged
    assert path.iterations == 50_566
    centers = spaced_centers(path.images, 7)
    np.testing.assert_allclose(centers, np.load(folder / "centers_k.npy"), atol=1e-6)


def test_the_compiled_loop_follows_the_plain_one(proteasome):
    embedding, energies, _ = proteasome
    surface = triangulated_surface(embedding, energies, kind="cubic")
    ends = np.array([[-50.0, 100.0], [-80.0, -30.0]])
    path = minimum_energy_path(surface, ends, PathOptions(stepsize=0.1, stepmax=40, images=100))
    assert not path.converged
    plain = _plain_loop(CloughTocher2DInterpolator(embedding, energies), ends, 100, 40)
    np.testing.assert_allclose(path.images, plain, atol=1e-8)


def _plain_loop(surface, ends, images, steps):
    """The authors' loop: central differences, step 0.1, linear re-spacing."""
    grid = np.linspace(0, 1, images)
    path = np.stack([np.linspace(*ends[:, axis], images) for axis in (0, 1)], 1)
    for _ in range(steps):
        gradient = np.stack(
            [(surface(path + d) - surface(path - d)) / 2e-5 for d in 1e-5 * np.eye(2)], 1
        )
        path = path - 0.1 * gradient
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        path = np.stack([np.interp(grid, length / length[-1], path[:, a]) for a in (0, 1)], 1)
    return path


def test_a_path_that_leaves_the_hull_never_breaks():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (60, 2))
    surface = triangulated_surface(points, points[:, 0] * 5, kind="cubic")
    options = PathOptions(images=20, stepsize=0.5, stepmax=500)
    path = minimum_energy_path(surface, np.array([[3.0, -0.5], [0.5, 4.0]]), options)
    assert np.isfinite(path.images).all()
    assert np.isfinite(path.energies).all()
    assert path.returned > 0
