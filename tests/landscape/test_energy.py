"""Energies and their errors against formulas and simulation."""

import numpy as np
import pytest

from alphacryo4d.errors import InputError
from alphacryo4d.landscape.energy import (
    density_energy,
    energy_error,
    free_energy,
    jackknife_error,
)
from alphacryo4d.landscape.kernel_surface import kernel_surface


def test_energy_is_minus_log_of_the_share():
    np.testing.assert_allclose(free_energy([1, 3]), [np.log(4), np.log(4 / 3)])


@pytest.mark.parametrize("bad", [0, -1, np.nan])
def test_an_empty_class_has_no_energy(bad):
    with pytest.raises(InputError, match="volume 2"):
        free_energy([5.0, bad])


def test_jackknife_error_of_a_mean_is_its_standard_error():
    groups = np.random.default_rng(0).normal(size=7)
    left_out = np.array([np.delete(groups, i).mean() for i in range(7)])
    expected = groups.std(ddof=1) / np.sqrt(7)
    assert jackknife_error(left_out) == pytest.approx(expected)


def test_error_of_identical_folds_is_the_counting_error():
    points = np.tile(np.random.default_rng(1).normal(size=(10, 2)), (4, 1))
    counts = np.tile(np.arange(10.0, 110, 10), 4)
    errors = energy_error(points, counts, np.repeat(np.arange(4), 10))
    np.testing.assert_allclose(errors, 1 / np.sqrt(counts), rtol=1e-6)


def test_error_sees_a_population_that_the_folds_do_not_share():
    points = np.tile(np.random.default_rng(1).normal(size=(10, 2)) * 100, (4, 1))
    counts = np.full(40, 100.0)
    counts[0] = 1000.0
    errors = energy_error(points, counts, np.repeat(np.arange(4), 10), neighbours=3)
    assert errors[10] > 2 * errors[15]


def test_splitting_a_class_changes_its_energy_but_not_that_of_its_density():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(60, 2))
    whole = np.full(60, 100.0)
    near = points[:1] + 1e-6 * rng.normal(size=(9, 2))
    split_points = np.vstack([points, near])
    split = np.concatenate([[10.0], np.full(59, 100.0), np.full(9, 10.0)])
    assert free_energy(split)[0] - free_energy(whole)[0] == pytest.approx(np.log(10), abs=1e-9)
    rise = [e[0] - np.median(e[1:60]) for e in (
        density_energy(split_points, split), density_energy(points, whole)
    )]  # fmt: skip
    assert rise[0] - rise[1] < 0.3


def test_gradient_of_the_kernel_surface_is_exact():
    rng = np.random.default_rng(0)
    surface = kernel_surface(rng.normal(size=(80, 2)), rng.uniform(10, 100, 80))
    points = rng.normal(size=(50, 2)) * 0.7
    h = 1e-5
    expected = np.stack(
        [
            (surface.values(points + d) - surface.values(points - d)) / (2 * h)
            for d in h * np.eye(2)
        ],
        axis=1,
    )
    np.testing.assert_allclose(surface.gradients(points), expected, atol=1e-6)
