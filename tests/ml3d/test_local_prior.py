"""Priors of components that differ in some places only."""

import numpy as np
import pytest
from blobs import make_blobs, random_states

from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d import local_prior
from alphacryo4d.ml3d.components import fit_components
from alphacryo4d.ml3d.expectation import View, project_back
from alphacryo4d.ml3d.grid import Grid, solve_volumes
from alphacryo4d.ml3d.local_prior import (
    LEAST_AMPLITUDE,
    filled,
    local_amplitude,
    power_of,
    solve_components,
)
from alphacryo4d.ml3d.mean import data_power


def test_amplitude_is_that_of_the_components_where_they_are():
    rng = np.random.default_rng(0)
    components = np.zeros((2, 32, 32, 32))
    components[:, :8] = rng.standard_normal((2, 8, 32, 32))
    grid, weight, known = Grid(15, 1), np.ones((32, 32, 32)), np.zeros(16)
    amplitude = local_amplitude(grid, components, weight, known)
    assert amplitude.max() == 1
    assert np.all(amplitude[2:6] > 0.5)
    assert np.allclose(amplitude[16:24], LEAST_AMPLITUDE)
    again = local_amplitude(grid, 1e-3 * components, weight, known)
    assert np.allclose(again, amplitude, rtol=1e-5)


def test_what_is_not_known_keeps_its_prior():
    """Components of which images say nothing do not draw in: the expected square is the prior's."""
    grid, rng = Grid(15, 1), np.random.default_rng(1)
    nothing = np.zeros((2, *[grid.cube] * 3))
    assert np.all(local_amplitude(grid, nothing, nothing[0] + 1, np.zeros(16)) == 1)
    before = np.ones(nothing.shape[1:])
    before[: grid.cube // 2] = 0.3
    after = local_amplitude(grid, nothing, before, np.ones(16))
    inner = grid.cube // 4
    assert np.allclose(after[inner] / after[inner + grid.cube // 2], 0.3, atol=0.01)
    # the variance of a voxel is that of white noise with this power
    noise = rng.standard_normal((40, *nothing.shape[1:])).astype(np.float32)
    spectra = grid.transform(noise)
    spectra[:, grid.shell_map < 0] = 0
    power = np.full(16, grid.cube**3)
    found = local_prior._variance_of_voxel(grid, power)
    assert found == pytest.approx(np.mean(grid.inverse(spectra) ** 2), rel=0.02)


@pytest.fixture(scope="module")
def view():
    blobs = make_blobs(random_states(2), 60, noise=0.05)
    images = blobs.prepared()
    return View(images, images.sorted_rows(np.arange(60)), Grid(7, 2))


def test_components_have_a_prior_of_their_own(view):
    """Without a say of the mean, a component is a volume within the product of both weights."""
    grid, rng = view.grid, np.random.default_rng(2)
    noise = data_power(view) + 1
    mask = rng.uniform(0.2, 1, [grid.cube] * 3).astype(np.float32)
    amplitude = rng.uniform(0.2, 1, mask.shape).astype(np.float32)
    ones, power = (
        np.ones((60, 1), np.float32),
        np.tile(np.linspace(90, 10, grid.radius + 1), (2, 1)),
    )
    alone = np.concatenate([0 * ones, ones], axis=1)
    second = np.stack([0 * ones, 0 * ones, ones], axis=1)[..., 0]
    both = solve_components(
        grid, *project_back(view, 1 / noise, alone, second), power, mask=mask, amplitude=amplitude,
        start=np.zeros((2, *mask.shape), np.float32), steps=5,
    )  # fmt: skip
    single = solve_volumes(
        grid, *project_back(view, 1 / noise, ones, ones),
        (1 / power[0])[:, None, None].astype(np.float32), mask=mask * amplitude,
        start=np.zeros((1, *mask.shape), np.float32), steps=5,
    )  # fmt: skip
    assert np.all(both.fields[0] == 0)
    expected = single.cubes[0]
    assert np.allclose(both.fields[1] * mask, expected, atol=1e-4 * np.abs(expected).max())


def test_power_is_that_before_mask_and_amplitude(view):
    """White noise within smooth weights has its own power in every shell but the first."""
    grid, rng = view.grid, np.random.default_rng(3)
    line = np.linspace(-1, 1, grid.cube)
    mask = np.exp(-4 * (line[:, None, None] ** 2 + line[:, None] ** 2 + line**2))
    amplitude = np.exp(-4 * (line[:, None, None] - 0.3) ** 2) * np.ones_like(mask)
    weights = np.stack([mask] + 40 * [mask * amplitude])
    cubes = (weights * rng.standard_normal(weights.shape)).astype(np.float32)
    power = power_of(grid, cubes, mask, amplitude) / grid.cube**3
    assert np.allclose(power[1:, 2:].mean(axis=0), 1, atol=0.15)
    assert np.allclose(filled(mask, amplitude, 3)[1:], np.mean((mask * amplitude) ** 2))


def test_noise_stays_out_where_nothing_differs(monkeypatch):
    """A component whose prior is local comes closer to what moves than with one for the box."""
    blobs = make_blobs(random_states(2), 1500, noise=0.1)
    images = blobs.prepared()
    apart = blobs.volumes[1] - blobs.volumes[0]
    close = []
    for least in (1.0, LEAST_AMPLITUDE):
        monkeypatch.setattr(local_prior, "LEAST_AMPLITUDE", least)
        parts = fit_components(
            images, np.arange(1500), 1, 9, 11, 0, solvent=np.ones([32] * 3), workers=2
        )
        spectra = parts.grid.transform(parts.cubes[1:])[0]
        whole = parts.grid.transform(resize_cubes(apart[None], parts.grid.cube))[0]
        both = np.vdot(whole, spectra).real
        close.append(abs(both) / np.linalg.norm(whole) / np.linalg.norm(spectra))
    assert close[1] > close[0]
    assert close[1] > 0.85
