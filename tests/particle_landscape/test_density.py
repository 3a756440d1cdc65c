"""The density freed of its blur, against brute force and known distributions."""

from dataclasses import replace

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.string_method import minimum_energy_path
from alphacryo4d.particle_landscape.basins import DensityStates, _by_share, find_states
from alphacryo4d.particle_landscape.density import Density, fit_density, mean_of
from alphacryo4d.particle_landscape.density_stage import path_ends, read_likelihoods
from alphacryo4d.particle_landscape.discrete import points_or_continuum
from alphacryo4d.particle_landscape.lowest import farthest_along, lowest_route
from alphacryo4d.particle_landscape.mixture import (
    GaussianMixture,
    Likelihoods,
    _further,
    expected,
    improved,
    narrowest,
    one_gaussian,
    split,
)
from alphacryo4d.particle_landscape.options import DensityOptions
from alphacryo4d.particle_landscape.paths import density_path
from alphacryo4d.particle_landscape.profile import smooth_profile
from alphacryo4d.particle_landscape.surface import DensitySurface, energy_of_share, marginal


def measured(places, sigma, rng):
    """Likelihoods of points that were measured with errors of different sizes and directions."""
    n, d = places.shape
    root = np.eye(d) + 0.3 * rng.standard_normal((n, d, d))
    scale = np.exp(0.3 * rng.standard_normal(n))[:, None, None] / sigma**2
    information = scale * root @ root.transpose(0, 2, 1)
    error = np.linalg.cholesky(np.linalg.inv(information))
    seen = places + np.einsum("nij,nj->ni", error, rng.standard_normal((n, d)))
    return Likelihoods(np.einsum("nij,nj->ni", information, seen), information), seen


def random_mixture(rng, count, d):
    root = 0.4 * rng.standard_normal((count, d, d)) + 0.5 * np.eye(d)
    share = rng.dirichlet(np.full(count, 5.0))
    return GaussianMixture(
        share, 2 * rng.standard_normal((count, d)), root @ root.transpose(0, 2, 1)
    )


def as_density(mixture):
    return Density(mixture, (mixture, mixture), np.array([[1.0, 0, 0, 1]]))


@pytest.mark.parametrize("d", [1, 3])
def test_moments_are_those_of_a_sum_over_a_grid_of_samples(d):
    rng = np.random.default_rng(d)
    mixture = random_mixture(rng, 2, d)
    data, _ = measured(rng.standard_normal((7, d)), 0.7, rng)
    soft = np.empty((7, 2))
    moments, logs = expected(data, mixture, soft)
    wanted = np.zeros_like(moments)
    for i in range(7):
        values = []
        for k in range(2):
            prior = np.linalg.inv(mixture.covariances[k])
            matrix = data.information[i] + prior
            slope = data.projected[i] + prior @ mixture.means[k]
            mean, covariance = np.linalg.solve(matrix, slope), np.linalg.inv(matrix)
            value = np.log(mixture.proportions[k]) + 0.5 * slope @ mean
            value -= 0.5 * mixture.means[k] @ prior @ mixture.means[k]
            value += 0.5 * np.linalg.slogdet(prior)[1] - 0.5 * np.linalg.slogdet(matrix)[1]
            values.append((value, mean, covariance + np.outer(mean, mean)))
        logs_of = np.array([value for value, _, _ in values])
        np.testing.assert_allclose(logs[i], np.logaddexp(*logs_of), rtol=1e-10)
        share = np.exp(logs_of - np.logaddexp(*logs_of))
        np.testing.assert_allclose(soft[i], share, atol=1e-10)
        for k in range(2):
            _, mean, second = values[k]
            wanted[k] += share[k] * np.concatenate([[1], mean, second.ravel()])
    np.testing.assert_allclose(moments, wanted, rtol=1e-8, atol=1e-10)


def test_likelihood_is_that_of_measurements_with_both_spreads():
    """Differences of log-likelihoods are those of the mixture blurred by each particle's error."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(2)
    one, other = random_mixture(rng, 2, 2), random_mixture(rng, 2, 2)
    data, seen = measured(rng.standard_normal((5, 2)), 0.6, rng)
    error = np.linalg.inv(data.information)

    def brute(mixture):
        return np.array(
            [
                np.log(
                    sum(
                        p * multivariate_normal(m, c + error[i]).pdf(seen[i])
                        for p, m, c in zip(
                            mixture.proportions, mixture.means, mixture.covariances, strict=True
                        )
                    )
                )
                for i in range(5)
            ]
        )

    difference = expected(data, one)[1] - expected(data, other)[1]
    np.testing.assert_allclose(difference, brute(one) - brute(other), rtol=1e-8)


def test_em_finds_the_spread_behind_the_errors_and_never_gets_worse():
    rng = np.random.default_rng(3)
    truth = GaussianMixture(
        np.array([0.3, 0.7]), np.array([[-1.5, 0], [1, 0.5]]),
        np.array([[[0.2, 0.1], [0.1, 0.3]], [[0.4, 0], [0, 0.1]]]),
    )  # fmt: skip
    data, seen = measured(truth.drawn(20_000, rng), 0.6, rng)
    values, fitted = [], one_gaussian(data)
    mixture = split(fitted.mixture, 0)
    for _ in range(6):
        fitted = improved(data, mixture, steps=12)
        values.append(fitted.value)
        mixture = fitted.mixture
    assert (np.diff(values) > -1e-12).all()
    converged = improved(data, mixture, steps=300, tolerance=1e-3).mixture
    order = np.argsort(converged.proportions)
    np.testing.assert_allclose(converged.proportions[order], truth.proportions, atol=0.02)
    np.testing.assert_allclose(converged.means[order], truth.means, atol=0.06)
    np.testing.assert_allclose(converged.covariances[order], truth.covariances, atol=0.08)
    assert np.abs(np.cov(seen.T) - truth.mean_and_covariance()[1]).max() > 0.3


def test_no_gaussian_is_narrower_than_data_can_tell():
    """Points: the most likely mixture of them has no width, which no data can show."""
    rng = np.random.default_rng(4)
    data, _ = measured(np.repeat([[0.0, 0.0], [3.0, 0.0]], 1000, axis=0), 0.5, rng)
    fitted = improved(data, split(one_gaussian(data).mixture, 0), steps=100).mixture
    root = np.linalg.inv(narrowest(data))
    for covariance in fitted.covariances:
        assert np.linalg.eigvalsh(root @ covariance @ root.T).min() > 1 - 1e-9
    np.testing.assert_allclose(np.sort(fitted.means[:, 0]), [0, 3], atol=0.06)


def test_gradients_minima_and_marginals_of_the_energy():
    rng = np.random.default_rng(5)
    mixture = random_mixture(rng, 4, 3)
    surface = DensitySurface(mixture)
    points = rng.standard_normal((6, 3))
    step = 1e-5
    slopes = [
        (surface.values(points + step * e) - surface.values(points - step * e)) / (2 * step)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(surface.gradients(points), np.stack(slopes, 1), atol=1e-6)
    minima = surface.minima_near(points, steps=5000)
    assert (surface.values(minima) <= surface.values(points) + 1e-12).all()
    np.testing.assert_allclose(surface.gradients(minima), 0, atol=1e-5)
    grid = np.linspace(-15, 15, 3001)
    plane = DensitySurface(marginal(mixture, (0, 2)))
    line = np.exp(-plane.values(np.stack([np.full(3001, 0.3), grid], 1))).sum() * 0.01
    np.testing.assert_allclose(
        line,
        np.exp(-DensitySurface(marginal(mixture, (0,))).values(np.array([[0.3]])))[0],
        rtol=1e-6,
    )
    edge = energy_of_share(mixture, 0.9)
    other = mixture.drawn(20_000, np.random.default_rng(9))
    assert abs((surface.values(other) <= edge).mean() - 0.9) < 0.01


def test_the_string_method_finds_the_saddle_of_a_curved_valley_in_three_dimensions():
    """(x^2 - 1)^2 * 3 + 2 (y - 0.5 x^2)^2 + 4 (z + 0.3 x^2)^2: saddle at the origin, barrier 3."""

    class Valley:
        def values(self, p):
            x, y, z = p.T
            return 3 * (x**2 - 1) ** 2 + 2 * (y - 0.5 * x**2) ** 2 + 4 * (z + 0.3 * x**2) ** 2

        def gradients(self, p):
            x, y, z = p.T
            one, two = 4 * (y - 0.5 * x**2), 8 * (z + 0.3 * x**2)
            return np.stack([12 * x * (x**2 - 1) - one * x + 0.6 * two * x, one, two], 1)

        def bring_back(self, points):
            return np.array(points, float), 0

    ends = np.array([[-1.2, 0.0, 0.2], [0.9, 0.9, 0.0]])
    path = minimum_energy_path(Valley(), ends, PathOptions(images=61, tolerance=1e-6))
    assert path.converged
    np.testing.assert_allclose(path.images[[0, -1]], [[-1, 0.5, -0.3], [1, 0.5, -0.3]], atol=2e-3)
    assert abs(path.energies.max() - 3) < 5e-3
    assert np.abs(path.images[path.energies.argmax()]).max() < 0.02


def double_well(height, count, rng):
    x = np.linspace(-2.2, 2.2, 4001)
    share = np.exp(-height * (x**2 - 1) ** 2)
    return rng.choice(x, count, p=share / share.sum())[:, None], x, share / share.sum()


@pytest.fixture(scope="module")
def well():
    """Density, path and states of particles in a double well of 2 kT, errors as wide as wells."""
    rng = np.random.default_rng(6)
    places, x, share = double_well(2.0, 8000, rng)
    data, seen = measured(places, 0.4, rng)
    density = fit_density(data, rng.integers(1, 5, len(places)), most=6)
    return density, seen, x, share


def test_the_density_of_a_double_well_is_freed_of_its_blur(well):
    density, seen, x, share = well
    populations = np.exp(-DensitySurface(density.mixture).values(x[:, None])) * (x[1] - x[0])
    raw = np.histogram(seen, 80, (-2.2, 2.2))[0] / len(seen)
    blurred = 0.5 * np.abs(raw - share[:-1].reshape(80, 50).sum(1)).sum()
    distance = 0.5 * np.abs(populations - share).sum()
    assert distance < 0.1
    assert distance < 0.5 * blurred
    assert density.gaussians >= 2
    assert density.gain > 0.05


def test_the_barrier_lies_in_its_interval_and_states_have_half_of_the_particles_each(well):
    density, *_ = well
    states = find_states(density, depth=0.5)
    assert len(states) == 2
    np.testing.assert_allclose(states.populations, 0.5, atol=0.06)
    np.testing.assert_allclose(np.sort(states.minima[:, 0]), [-1, 1], atol=0.15)
    path = density_path(density, states.minima[list(farthest_along(density, states.minima))])
    assert path.path.converged
    (barrier,) = path.barriers
    assert abs(barrier[0].place[0]) < 0.5
    for interval in barrier[1:]:
        assert interval.low <= 2.0 <= interval.high
        assert interval.high - interval.low < 3
    assert (path.errors >= 0).all()


def test_one_gaussian_is_one_state():
    rng = np.random.default_rng(7)
    data, _ = measured(rng.standard_normal((3000, 2)), 0.7, rng)
    density = fit_density(data, rng.integers(1, 5, 3000), most=4)
    assert density.gain < 0.002
    states = find_states(density, depth=0.5)
    assert len(states) == 1
    np.testing.assert_allclose(states.populations, 1)
    assert path_ends(DensityOptions(), density, states, seed=0) is None


def test_populations_of_basins_are_integrals():
    means = np.array([[0.0, 0], [5, 0], [0, 6]])
    mixture = GaussianMixture(np.array([0.2, 0.5, 0.3]), means, np.tile(0.5 * np.eye(2), (3, 1, 1)))
    states = find_states(as_density(mixture), depth=0.5)
    np.testing.assert_allclose(states.populations, [0.5, 0.3, 0.2], atol=0.02)
    np.testing.assert_allclose(states.minima, means[[1, 2, 0]], atol=1e-3)
    np.testing.assert_allclose(states.energies, np.log(0.5 / np.array([0.5, 0.3, 0.2])), atol=1e-3)
    np.testing.assert_allclose(states.population_errors, 0, atol=1e-12)


def test_states_of_one_size_are_numbered_by_where_they_are():
    """Rounding makes the one or the other population the greater."""
    means = np.array([[2.0, 0], [-3, 0], [0, 6]])
    for share in ([0.4, 0.4 - 1e-9, 0.2 + 1e-9], [0.4 - 1e-9, 0.4, 0.2 + 1e-9]):
        assert _by_share(np.array(share), means[:, 0]).tolist() == [1, 0, 2]
    assert _by_share(np.array([0.2, 0.5, 0.3]), means[:, 0]).tolist() == [1, 2, 0]


def test_a_path_goes_round_a_void_not_through_it():
    """Beads on a horseshoe: the straight line between its ends leads through nothing."""
    turn = np.deg2rad(np.linspace(-60, 240, 25))
    beads = 2 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    share = np.full(25, 1 / 25)
    density = as_density(GaussianMixture(share, beads, np.tile(0.04 * np.eye(2), (25, 1, 1))))
    ends = beads[[0, -1]]
    straight = density_path(density, ends)
    routed = density_path(density, lowest_route(density, ends))
    assert straight.path.energies.max() > 10
    # nearer to each other in a straight line than either is to the middle
    assert farthest_along(density, beads[[12, 0, 24, 5]]) == (1, 2)
    assert farthest_along(density, beads[[6, 3, 20, 9]]) == (1, 2)
    assert routed.path.energies.max() < 0.5
    np.testing.assert_allclose(np.linalg.norm(routed.path.images, axis=1), 2, atol=0.1)
    assert routed.path.images[:, 1].max() > 1.9


def test_energies_along_a_path_are_those_of_the_particles_not_of_a_wrong_mixture():
    """Two wells of 3 kT on a ring: the mixture has a third of that, the particles know better."""
    rng = np.random.default_rng(12)
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    share = np.exp(-1.5 * (1 - np.cos(2 * turn)))
    angle = rng.choice(turn, 3000, p=share / share.sum())
    data, _ = measured(1.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.25, rng)
    beads = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    places = 1.4 * np.stack([np.cos(beads), np.sin(beads)], axis=1)
    share = np.exp(-0.5 * (1 - np.cos(2 * beads)))
    spread = np.tile(0.03 * np.eye(2), (30, 1, 1))
    density = as_density(GaussianMixture(share / share.sum(), places, spread))
    ends = lowest_route(density, places[[0, 15]])
    groups = rng.integers(1, 5, 3000)
    assert density_path(density, ends).path.energies.max() < 1.2
    (barrier,) = density_path(density, ends, particles=(data, groups)).barriers
    for interval in barrier[1:]:
        assert abs(interval.value - 3) < 0.4
        assert interval.low <= 3 <= interval.high
        assert interval.high - interval.low < 3
    nowhere = np.array([[90.0, 0.0], [91.0, 0.0]])
    assert smooth_profile(data, groups, density.mixture, nowhere) is None


def test_a_mean_of_densities_is_the_mean_of_their_values():
    rng = np.random.default_rng(8)
    one, other = random_mixture(rng, 2, 2), random_mixture(rng, 3, 2)
    both = mean_of([one, other], np.array([0.25, 0.75]))
    points = rng.standard_normal((5, 2))
    values = [np.exp(-DensitySurface(each).values(points)) for each in (one, other, both)]
    np.testing.assert_allclose(0.25 * values[0] + 0.75 * values[1], values[2])


def test_ends_are_states_or_coordinates():
    nothing = np.zeros(2)
    places = np.array([[0.0, 1], [2, 3]])
    states = DensityStates(places, nothing, nothing, nothing, nothing)
    density = as_density(
        GaussianMixture(np.full(2, 0.5), places, np.tile(0.1 * np.eye(2), (2, 1, 1)))
    )

    def ends(**options):
        return path_ends(DensityOptions(**options), density, states, seed=0)

    np.testing.assert_array_equal(ends(start="2", end="0.5,-1"), [[2, 3], [0.5, -1]])
    np.testing.assert_array_equal(ends(), states.minima)
    for wrong, said in (("3", "states 1 to 2"), ("1,x", "neither"), ("1,2,3", "2 dimensions")):
        with pytest.raises(InputError, match=said):
            ends(start=wrong, end="1")


def test_junk_has_no_part_in_the_density(tmp_path):
    rng = np.random.default_rng(4)
    np.save(tmp_path / "coordinates.npy", rng.standard_normal((200, 2)).astype(np.float32))
    np.save(tmp_path / "covariances.npy", np.tile(np.array([0.2, 0.0, 0.2], "f4"), (200, 1)))
    for most in (1000, 120):
        options = DensityOptions(density_particles=most)
        data, chosen = read_likelihoods(tmp_path, options, np.arange(10, 60), 0, 1)
        assert len(data.projected) == len(chosen) == min(most, 150)
        assert not {*chosen.tolist()} & {*range(10, 60)}


def test_an_extrapolation_that_leads_too_far_is_still_a_mixture():
    """EM takes such steps back; a covariance that cannot be inverted ended the fit before."""
    start, first, second = (
        GaussianMixture(np.array([1 - share, share]), np.zeros((2, 2)), np.stack([np.eye(2), wide]))
        for share, wide in (
            (0.5, np.diag([1.0, 1.0])), (0.1, np.diag([50.0, 1e-2])), (1e-3, np.diag([3e3, 1e-4])),
        )
    )  # fmt: skip
    far = _further(start, first, second)
    assert np.linalg.cond(far.covariances).max() < 1e11
    assert np.isfinite(np.linalg.inv(far.covariances)).all()
    assert far.proportions.min() > 0


def test_copies_of_images_make_no_error_smaller_and_leave_energies():
    """Every particle twice, as two rows of one image: the errors are those of single rows."""
    rng = np.random.default_rng(9)
    places, *_ = double_well(1.5, 1500, rng)
    data, _ = measured(places, 0.4, rng)
    groups = rng.integers(1, 5, len(data))
    twice = np.concatenate([np.arange(len(data))] * 2)
    copies = replace(data.rows(twice), images=twice)
    assert copies.independent == copies.rows(np.arange(1500, 3000)).independent == 1500
    one, two = (fit_density(*some, most=4) for some in ((data, groups), (copies, groups[twice])))
    np.testing.assert_allclose(two.table, one.table, rtol=0.03, atol=1e-3)
    places = np.linspace(-1.3, 1.3, 31)[:, None]

    def energies(mixture):
        return DensitySurface(mixture).values(places)

    np.testing.assert_allclose(energies(two.mixture), energies(one.mixture), atol=0.02)
    np.testing.assert_allclose(two.error(energies), one.error(energies), rtol=0.05, atol=0.01)
    profiles = [
        smooth_profile(data, groups, one.mixture, places),
        smooth_profile(copies, groups[twice], one.mixture, places),
    ]
    assert profiles[0].penalty == profiles[1].penalty
    counting = [profile.draws.std(axis=0) for profile in profiles]
    np.testing.assert_allclose(counting[1], counting[0], rtol=1e-3)
    np.testing.assert_allclose(profiles[1].energies, profiles[0].energies, atol=2e-3)
    told = [
        points_or_continuum(some, each, one)
        for some, each in ((data, groups), (copies, groups[twice]))
    ]
    np.testing.assert_allclose(told[1].error, told[0].error, rtol=0.1)
