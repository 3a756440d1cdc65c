"""Paths and barriers on surfaces whose minima, saddles and barriers are known."""

import numpy as np
import pytest
from surfaces import DoubleWell, MuellerBrown, ThreeBasins

from alphacryo4d.landscape.barriers import (
    barriers_along,
    bootstrap,
    corrected_interval,
    lowest_path,
    refine_saddle,
)
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.string_method import minimum_energy_path
from alphacryo4d.landscape.surface import triangulated_surface

OPTIONS = PathOptions(images=400, tolerance=1e-8, stepmax=20_000)


def distance_to(path, point):
    """Distance of a point to the polyline."""
    a, b = path[:-1], path[1:]
    t = np.clip(((point - a) * (b - a)).sum(1) / ((b - a) ** 2).sum(1), 0, 1)
    return np.linalg.norm(a + t[:, None] * (b - a) - point, axis=1).min()


def test_path_crosses_the_saddle_of_a_double_well():
    surface = DoubleWell()
    path = minimum_energy_path(surface, np.array([[-1.2, 0.9], [1.1, 0.2]]), OPTIONS)
    assert path.converged
    np.testing.assert_allclose(path.images[[0, -1]], surface.minima, atol=1e-3)
    assert distance_to(path.images, surface.saddle) < 1e-3
    (barrier,) = barriers_along(path.images, path.energies)
    assert barrier.forward == pytest.approx(surface.barrier, abs=1e-3)
    assert barrier.backward == pytest.approx(surface.barrier, abs=1e-3)
    np.testing.assert_allclose(barrier.place, surface.saddle, atol=1e-2)


def test_path_crosses_both_saddles_of_mueller_and_brown():
    surface = MuellerBrown()
    ends = np.array([surface.minima[0], surface.minima[2]])
    path = minimum_energy_path(surface, ends, OPTIONS)
    assert path.converged
    for saddle in surface.saddles:
        assert distance_to(path.images, saddle) < 1e-3
    barriers = barriers_along(path.images, path.energies)
    expected = surface.saddle_heights - surface.heights[:2]
    np.testing.assert_allclose([b.forward for b in barriers], expected, atol=1e-3)


def test_path_between_two_of_three_basins_takes_the_short_way_round():
    surface = ThreeBasins()
    path = minimum_energy_path(surface, np.array([[1.1, 0.1], surface.minima[1]]), OPTIONS)
    assert distance_to(path.images, surface.saddles[0]) < 1e-3
    (barrier,) = barriers_along(path.images, path.energies)
    assert barrier.forward == pytest.approx(surface.barrier, abs=1e-3)


def test_a_point_to_pass_leads_the_long_way_round():
    surface = ThreeBasins()
    points = np.array([surface.minima[0], surface.minima[2], surface.minima[1]])
    path = minimum_energy_path(surface, points, OPTIONS)
    for saddle in surface.saddles[1:]:
        assert distance_to(path.images, saddle) < 1e-3
    assert len(barriers_along(path.images, path.energies)) == 2


@pytest.mark.parametrize("size", [100, 151])
def test_lowest_path_has_the_barrier_of_the_saddle(size):
    surface = MuellerBrown()
    limits = np.array([[-1.5, -0.3], [1.1, 2.0]])
    lowest = lowest_path(surface, surface.minima[0], surface.minima[2], limits, size=size)
    assert lowest.top == pytest.approx(surface.saddle_heights[0], abs=1e-6)
    np.testing.assert_allclose(lowest.place, surface.saddles[0], atol=1e-6)
    assert lowest.forward == pytest.approx(surface.saddle_heights[0] - surface.heights[0], abs=0.02)


def test_lowest_path_goes_round_a_wall_that_the_string_climbs():
    rng = np.random.default_rng(1)
    points = rng.uniform(-1, 1, (800, 2))
    wall = 8 * np.exp(-((points[:, 0] / 0.15) ** 2)) * (points[:, 1] > -0.6)
    surface = triangulated_surface(points, wall + 0.2 * (points**2).sum(1), kind="cubic")
    ends = np.array([[-0.7, 0.5], [0.7, 0.5]])
    limits = np.array([points.min(0), points.max(0)])
    lowest = lowest_path(surface, *ends, limits)
    assert lowest.top < 2.0
    assert lowest.images[:, 1].min() < -0.6


def test_newton_finds_the_saddle_from_a_grid_point():
    surface = MuellerBrown()
    near = surface.saddles[1] + [0.012, -0.008]
    place, energy = refine_saddle(surface, near, 0.0, 0.02)
    np.testing.assert_allclose(place, surface.saddles[1], atol=1e-6)
    assert energy == pytest.approx(surface.saddle_heights[1], abs=1e-6)


@pytest.mark.parametrize(
    ("surface", "limits", "last", "barrier"),
    [
        (DoubleWell(), [[-1.4, -0.6], [1.4, 1.6]], 1, 3.0),
        (MuellerBrown(), [[-1.3, -0.3], [1.0, 1.9]], 2, 10.60347),
        (ThreeBasins(), [[-1.4, -1.4], [1.4, 1.4]], 1, 2.0),
    ],
)
def test_intervals_from_noisy_points_hold_the_barrier(surface, limits, last, barrier):
    rng = np.random.default_rng(0)
    ends = surface.minima[0], surface.minima[last]
    held, repetitions = 0, 6
    for _ in range(repetitions):
        points = rng.uniform(*limits, (300, 2))
        energies = surface.values(points)
        kept = energies < surface.values(ends[0][None])[0] + barrier + 4
        points = points[kept]
        energies = energies[kept] + 0.1 * rng.normal(size=len(points))
        box = np.array([points.min(0), points.max(0)])

        def height(rows, values, points=points, box=box):
            made = triangulated_surface(points[rows], values, kind="cubic")
            return lowest_path(made, *ends, box, size=40).forward

        value = height(np.arange(len(points)), energies)
        draws = bootstrap(height, energies, np.full(len(points), 0.1), replicates=20, rng=rng)
        interval = corrected_interval(float(value), draws)
        held += interval.low <= barrier <= interval.high
    assert held >= repetitions - 1
