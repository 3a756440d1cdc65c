"""States on the plane, basins, and minima along a path."""

import numpy as np
import pytest

from alphacryo4d.landscape.basins import all_minima_along, basins, minima_along
from alphacryo4d.landscape.find_stage import Evidence, find_states
from alphacryo4d.landscape.inputs_stage import VolumeTable
from alphacryo4d.landscape.options import EnergyOptions, PathOptions, StatesOptions
from alphacryo4d.landscape.path_stage import path_ends
from alphacryo4d.landscape.plane import landscape_of
from alphacryo4d.landscape.states import (
    assign_volumes,
    centers_of_groups,
    fitted_radii,
    ordered_along,
    recommended_radii,
    state_energies,
)

CENTERS = np.array([[0.0, 0.0], [4.0, 0.0]])


def test_a_volume_belongs_to_the_nearest_center_that_it_is_strictly_inside():
    points = np.array([[1.0, 0], [3.0, 0], [2.1, 0], [-3.0, 0], [-2.9, 0]])
    np.testing.assert_array_equal(
        assign_volumes(points, CENTERS, np.array([3.0, 3.0])), [1, 2, 2, 0, 1]
    )


def test_the_nearest_center_does_not_take_what_is_outside_its_radius():
    assert assign_volumes(np.array([[1.5, 0]]), CENTERS, np.array([1.0, 3.0])) == [2]


def test_at_equal_distance_the_lower_state_wins():
    assert assign_volumes(np.array([[2.0, 0]]), CENTERS, np.array([3.0, 3.0])) == [1]


def test_fitted_radii_give_separate_groups_back():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    points = CENTERS[labels] + rng.normal(size=(60, 2)) * 0.5
    centers = centers_of_groups(points, np.ones(60), labels)
    radii = fitted_radii(points, centers, labels)
    np.testing.assert_array_equal(assign_volumes(points, centers, radii), labels + 1)


def test_a_boundary_around_a_single_volume_reaches_half_way_to_its_neighbour():
    points = np.array([[0.0, 0.0], [0.4, 0.0], [0.5, 0.0], [9.0, 0.0], [9.1, 0.0], [9.2, 0.0]])
    labels = np.array([0, 1, 1, 1, 1, 1])
    radii = fitted_radii(points, points[[0, 4]], labels)
    assert radii[0] == 0.2
    np.testing.assert_array_equal(assign_volumes(points, points[[0, 4]], radii), [1, 0, 0, 2, 2, 2])


def test_recommended_radius_is_the_distance_to_the_next_center():
    np.testing.assert_allclose(recommended_radii(CENTERS, CENTERS), [4, 4])


def test_state_energy_is_minus_log_of_its_share_of_all_votes():
    volumes, counts = np.array([1, 2, 0, 1, 2, 0]), np.array([30, 10, 60, 30, 10, 60.0])
    energies, errors = state_energies(volumes, counts, np.array([0, 0, 0, 1, 1, 1]), 2)
    np.testing.assert_allclose(energies, [-np.log(0.3), -np.log(0.1)])
    np.testing.assert_allclose(errors, 1 / np.sqrt([60, 20]), rtol=1e-9)


def test_state_errors_count_images():
    volumes, counts = np.array([1, 2, 0, 1, 2, 0]), np.array([30, 10, 60, 30, 10, 60.0])
    groups = np.array([0, 0, 0, 1, 1, 1])
    energies, errors = state_energies(volumes, 2 * counts, groups, 2, images=counts)
    np.testing.assert_allclose(energies, [-np.log(0.3), -np.log(0.1)])
    np.testing.assert_allclose(errors, 1 / np.sqrt([60, 20]), rtol=1e-9)


def test_errors_are_of_all_batches_together_not_of_each_by_itself():
    """Ten batches of four folds: what a replicate leaves out is a quarter of all particles."""
    rng = np.random.default_rng(3)
    names, batches, counts = [], [], []
    for batch in range(10):
        groups = rng.binomial(1000, 0.3, 4)
        for out in range(4):
            held = groups.sum() - groups[out]
            counts += [held, 3000 - held]
            names += [f"u{out}"] * 2
            batches += [batch + 1] * 2
    volumes = np.tile([1, 2], 40)
    table = VolumeTable(
        np.array([f"v{n}" for n in range(80)]), np.array(counts), np.array(batches),
        np.array(names), np.full(80, np.nan), 1.0,
    )  # fmt: skip
    errors = state_energies(volumes, table.counts, table.left_out, 2)[1]
    # of -ln of a share of 0.3 (and 0.7) of 40,000 particles
    np.testing.assert_allclose(errors, np.sqrt([0.7 / 0.3, 0.3 / 0.7]) / 200, rtol=0.9)
    assert (state_energies(volumes, table.counts, table.fold_numbers, 2)[1] > 2 * errors).all()
    assert table.left_out.max() == 3
    landscape = landscape_of(
        rng.standard_normal((80, 2)), table.counts, table.fold_numbers, EnergyOptions(),
        table.left_out,
    )  # fmt: skip
    assert landscape.folds.max() == 39
    assert landscape.left_out.max() == 3


def test_centers_are_numbered_along_the_path_also_beyond_its_ends():
    images = np.stack([np.linspace(0, 1, 11), np.zeros(11)], 1)
    centers = np.array([[0.5, 1], [3, 0], [-2, 0], [2, 0], [-1, 0]], float)
    np.testing.assert_array_equal(ordered_along(centers, images), [2, 4, 0, 3, 1])


def three_wells():
    axis = np.linspace(-1, 1, 21)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    points += np.random.default_rng(0).normal(size=points.shape) * 1e-3
    wells = np.array([[-0.6, -0.5], [0.6, -0.5], [0.0, 0.6]])
    depths = np.array([3.0, 2.0, 1.2])
    squared = ((points[:, None] - wells[None]) ** 2).sum(2)
    return points, -(depths * np.exp(-squared / 0.08)).sum(1), wells


@pytest.mark.parametrize(("states", "number"), [(None, 3), (2, 2), (3, 3)])
def test_basins_are_found_at_the_minima(states, number):
    points, energies, wells = three_wells()
    labels, minima = basins(points, energies, states=states)
    assert len(minima) == number == labels.max() + 1
    apart = np.linalg.norm(points[minima, None] - wells[None, :number], axis=2)
    assert (apart.min(1) < 0.1).all()
    for well in range(number):
        near = np.linalg.norm(points - wells[well], axis=1) < 0.2
        assert len(np.unique(labels[near])) == 1


def test_minima_along_a_path_are_moved_from_equal_places():
    energies = np.cos(np.linspace(0, 6 * np.pi, 301) + 0.6)
    rows = minima_along(energies, 3)
    assert rows.tolist() == [0 + int(energies[:61].argmin()), *rows[1:]]
    for row in rows[1:]:
        assert energies[row] <= energies[max(0, row - 5) : row + 6].min() + 1e-12


def test_every_deep_minimum_along_a_path_is_found():
    energies = 1 - np.cos(np.linspace(0, 4 * np.pi, 201))
    assert all_minima_along(energies).tolist() == [0, 100, 200]
    assert len(all_minima_along(energies * 0.01)) == 1


def test_fewer_groups_than_asked_are_said(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    points = np.repeat([[0.0, 0.0], [9.0, 0.0]], 4, axis=0) + rng.normal(0, 0.01, (8, 2))
    distances = ((points[:, None] - points[None]) ** 2).sum(-1)
    folds = np.tile([0, 1, 2, 3], 2)
    state = rng.integers(0, 2, 400)
    assignments = np.stack([state * 4 + fold for fold in range(4)], axis=1)
    landscape = landscape_of(points, np.full(8, 200.0), folds, EnergyOptions())
    options = StatesOptions(states="9")
    states = find_states(landscape, options, None, Evidence(distances, assignments), 0)
    assert len(states.centers) < 9
    assert f"8 volumes make {len(states.centers)} groups" in caplog.text


def test_volumes_of_junk_are_a_state_beside_those_asked(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [4.0, 0.0], [9.0, 0.0]])
    points = np.repeat(places, 4, axis=0) + rng.normal(0, 0.01, (12, 2))
    distances = ((points[:, None] - points[None]) ** 2).sum(-1)
    folds = np.tile([0, 1, 2, 3], 3)
    state = rng.integers(0, 3, 600)
    assignments = np.stack([state * 4 + fold for fold in range(4)], axis=1)
    junk = np.arange(12) // 4 == 1
    landscape = landscape_of(points, np.full(12, 200.0), folds, EnergyOptions())
    evidence = Evidence(distances, assignments, junk)
    states = find_states(landscape, StatesOptions(states="2"), None, evidence, 0)
    assert len(states.centers) == 3
    assert (states.volumes[junk] == 3).all()
    assert [len(set(states.volumes[i : i + 4])) for i in (0, 8)] == [1, 1]
    assert "4 volumes show no particle: state 3, beside the 2 others" in caplog.text


def test_a_path_goes_the_same_way_whatever_rounding_makes_the_ends():
    """Two pairs of volumes are as far from each other as two can be: either begins at the left."""
    for last in (1 - 1e-7, 1 + 1e-7):
        points = np.array([[-5, -1.0], [5, -1.0], [5, 1.0], [-5, 1.0], [0.5, 0.2]])
        points[1:3] *= [[last], [1]]
        found = landscape_of(points, np.full(5, 10), np.zeros(5, np.int64), EnergyOptions())
        ends = path_ends(found, PathOptions(), None)
        np.testing.assert_allclose(ends[:, 0], [-5, 5], atol=0.5)
