"""Energies and their errors against formulas and simulation."""

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.landscape.energy import (
    density_energy,
    energy_error,
    free_energy,
    jackknife_error,
)
from alphacryo4d.landscape.kernel_surface import kernel_surface, mean_surface
from alphacryo4d.landscape.options import EnergyOptions
from alphacryo4d.landscape.plane import landscape_of


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


def test_the_counting_error_is_of_images_not_of_their_copies():
    points = np.tile(np.random.default_rng(1).normal(size=(10, 2)), (4, 1))
    images = np.tile(np.arange(10.0, 110, 10), 4)
    errors = energy_error(points, 3 * images, np.repeat(np.arange(4), 10), images=images)
    np.testing.assert_allclose(errors, 1 / np.sqrt(images), rtol=1e-6)


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


@pytest.mark.parametrize("kind", [kernel_surface, mean_surface])
def test_gradient_of_a_smooth_surface_is_exact(kind):
    rng = np.random.default_rng(0)
    surface = kind(rng.normal(size=(80, 2)), rng.uniform(1, 10, 80))
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


def test_mean_surface_is_the_weighted_mean_of_the_energies():
    rng = np.random.default_rng(0)
    points, energies = rng.normal(size=(40, 2)), rng.uniform(2, 6, 40)
    surface = mean_surface(points, energies)
    place = np.array([0.1, -0.2])
    weights = np.exp(-0.5 * ((points - place) ** 2).sum(1) / surface.width**2)
    expected = (weights * energies).sum() / weights.sum()
    assert surface.values(place[None])[0] == pytest.approx(expected)
    assert np.isnan(surface.values(np.array([[50.0, 0.0]]))[0])


@pytest.mark.parametrize("interpolate", ["kernel", "cubic", "linear"])
@pytest.mark.parametrize("energy_from", ["auto", "class", "density"])
def test_a_state_cut_into_small_classes_looks_high_by_class_alone(interpolate, energy_from):
    rng = np.random.default_rng(5)
    points = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    points += 0.05 * rng.normal(size=points.shape)
    counts = np.full(100, 100.0)
    cut = np.flatnonzero(((points - [2, 2]) ** 2).sum(1) < 1.5)
    pieces = np.repeat(points[cut], 9, axis=0) + 0.2 * rng.normal(size=(9 * len(cut), 2))
    counts[cut] = 10
    points, counts = np.vstack([points, pieces]), np.append(counts, np.full(len(pieces), 10.0))
    options = EnergyOptions(interpolate=interpolate, energy_from=energy_from)
    surface = landscape_of(points, counts, np.zeros(len(points), int), options).surface
    rise = surface.values(np.array([[2.0, 2.0]]))[0] - surface.values(np.array([[6.0, 6.0]]))[0]
    if options.from_density:
        assert abs(rise) < 1.0
    else:
        assert 1.3 < rise < 2.8  # about log(10)
