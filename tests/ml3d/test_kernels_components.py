"""The kernels of the seeds against brute force in float64."""

import numpy as np
import pytest
from blobs import make_blobs, random_states
from test_kernels import corners, full_grid, slices

from alphacryo4d.ml3d import expectation as sums
from alphacryo4d.ml3d.cells import voxel_inverses
from alphacryo4d.ml3d.compiled.latent import SIDE, posterior_covariances
from alphacryo4d.ml3d.compiled.linear import apply_weights, reach
from alphacryo4d.ml3d.expectation import View, component_products, project_back
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.latent import posterior_moments
from alphacryo4d.ml3d.mean import data_power


@pytest.fixture(scope="module")
def view():
    images = make_blobs(random_states(2), 20, noise=0.05).prepared()
    return View(images, images.sorted_rows(np.arange(20)), Grid(7, 2))


def close(computed, expected, tolerance=1e-5):
    return np.abs(computed - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("count", [3, 11, 18])
def test_products_and_noise_agree_with_brute_force(view, count):
    rng = np.random.default_rng(1)
    cubes = rng.standard_normal((count, *[view.grid.cube] * 3)).astype(np.float32) * 0.01
    noise = data_power(view) + 1
    noise[:, 0] = noise[:, 1]
    means = rng.standard_normal((20, count)).astype(np.float32)
    roots = rng.standard_normal((20, count, count)).astype(np.float32)
    second = roots @ roots.transpose(0, 2, 1)
    products = component_products(view, view.grid.references(cubes), 1 / noise, means, second)
    grids, images = full_grid(view, cubes), view.images
    shell = images.shell[1 : view.last]
    cross, gram = np.zeros((20, count)), np.zeros((20, count, count))
    power = np.zeros(view.grid.radius + 1)
    for i, row in enumerate(view.rows):
        data = (images.data[row, : view.last].astype(float) @ [1, 1j])[1:]
        model = (images.ctf[row, : view.last] * slices(view, grids, row))[:, 1:]
        cross[i] = ((model.conj() * data).real / noise[0, shell]).sum(axis=1)
        gram[i] = ((model.conj() / noise[0, shell]) @ model.T).real
        spread = np.einsum("as,bs,ab->s", model.conj(), model, second[i]).real
        left = np.abs(data) ** 2 - 2 * (data.conj() * (means[i] @ model)).real + spread
        np.add.at(power, shell, left)
    assert close(products[0], cross)
    assert close(products[1], gram)
    assert close(products[2][0, 1:], power[1:] / view.samples_per_shell()[0, 1:])


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("count", [3, 6])
def test_pairs_of_columns_are_projected_back(view, dense, count, monkeypatch):
    monkeypatch.setattr(sums, "_DENSE", 0 if dense else np.inf)
    rng = np.random.default_rng(2)
    n, images = view.grid.padded, view.images
    means = rng.standard_normal((20, count)).astype(np.float32)
    products = rng.random((20, count * (count + 1) // 2)).astype(np.float32)
    noise = data_power(view) + 1
    data = np.zeros((n, n, n, count), complex)
    norms = np.zeros((n, n, n, products.shape[1]))
    for i, row in enumerate(view.rows):
        m = view.matrices[row].astype(float)
        for s in range(view.last):
            point = images.kx[s] * m[0] + images.ky[s] * m[1]
            value = images.data[row, s].astype(float) @ [1, 1j]
            ctf, power = float(images.ctf[row, s]), noise[0, images.shell[s]]
            for side, datum in ((1, value), (-1, np.conj(value))):
                near = tuple(np.rint(side * point).astype(int)[::-1] % n)
                norms[near] += products[i] * ctf**2 / power * dense
                for voxel, w in corners(side * point, n):
                    data[voxel] += w * means[i] * ctf * datum / power
                    norms[voxel] += w * products[i] * ctf**2 / power * (not dense)
    g = np.arange(n)
    turn = (-1j) ** (g[:, None, None] + g[:, None] + g[: n // 2 + 1])
    right, weights = project_back(view, 1 / noise, means, products)
    assert close(right, np.moveaxis(data[:, :, : n // 2 + 1] * turn[..., None], -1, 0))
    assert close(weights, norms[:, :, : n // 2 + 1].reshape(len(weights), -1))


def random_weights(rng, q, size, limit):
    """Matrices (voxels, q, q) that vanish where samples do not reach, and their planes."""
    half = size // 2 + 1
    roots = rng.standard_normal((size * size * half, q, q))
    matrices = (roots @ roots.transpose(0, 2, 1)).reshape(size, size, half, q, q)
    for z in range(size):
        for y in range(size):
            matrices[z, y, reach(size, limit, z, y) :] = 0
    matrices = matrices.reshape(-1, q, q)
    row, column = np.triu_indices(q)
    return matrices, np.ascontiguousarray(matrices[:, row, column].T, np.float32)


@pytest.mark.parametrize("q", [1, 3, 9])
def test_weights_are_applied_and_inverted(q):
    rng = np.random.default_rng(3)
    size, limit = 16, 6
    matrices, packed = random_weights(rng, q, size, limit)
    voxels = len(matrices)
    spectra = (rng.random((q, voxels)) + 1j * rng.random((q, voxels))).astype(np.complex64)
    row, column = np.triu_indices(q)
    planes = np.zeros((q, q), np.int64)
    planes[row, column] = planes[column, row] = np.arange(len(row))
    out = spectra.copy()
    apply_weights(0, size * size, packed, size, limit, planes, out)
    assert close(out, np.einsum("vab,bv->av", matrices, spectra.astype(complex)))

    grid, whole = Grid(3), matrices.reshape(size, size, -1, q, q)
    assert grid.padded == size
    prior = np.tile(np.eye(q, dtype=np.float32) * 5, (4, 1, 1))
    inverse = voxel_inverses(prior, packed, 8, grid.shell_map, 2)
    for z, y, x in ((0, 0, 1), (1, 2, 2), (7, 6, 0), (6, 1, 0)):
        total = 5 * np.eye(q)
        for step in np.ndindex(3, 3, 3):
            dz, dy, dx = np.array(step) - 1
            at = np.array([2 * (z - 8 * (z > 4)) + dz, 2 * (y - 8 * (y > 4)) + dy, 2 * x + dx])
            at = at if at[2] >= 0 else -at
            total += 0.5 ** np.abs([dz, dy, dx]).sum() * whole[at[0] % size, at[1] % size, at[2]]
        assert close(inverse[(z * 8 + y) * 5 + x], np.linalg.inv(total), 1e-4)


def test_moments_of_coordinates_agree_with_brute_force():
    rng = np.random.default_rng(5)
    roots = rng.standard_normal((13, 5, 5)).astype(np.float32)
    information = roots @ roots.transpose(0, 2, 1)
    projected = rng.standard_normal((13, 5)).astype(np.float32)
    means, second = posterior_moments(information, projected, 2)
    covariance = np.linalg.inv(information.astype(float) + np.eye(5))
    mean = np.concatenate([np.ones((13, 1)), np.einsum("nab,nb->na", covariance, projected)], 1)
    expected = mean[:, :, None] * mean[:, None]
    expected[:, 1:, 1:] += covariance
    assert close(means, mean)
    assert close(second, expected)


@pytest.mark.parametrize(("count", "q"), [(1, 1), (7, 2), (SIDE, 5), (2 * SIDE + 5, 21)])
def test_matrices_beside_each_other_are_inverted(count, q):
    rng = np.random.default_rng(6)
    roots = rng.standard_normal((count + 3, q, q + 2)).astype(np.float32)
    information = roots @ roots.transpose(0, 2, 1)
    precision = np.diag(rng.uniform(0.1, 2, q))
    covariances, logs = np.empty((count, q, q)), np.empty(count)
    posterior_covariances(3, count + 3, information, precision, covariances, logs)
    lower = np.tril(information[3:]).astype(float)
    whole = lower + np.tril(lower, -1).transpose(0, 2, 1) + precision
    assert close(covariances, np.linalg.inv(whole), 1e-10)
    assert close(logs, np.linalg.slogdet(whole)[1], 1e-12)
    assert (covariances == covariances.transpose(0, 2, 1)).all()
