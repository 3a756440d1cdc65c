"""The transforms of the normal equations against numpy's."""

import numpy as np
import pytest

from alphacryo4d.ml3d.grid import Grid


@pytest.fixture(scope="module", params=[3, 10, 13])
def grid(request):
    return Grid(request.param, 1)


@pytest.fixture(scope="module")
def field(grid):
    """A cube, its shape, weights where samples reach, and the padded transform."""
    rng, n, m = np.random.default_rng(1), grid.padded, grid.cube
    cube, shape = rng.standard_normal((2, m, m, m)).astype(np.float32)
    weights = rng.random((n, n, n // 2 + 1)).astype(np.float32)
    k = np.abs(np.fft.fftfreq(n, 1 / n))
    far = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(n // 2 + 1) ** 2)
    weights[far >= grid.used] = 0
    padded = np.zeros((n, n, n))
    padded[:m, :m, :m] = cube.astype(float) * shape
    return cube, shape, weights, np.fft.rfftn(padded)


def cropped(spectrum, m):
    """The first voxels of the inverse transform, times eight."""
    n = len(spectrum)
    return 8 * np.fft.irfftn(spectrum, s=(n, n, n), axes=(0, 1, 2))[:m, :m, :m]


def test_weights_between_two_transforms(grid, field):
    cube, shape, weights, spectrum = field
    expected = cropped(spectrum * weights, grid.cube) * shape
    weighted = grid.weighted(cube, shape, weights)
    assert np.abs(weighted - expected).max() < 2e-6 * np.abs(expected).max()
    right = (spectrum[::-1] * (weights > 0)).astype(np.complex64)
    expected = cropped(right, grid.cube) * shape - expected
    weighted = grid.weighted(cube, shape, weights, right)
    assert np.abs(weighted - expected).max() < 2e-6 * np.abs(expected).max()


def test_spectrum_to_cube(grid, field):
    _, shape, weights, spectrum = field
    some = (spectrum * weights).astype(np.complex64)
    expected = cropped(some, grid.cube) * shape
    assert np.abs(grid.cropped(some, shape) - expected).max() < 2e-6 * np.abs(expected).max()


def test_references_of_classes_are_those_of_components_in_another_order(grid):
    rng = np.random.default_rng(2)
    cubes = rng.standard_normal((6, *[grid.cube] * 3)).astype(np.float32)
    other = grid.references(cubes)
    references = grid.class_references(cubes)
    assert references.shape == (grid.voxels, 2, 8)
    n = grid.padded
    k = np.abs(np.fft.fftfreq(n, 1 / n))
    far = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(n // 2 + 1) ** 2)
    near = (far < grid.used).ravel()
    for column in range(6):
        vector, lane = divmod(column, 4)
        for part in (0, 1):
            one, two = references[near, vector, lane + 4 * part], other[near, column + 8 * part]
            assert np.abs(one - two).max() < 2e-6 * np.abs(other).max()
