"""The null model: projections in closed form, and noise of the measured power."""

import numpy as np
import pytest
import simulated

from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.voting.null import projections, simulate_null


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("null")
    rng = np.random.default_rng(2)
    table, angles = simulated.simulate(folder, np.zeros(400, int), 0.5, rng)
    return prepare_rows(read_particles(table), np.arange(400), 15.0), angles


def test_projections_equal_the_closed_form(images):
    prepared, angles = images
    size, voxel = simulated.BOX, simulated.PIXEL
    grid = (np.arange(size) - size // 2) * voxel
    z, y, x = np.meshgrid(grid, grid, grid, indexing="ij")
    width = 8.0
    volume = np.zeros((size, size, size))
    for px, py, pz in simulated.BODY:
        square = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        volume += np.exp(-square / (2 * width**2))
    projected = projections(volume, prepared)
    k = np.stack([prepared.kx, prepared.ky]) / (size * voxel)
    rotation = simulated.rotation(angles)
    for i in (0, 7, 200):
        positions = rotation[i] @ simulated.BODY.T
        phase = np.exp(-2j * np.pi * (k.T @ positions[:2])).sum(axis=1)
        damped = np.exp(-2 * np.pi**2 * width**2 * (k**2).sum(axis=0))
        expected = phase * damped * (2 * np.pi * width**2) ** 1.5 / voxel**3
        np.testing.assert_allclose(projected[i], expected, atol=2e-3 * abs(expected).max())


def test_null_has_the_power_of_the_data(images):
    prepared, _ = images
    null = simulate_null(prepared, np.random.default_rng(0))
    for shell in (1, 3, 6):
        inside = prepared.shell == shell
        power = [np.square(part.data[:, inside]).sum(axis=2).mean() for part in (prepared, null)]
        assert np.isclose(*power, rtol=0.15)


def test_null_is_not_the_data(images):
    prepared, _ = images
    null = simulate_null(prepared, np.random.default_rng(0))
    high = prepared.shell >= 5
    data, other = prepared.data[:, high].ravel(), null.data[:, high].ravel()
    assert abs(np.corrcoef(data, other)[0, 1]) < np.corrcoef(data, data)[0, 1] - 0.2
    np.testing.assert_array_equal(null.matrices, prepared.matrices)
