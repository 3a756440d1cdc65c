import numpy as np
import pytest
from blobs import make_blobs, random_states

from alphacryo4d.ml3d import expectation as sums
from alphacryo4d.ml3d.cells import apply_prior, cell_variances, cell_weights, solve_cells
from alphacryo4d.ml3d.class_volumes import class_sums, solve_classes
from alphacryo4d.ml3d.expectation import View, component_products, expect, project_back
from alphacryo4d.ml3d.grid import Grid, solve_volumes
from alphacryo4d.ml3d.mean import data_power


@pytest.fixture(scope="module")
def view():
    blobs = make_blobs(random_states(2), 40, noise=0.05)
    images = blobs.prepared()
    return View(images, images.sorted_rows(np.arange(40)), Grid(9, 2))


@pytest.fixture(scope="module")
def cubes(view):
    rng = np.random.default_rng(1)
    return rng.standard_normal((3, *[view.grid.cube] * 3)).astype(np.float32)


def full_grid(view, cubes):
    """Padded transform of every cube with all its voxels, in float64."""
    n, m = view.grid.padded, view.grid.cube
    padded = np.zeros((len(cubes), n, n, n))
    cut = slice(n // 2 - m // 2, n // 2 + m // 2)
    padded[:, cut, cut, cut] = cubes.astype(float) / view.grid.kernel_transform
    return np.fft.fftn(np.fft.ifftshift(padded, axes=(1, 2, 3)), axes=(1, 2, 3))


def corners(point, n):
    """Voxels around a point and their trilinear weights, plainly."""
    base = np.floor(point).astype(int)
    part = point - base
    for step in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(step, part, 1 - part))
        yield tuple((base + step)[::-1] % n), weight


def slices(view, grids, row):
    """Samples of the columns in the plane of a particle, by brute force."""
    m = view.matrices[row].astype(float)
    images = view.images
    out = np.zeros((len(grids), view.last), complex)
    for s in range(view.last):
        point = images.kx[s] * m[0] + images.ky[s] * m[1]
        for voxel, weight in corners(point, view.grid.padded):
            out[:, s] += weight * grids[(slice(None), *voxel)]
    return out


def test_expectation_agrees_with_brute_force(view, cubes):
    noise = data_power(view) + 1
    weights = np.array([0.2, 0.5, 0.3])
    expectation = expect(view, view.grid.class_references(cubes), 1 / noise, weights)
    grids = full_grid(view, cubes)
    images = view.images
    for i, row in enumerate(view.rows[:8]):
        data = images.data[row, : view.last].astype(float) @ [1, 1j]
        model = images.ctf[row, : view.last] * slices(view, grids, row)
        power = (np.abs(data) ** 2 - np.abs(data - model) ** 2) / noise[
            0, images.shell[: view.last]
        ]
        score = power[:, 1:].sum(axis=1) + np.log(weights)
        top = score.max()
        expected = np.exp(score - top) / np.exp(score - top).sum()
        assert expectation.evidence[i] == pytest.approx(
            top + np.log(np.exp(score - top).sum()), rel=1e-5
        )
        assert np.abs(expectation.posteriors[i] - expected).max() < 2e-4


@pytest.mark.parametrize("classes", [1, 5, 29])
def test_any_number_of_classes_is_scored_as_by_brute_force(view, classes):
    """Blocks of columns that fill the registers, some of them, or more; own share taken off."""
    rng = np.random.default_rng(classes)
    some = rng.standard_normal((classes, *[view.grid.cube] * 3)).astype(np.float32) * 0.005
    noise, images = data_power(view) + 1, view.images
    before = rng.dirichlet(np.ones(classes), 40).astype(np.float32)
    uncertainty = rng.random((view.grid.radius + 1, classes)) * 0.01
    expectation = expect(
        view, view.grid.class_references(some), 1 / noise, np.ones(classes), before=before,
        uncertainty=uncertainty,
    )  # fmt: skip
    grids = full_grid(view, some)
    for i in (0, 17):
        row, shell = view.rows[i], images.shell[: view.last]
        data = images.data[row, : view.last].astype(float) @ [1, 1j]
        ctf = images.ctf[row, : view.last].astype(float)
        power = np.abs(data) ** 2 - np.abs(data - ctf * slices(view, grids, row)) ** 2
        power -= 2 * ctf**2 * (uncertainty[shell] * before[i]).T
        score = (power / noise[0, shell])[:, 1:].sum(axis=1)
        assert expectation.posteriors[i].shape == (classes,)
        expected = np.exp(score - np.logaddexp.reduce(score))
        assert np.abs(expectation.posteriors[i] - expected).max() < 2e-4
        assert classes == 1 or np.sort(expected)[-2] > 0.01
        assert expectation.evidence[i] == pytest.approx(np.logaddexp.reduce(score), rel=1e-5)


def test_references_of_components_are_not_taken_for_those_of_classes(view, cubes):
    with pytest.raises(ValueError, match="unpack"):
        expect(view, view.grid.references(cubes), 1 / data_power(view), np.ones(3))


def test_noise_is_the_expected_power_that_remains(view, cubes):
    one = cubes[:1] * 0.01
    expectation = expect(
        view, view.grid.class_references(one), 1 / (data_power(view) + 1), np.ones(1)
    )
    grids = full_grid(view, one)
    images, power = view.images, np.zeros(view.grid.radius + 1)
    for row in view.rows:
        data = images.data[row, : view.last].astype(float) @ [1, 1j]
        model = images.ctf[row, : view.last] * slices(view, grids, row)[0]
        np.add.at(power, images.shell[: view.last], np.abs(data - model) ** 2)
    expected = power / view.samples_per_shell()[0]
    assert np.allclose(expectation.noise[0, 1:], expected[1:], rtol=1e-5)


def plain_sums(view, shares, noise, nearest=False):
    """Sums of the maximisation, by brute force in float64: data (K, N, N, H), weights alike."""
    n, images, count = view.grid.padded, view.images, shares.shape[1]
    data, norms = np.zeros((count, n, n, n), complex), np.zeros((count, n, n, n))
    for i, row in enumerate(view.rows):
        m = view.matrices[row]
        for s in range(view.last):
            point = images.kx[s] * m[0] + images.ky[s] * m[1]
            value = images.data[row, s].astype(float) @ [1, 1j]
            ctf, power = images.ctf[row, s], noise[0, images.shell[s]]
            for side, datum in ((1, value), (-1, np.conj(value))):
                if nearest:
                    near = tuple(np.rint(side * point).astype(int)[::-1] % n)
                    norms[(slice(None), *near)] += shares[i] * ctf**2 / power
                for voxel, w in corners((side * point).astype(float), n):
                    data[(slice(None), *voxel)] += w * shares[i] * ctf * datum / power
                    if not nearest:
                        norms[(slice(None), *voxel)] += w * shares[i] * ctf**2 / power
    g = np.arange(n)
    turn = (-1j) ** (g[:, None, None] + g[:, None] + g[: n // 2 + 1])
    return data[..., : n // 2 + 1] * turn, norms[..., : n // 2 + 1]


@pytest.mark.parametrize("dense", [False, True])
def test_maximisation_agrees_with_brute_force(view, dense, monkeypatch):
    monkeypatch.setattr(sums, "_DENSE", 0 if dense else np.inf)
    shares = np.random.default_rng(2).random((40, 2)).astype(np.float32)
    noise = data_power(view) + 1
    data, norms = plain_sums(view, shares, noise, nearest=dense)
    right, weights = project_back(view, 1 / noise, shares, shares)
    squares = np.moveaxis(weights[:, :2].reshape(*norms.shape[1:], 2), -1, 0)
    assert np.abs(right - data).max() < 1e-5 * np.abs(data).max()
    assert np.abs(squares - norms).max() < 1e-5 * norms.max()


def test_maximisation_of_classes_agrees_with_brute_force(view):
    rng = np.random.default_rng(2)
    shares = rng.random((40, 3)).astype(np.float32)
    shares[rng.random((40, 3)) < 0.4] = 0
    shares[:, 0] += 0.1
    noise = data_power(view) + 1
    data, norms = plain_sums(view, shares, noise)
    totals = class_sums(view, 1 / noise, shares)
    assert np.abs(totals.right - data).max() < 1e-5 * np.abs(data).max()
    assert np.abs(totals.weights - norms).max() < 1e-5 * norms.max()


def test_posteriors_that_are_too_small_go_to_the_other_classes(view):
    soft = np.tile(np.float32([0.999, 0.001]), (40, 1))
    noise = data_power(view) + 1
    totals = class_sums(view, 1 / noise, soft)
    whole = class_sums(view, 1 / noise, np.ones((40, 1), np.float32))
    assert not totals.weights[1].any()
    assert np.allclose(totals.right[0], whole.right[0], rtol=1e-5)


def test_shared_prior_of_the_classes_is_inverted_exactly():
    rng = np.random.default_rng(4)
    own, common = rng.random((2, 5)) + 0.1, np.array([0.7, 2.0])
    shell = np.array([0, 1, 1, -1], np.int32)
    cells = rng.random((5, 4)).astype(np.float32)
    spectra = (rng.random((5, 4)) + 1j * rng.random((5, 4))).astype(np.complex64)
    solved, applied = spectra.copy(), spectra.copy()
    solve_cells(0, 4, cells, 1 / own, common, shell, solved)
    apply_prior(0, 4, 1 / own, common, shell, applied)
    diagonal, apart = cell_variances(cells, 1 / own, common, shell)
    less = np.eye(5) - 1 / 5
    for v in range(3):
        prior = np.linalg.inv(np.diag(own[shell[v]]) + common[shell[v]])
        covariance = np.linalg.inv(np.diag(cells[:, v]) + prior)
        assert np.allclose(solved[:, v], covariance @ spectra[:, v], rtol=1e-5)
        assert np.allclose(applied[:, v], prior @ spectra[:, v], rtol=1e-5, atol=1e-6)
        assert np.allclose(diagonal[:, v], np.diag(covariance), rtol=1e-6)
        assert np.allclose(apart[:, v], np.diag(less @ covariance @ less), rtol=1e-6)
    assert not solved[:, 3].any()


def test_weights_around_a_voxel_agree_with_brute_force():
    grid = Grid(5, 1)
    n, m = grid.padded, grid.cube
    half = np.random.default_rng(3).random((n, n, n // 2 + 1)).astype(np.float32)
    back = -np.arange(n) % n
    half[..., 0] = 0.5 * (half + half[back][:, back])[..., 0]
    full = np.concatenate([half, half[back][:, back, n // 2 - 1 : 0 : -1]], axis=2)
    total = sum(
        0.5 ** np.abs(step).sum() * np.roll(full, step, (0, 1, 2))
        for step in np.array(list(np.ndindex(3, 3, 3))) - 1
    )
    totals = cell_weights(half, grid.shell_map)
    expected = total[::2, ::2, ::2][..., : m // 2 + 1].ravel()
    expected[grid.shell_map < 0] = 0
    assert np.allclose(totals, expected, rtol=1e-5)


def test_classes_and_components_solve_the_same_equations(view):
    """Without a common part of the prior, one class is one component."""
    grid, noise = view.grid, data_power(view)
    noise[:, 0] = noise[:, 1]
    ones = np.ones((40, 1), np.float32)
    own = np.linspace(90, 10, grid.radius + 1)[:, None]
    mask = np.random.default_rng(5).random([grid.cube] * 3).astype(np.float32)
    field = np.zeros((1, *mask.shape), np.float32)
    for steps in (2, 3):
        right, weights = project_back(view, 1 / noise, ones, ones)
        precision = (1 / own)[:, :, None].astype(np.float32)
        expected = solve_volumes(
            grid, right, weights, precision, mask=mask, start=field, steps=steps
        )
        solution = solve_classes(
            grid, class_sums(view, 1 / noise, ones), own, np.zeros(len(own)), mask=mask,
            start=field, steps=steps,
        )  # fmt: skip
        field = solution.fields
        scale = np.abs(field).max()
        assert np.abs(field - expected.fields).max() < 1e-4 * scale
        assert np.allclose(solution.variance[:, 0], expected.variance[:, 0, 0], rtol=1e-4)


def test_classes_without_data_stay_at_their_mean(view):
    """The prior draws an empty class to the mean of the others, not to zero."""
    grid, noise = view.grid, data_power(view)
    noise[:, 0] = noise[:, 1]
    soft = np.zeros((40, 3), np.float32)
    soft[:20, 0] = soft[20:, 1] = 1
    shells, mask = grid.radius + 1, np.ones([grid.cube] * 3, np.float32)
    fields = solve_classes(
        grid, class_sums(view, 1 / noise, soft), np.full((shells, 3), 10.0), np.full(shells, 1e3),
        mask=mask, start=np.zeros((3, *mask.shape), np.float32), steps=20,
    ).fields  # fmt: skip
    mean = fields[:2].mean(axis=0)
    assert np.abs(fields[2] - mean).max() < 0.03 * np.abs(mean).max()
    assert np.all(np.abs(fields[0] - fields[1]).max() > 0.1 * np.abs(mean).max())


def test_products_of_components_agree_with_the_expectation(view, cubes):
    noise = data_power(view) + 1
    references = view.grid.references(cubes)
    means = np.tile(np.float32([1, 0.5, -1]), (40, 1))
    second = means[:, :, None] * means[:, None, :]
    cross, gram, left = component_products(view, references, 1 / noise, means, second)
    mixed = np.tensordot(means[0], cubes, 1)[None]
    direct = expect(view, view.grid.class_references(mixed), 1 / noise, np.ones(1))
    score = 2 * cross @ means[0] - np.einsum("nab,a,b->n", gram, means[0], means[0])
    assert np.allclose(score, direct.evidence, rtol=1e-3, atol=1e-3 * np.abs(score).max())
    assert np.allclose(left[:, 1:], direct.noise[:, 1:], rtol=1e-4)


def test_results_do_not_depend_on_the_number_of_threads(view, cubes):
    single = View(view.images, view.rows, Grid(view.grid.radius, 1))
    noise = data_power(view) + 1
    a = expect(view, view.grid.class_references(cubes), 1 / noise, np.ones(3) / 3)
    b = expect(single, single.grid.class_references(cubes), 1 / noise, np.ones(3) / 3)
    assert np.array_equal(a.posteriors, b.posteriors)
    assert np.array_equal(a.noise, b.noise)
    shares = a.posteriors
    one, two = (class_sums(v, 1 / noise, shares) for v in (view, single))
    assert np.array_equal(one.right, two.right)
    assert np.array_equal(one.weights, two.weights)
    for x, y in zip(project_back(view, 1 / noise, shares, shares),
                    project_back(single, 1 / noise, shares, shares), strict=True):  # fmt: skip
        assert np.array_equal(x, y)


def test_conjugate_gradients_solve_the_normal_equations(view):
    """The gradient of the penalised likelihood vanishes at the solution (finite differences)."""
    grid = view.grid
    ones = np.ones((40, 1), np.float32)
    noise = data_power(view)
    noise[:, 0] = noise[:, 1]
    mask = np.ones([grid.cube] * 3, np.float32)
    spectrum = np.full(grid.radius + 1, 50.0)
    precision = (1 / spectrum)[:, None, None].astype(np.float32)
    start = np.zeros((1, *mask.shape), np.float32)
    values = []
    for steps in (1, 4, 30):
        right, weights = project_back(view, 1 / noise, ones, ones)
        solution = solve_volumes(
            grid, right, weights, precision, mask=mask, start=start, steps=steps
        )
        values.append(penalised(view, solution.fields, noise, spectrum))
    assert values[0] < values[1] < values[2]
    better = solution.fields.copy()
    rng = np.random.default_rng(0)
    for _ in range(4):
        move = rng.standard_normal(better.shape)
        spectra = grid.transform(move.astype(np.float32))
        spectra[:, grid.shell_map < 0] = 0
        move = grid.inverse(spectra) * np.abs(better).max() * 0.01
        assert penalised(view, better + move, noise, spectrum) < values[2]
        assert penalised(view, better - move, noise, spectrum) < values[2]


def penalised(view, fields, noise, spectrum):
    grid = view.grid
    value = expect(view, grid.class_references(fields), 1 / noise, np.ones(1)).evidence.sum()
    spectra = np.fft.fftn(fields[0].astype(float))
    k = np.fft.fftfreq(grid.cube, 1 / grid.cube)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    inside = radius <= grid.radius + 0.5
    shell = np.minimum(np.rint(radius).astype(int), grid.radius)
    return value - 0.5 * np.sum((np.abs(spectra) ** 2 / spectrum[shell])[inside])
