"""States or a continuum, and the basin of a particle, on coordinates whose origin is known."""

import numpy as np
import pytest

from alphacryo4d.particle_landscape.density import fit_density
from alphacryo4d.particle_landscape.discrete import Discreteness, points_or_continuum
from alphacryo4d.particle_landscape.membership import likeliest_basins
from alphacryo4d.particle_landscape.mixture import Likelihoods

PLACES = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.4]])


def observed(true, error, rng):
    """Likelihoods of coordinates seen with an error that differs from particle to particle."""
    n, d = true.shape
    strength = rng.uniform(0.5, 1.5, n) / error**2
    seen = true + rng.standard_normal((n, d)) / np.sqrt(strength)[:, None]
    information = strength[:, None, None] * np.eye(d)
    return Likelihoods(strength[:, None] * seen, information)


@pytest.mark.parametrize(("kind", "verdict"), [("points", "discrete"), ("line", "continuum")])
def test_points_are_told_from_a_line(kind, verdict):
    rng = np.random.default_rng(1)
    if kind == "points":
        true = PLACES[rng.choice(3, 2500, p=[0.5, 0.3, 0.2])]
    else:
        true = np.stack([rng.uniform(-1.7, 1.7, 2500), np.zeros(2500)], axis=1)
    data, groups = observed(true, 0.25, rng), rng.integers(1, 4, 2500)
    density = fit_density(data, groups, most=4)
    discreteness = points_or_continuum(data, groups, density)
    assert discreteness.verdict == verdict
    assert verdict.split()[0] in discreteness.sentence
    if kind == "points":
        assert discreteness.points == 3
    assert discreteness.table[discreteness.points - 1, 1] == discreteness.difference


@pytest.mark.parametrize(
    ("difference", "apart", "missing"),
    [
        (0.004, 5.0, "neither is more likely by more than 2 standard errors"),
        (0.0144, 2.3, "points that can be told apart lie more than 3 errors apart"),
    ],
)
def test_an_answer_that_is_not_decided_says_what_it_lacks(difference, apart, missing):
    one = Discreteness("not decided", 4, np.zeros((4, 2)), difference, 0.0035, apart)
    assert one.sentence.endswith(f"; {missing}")


def test_a_particle_belongs_to_the_basin_with_most_of_its_posterior():
    """Against a sum over the points in plain loops."""
    rng = np.random.default_rng(2)
    points, labels = rng.normal(size=(50, 2)), rng.integers(0, 3, 50)
    shares = rng.uniform(0.5, 1.5, 50)
    data = observed(rng.normal(size=(20, 2)), 0.5, rng)
    basins = likeliest_basins(data.projected, data.information, points, shares, labels, 3)
    for i in range(20):
        masses = np.zeros(3)
        for point, share, label in zip(points, shares, labels, strict=True):
            log = data.projected[i] @ point - 0.5 * point @ data.information[i] @ point
            masses[label] += share * np.exp(log)
        assert basins[i] == masses.argmax()
