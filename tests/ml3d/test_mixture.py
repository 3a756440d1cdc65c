import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from alphacryo4d.ml3d import mixture_rounds, mixture_search
from alphacryo4d.ml3d.mixture import LatentParticles
from alphacryo4d.ml3d.mixture_rounds import refine_mixture
from alphacryo4d.ml3d.mixture_search import fit_mixture
from alphacryo4d.ml3d.points import grouped_points


def latent_data(count, points, scatter, precision, seed=0):
    rng = np.random.default_rng(seed)
    q = points.shape[1]
    state = rng.integers(0, len(points), count)
    z = points[state] + rng.multivariate_normal(np.zeros(q), scatter, count)
    root = rng.normal(size=(count, q, q)) * 0.2 + np.eye(q) * np.sqrt(precision)
    information = root @ root.transpose(0, 2, 1)
    noise = np.einsum("nab,nb->na", root, rng.normal(size=(count, q)))
    return state, information, np.einsum("nab,nb->na", information, z) + noise


def test_likelihood_of_points_is_that_of_scattered_coordinates():
    points = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
    scatter = np.array([[0.5, 0.2], [0.2, 0.9]])
    _, information, projected = latent_data(50, points, scatter, 3.0)
    particles = LatentParticles(information, projected)
    particles.set_scatter(scatter)
    soft = particles.posteriors(points)
    for i in range(50):
        covariance = np.linalg.inv(information[i]) + scatter
        best = np.linalg.solve(information[i], projected[i])
        likelihood = [multivariate_normal(point, covariance).pdf(best) for point in points]
        assert np.allclose(soft[i], likelihood / np.sum(likelihood), atol=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_is_that_of_em_in_float64(workers):
    """Points, proportions, posteriors and the likelihood, over several blocks of particles."""
    rng = np.random.default_rng(4)
    points, scatter = 2 * rng.standard_normal((6, 3)), np.diag([0.3, 0.5, 0.1])
    _, information, projected = latent_data(5000, points, scatter, 3.0)
    particles = LatentParticles(information, projected, workers)
    particles.set_scatter(scatter)
    particles.proportions = rng.dirichlet(np.ones(6))
    covariance = np.linalg.inv(information) + scatter
    best = np.linalg.solve(information, projected[..., None])[..., 0]
    away = best[:, None] - points
    square = np.einsum("nka,nab,nkb->nk", away, np.linalg.inv(covariance), away)
    # what does not depend on the point: relative to noise alone, as for coordinates of no particle
    free = 0.5 * np.einsum("na,na->n", projected, best) - 0.5 * np.linalg.slogdet(information)[1]
    level = np.log(particles.proportions) - 0.5 * square
    logs = logsumexp(level, axis=1)
    value = np.mean(free + logs - 0.5 * np.linalg.slogdet(covariance)[1])
    soft = np.exp(level - logs[:, None])
    curvature = np.einsum("nk,nab->kab", soft, np.linalg.inv(covariance)) + np.eye(3)
    slope = np.einsum("nk,nab,nb->ka", soft, np.linalg.inv(covariance), best)
    assert np.allclose(particles.posteriors(points), soft, atol=1e-4)
    moved, likelihood = particles.step(points)
    assert np.allclose(moved, np.linalg.solve(curvature, slope[..., None])[..., 0], atol=1e-4)
    assert likelihood == pytest.approx(value, abs=1e-4)
    members = soft.sum(axis=0) + 1
    assert np.allclose(particles.proportions, members / members.sum(), atol=1e-5)


def test_scatter_is_recovered():
    points = np.array([[0.0, 3.0], [3.0, -3.0], [-3.0, 0.0]])
    scatter = np.diag([0.05, 1.5])
    _, information, projected = latent_data(6000, points, scatter, 4.0)
    particles = LatentParticles(information, projected, 2)
    for _ in range(60):
        particles.set_scatter(particles.scatter_about(points))
    recovered = np.linalg.inv(particles.precision)
    # 6,000 particles, each with 1/4 of measurement: deviations of 2 and 3%, five of them allowed
    np.testing.assert_allclose(np.diag(recovered), np.diag(scatter), rtol=0.15)
    assert abs(recovered[0, 1]) < 0.15 * np.sqrt(0.05 * 1.5)


@pytest.mark.parametrize("seeing", [1.0, 0.3])
@pytest.mark.parametrize(("known", "variance"), [(0.12, 0.3), (0.3, 0.9), (9.0, 0.05)])
def test_scatter_that_is_hardly_known_is_that_of_the_highest_posterior(seeing, known, variance):
    """Particles that tell a variance by a hundredth, or of which most tell nothing at all.

    Twelve steps are where EM is after thousands; compared with a search of the analytic posterior.
    """
    count, members, before = 20_000, mixture_rounds.MEMBERS, mixture_rounds.VARIANCE
    rng = np.random.default_rng(2)
    information = known * np.where(rng.random((count, 1)) < seeing, 1, 1e-4)
    z = rng.standard_normal((count, 1)) * np.sqrt(variance)
    projected = information * z + np.sqrt(information) * rng.standard_normal((count, 1))
    particles = LatentParticles(information[:, :, None], projected)
    mixture = refine_mixture(particles, particles, np.zeros((1, 1)), 12, 1, newton=True)
    best = projected / information

    def unlikely(log):
        spread = 1 / information + np.exp(log)
        own = np.sum(np.log(spread) + (best - mixture.points[0]) ** 2 / spread)
        return own + members * (log + before / np.exp(log))

    most = np.exp(minimize_scalar(unlikely, bounds=(-6, 2)).x)
    assert mixture.scatter[0, 0] == pytest.approx(most, rel=2e-3)
    if known < 0.2:
        particles.set_scatter(np.eye(1))
        slow = refine_mixture(particles, particles, np.zeros((1, 1)), 12, 1)
        assert slow.scatter[0, 0] > 1.5 * most


def test_newton_keeps_the_scatter_that_em_keeps():
    """Also one that is correlated, where the particles know its directions unlike well."""
    scatter = np.array([[0.5, 0.2, 0.0], [0.2, 0.3, 0.1], [0.0, 0.1, 0.4]])
    known = np.diag([0.5, 1e-3, 0.1])
    count = 10**9
    moved = mixture_rounds.newton_scatter(scatter, scatter, known, count)
    np.testing.assert_allclose(moved, scatter, rtol=1e-4, atol=1e-4)


def test_classes_are_found_although_a_nuisance_varies_as_much():
    line = np.linspace(-2, 2, 5)
    points = np.stack([line, line**2 - 2, np.zeros(5), np.zeros(5)], axis=1)
    scatter = np.diag([0.01, 0.01, 1.5, 1.5])
    state, information, projected = latent_data(4000, points, scatter, 25.0)
    particles = LatentParticles(information, projected, 2)
    coordinates = np.linalg.solve(information + np.eye(4), projected[..., None])[..., 0]
    mixture = fit_mixture(particles, coordinates, 5, np.random.default_rng(1), starts=3)
    labels = particles.posteriors(mixture.points).argmax(axis=1)
    purity = sum(np.bincount(state[labels == k]).max() for k in np.unique(labels)) / 4000
    assert purity > 0.95


@pytest.mark.parametrize(("count", "most"), [(2, 0), (3, 3)])
def test_few_points_are_merged_in_pairs_and_a_third_is_split(monkeypatch, count, most):
    points = 4.0 * np.eye(3)[:count]
    _, information, projected = latent_data(400, points, 0.1 * np.eye(3), 9.0)
    particles = LatentParticles(information, projected)
    particles.proportions = np.full(count, 1 / count)
    tried = []

    def fails(particles, points, moving, steps, best):
        tried.append((particles.proportions.sum(), *map(int, moving)))
        return points, -np.inf

    monkeypatch.setattr(mixture_search, "_tried", fails)
    _, moves = mixture_search.split_and_merge(particles, points)
    assert moves == []
    assert len(tried) == most
    assert [share for share, *_ in tried] == pytest.approx([1.0] * most)
    assert all(len({*moving}) == 3 for _, *moving in tried)


def test_children_of_one_parent_are_neighbours():
    rng = np.random.default_rng(0)
    centers = np.array([[-10.0, 0], [0, 0], [10, 0]])
    points = rng.permutation(np.repeat(centers, 2, axis=0) + rng.normal(size=(6, 2)))
    parents = grouped_points(points, (3, 2)).reshape(3, 2, 2)[..., 0].round(-1)
    assert parents.tolist() == [[-10, -10], [0, 0], [10, 10]]


def test_shares_of_rare_points_are_found():
    """Two points, one of them of 3% of the particles; equal proportions would draw others to it."""
    rng = np.random.default_rng(8)
    rare = rng.random(8000) < 0.03
    z = np.where(rare[:, None], [1.5, 0.0], [-0.5, 0.0]) + 0.3 * rng.standard_normal((8000, 2))
    information = np.tile(4.0 * np.eye(2), (8000, 1, 1))
    projected = 4.0 * z + 2.0 * rng.standard_normal((8000, 2))
    particles = LatentParticles(information, projected)
    particles.set_scatter(0.09 * np.eye(2))
    points = np.array([[1.2, 0.0], [-0.2, 0.0]])
    even = points
    for _ in range(60):
        even, _ = particles.step(even)
    particles.proportions = np.array([0.5, 0.5])
    for _ in range(60):
        points, value = particles.step(points)
    np.testing.assert_allclose(particles.proportions, [rare.mean(), 1 - rare.mean()], atol=0.01)
    np.testing.assert_allclose(points, [[1.5, 0], [-0.5, 0]], atol=0.15)
    assert np.linalg.norm(even[0] - [1.5, 0]) > 0.3
