"""Latent classes and the grouping of volumes on data with known states."""

import numpy as np
import pytest
from folders import known_states

from alphacryo4d.landscape.distances import squared_distances
from alphacryo4d.landscape.embedding import classical_scaling
from alphacryo4d.landscape.grouping.clustering import group_volumes, likeliest
from alphacryo4d.landscape.grouping.homogeneity import assess_homogeneity, neighbours_information
from alphacryo4d.landscape.grouping.latent_classes import LabelTable, best_of_starts
from alphacryo4d.landscape.grouping.number_of_states import elbow, least_criterion
from alphacryo4d.landscape.zoom_stage import particles_inside

FOLDS = np.repeat(np.arange(4), 6)


def same_partition(first, second):
    """Whether two labellings are the same but for names."""
    pairs = len(set(zip(first.tolist(), second.tolist(), strict=True)))
    return pairs == len(set(first.tolist())) == len(set(second.tolist()))


@pytest.fixture(scope="module")
def known():
    return known_states(np.random.default_rng(7))


def test_likelihood_is_that_of_the_formula(known):
    _, assignments, _, _, truth = known
    table = LabelTable(assignments, FOLDS)
    mixture, posteriors = table.fit(table.start(truth, 3), iterations=200, tolerance=1e-12)
    shares = table.weighted @ posteriors + table.pseudo
    totals = np.array([shares[f == FOLDS].sum(0) for f in range(4)])
    prior = table.weights @ posteriors + 1
    prior = prior / prior.sum()
    expected = 0.0
    for row in assignments:
        terms = prior.copy()
        for volume in row[row >= 0]:
            terms = terms * shares[volume] / totals[FOLDS[volume]]
        expected += np.log(terms.sum())
    assert mixture.log_likelihood == pytest.approx(expected, rel=1e-5)


def test_states_are_found_from_shared_particles_alone(known):
    _, assignments, _, _, truth = known
    table = LabelTable(assignments, FOLDS)
    rng = np.random.default_rng(0)
    starts = [rng.integers(0, 3, 24) for _ in range(20)]
    assert same_partition(best_of_starts(table, starts, 3).labels, truth)


def test_likelihood_and_prior_never_fall(known):
    """The pseudo counts are a Dirichlet prior: each step of EM raises what both say together."""
    _, assignments, _, _, _ = known
    table = LabelTable(assignments, FOLDS)
    posteriors = table.start(np.random.default_rng(1).integers(0, 3, 24), 3)
    values = []
    for _ in range(25):
        shares = table.weighted @ posteriors + table.pseudo
        totals = np.array([shares[f == FOLDS].sum(0) for f in range(4)])
        weights = table.weights @ posteriors + 1
        prior = (table.pseudo * np.log(shares / totals[FOLDS])).sum()
        prior += np.log(weights / weights.sum()).sum()
        mixture, posteriors = table.fit(posteriors, iterations=1)
        values.append(mixture.log_likelihood + prior)
    assert (np.diff(values) > -1e-6 * abs(values[0])).all()
    assert values[-1] > values[0] + 10


def test_copies_of_images_count_once(known):
    """Every image twice is as every image once: likelihood, penalties, particles shared."""
    _, assignments, _, _, truth = known
    single, images = LabelTable(assignments, FOLDS), np.arange(len(assignments))
    copies = np.concatenate([images, images])
    double = LabelTable(np.concatenate([assignments, assignments]), FOLDS, copies)
    np.testing.assert_allclose(double.shared(), single.shared())
    np.testing.assert_allclose(double.penalties(), single.penalties())
    fitted = [one.fit(one.start(truth, 3), iterations=5)[0] for one in (single, double)]
    assert fitted[1].log_likelihood == pytest.approx(fitted[0].log_likelihood)


def test_folds_agree_most_on_the_true_states(known):
    _, assignments, _, _, truth = known
    table = LabelTable(assignments, FOLDS)
    shuffled = truth.copy()
    shuffled[[0, 8]] = shuffled[[8, 0]]
    assert table.agreement(truth) > table.agreement(shuffled)


@pytest.mark.parametrize("states", [2, 3, 5])
def test_the_number_of_states_is_found(states):
    volumes, assignments, _, _, truth = known_states(
        np.random.default_rng(states), states=states, classes=2 * states, particles=3000
    )
    folds = np.repeat(np.arange(4), 2 * states)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(folds))
    distances = squared_distances([volumes])
    grouping = group_volumes(
        distances,
        classical_scaling(distances, 2),
        counts,
        folds,
        states=None,
        assignments=assignments,
    )
    assert grouping.labels.max() + 1 == states
    assert same_partition(grouping.labels, truth)
    assert min(grouping.tried, key=lambda entry: entry[1])[0] == states


@pytest.mark.parametrize("states", [4])
def test_classes_that_noise_repeats_in_every_fold_are_not_states(states):
    volumes, assignments, _, _, truth = known_states(
        np.random.default_rng(states), states=states, classes=3 * states, particles=8000,
        repeated=0.6,
    )  # fmt: skip
    folds = np.repeat(np.arange(4), 3 * states)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(folds))
    distances = squared_distances([volumes])
    grouping = group_volumes(
        distances, classical_scaling(distances, 2), counts, folds,
        states=None, assignments=assignments,
    )  # fmt: skip
    assert min(grouping.tried, key=lambda entry: entry[1])[0] > states
    assert same_partition(grouping.labels, truth)


def test_states_that_are_hard_to_tell_apart_are_counted():
    volumes, assignments, _, _, truth = known_states(
        np.random.default_rng(5), states=5, classes=10, particles=1000, confusion=0.5
    )
    folds = np.repeat(np.arange(4), 10)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(folds))
    distances = squared_distances([volumes])
    grouping = group_volumes(
        distances, classical_scaling(distances, 2), counts, folds,
        states=None, assignments=assignments,
    )  # fmt: skip
    assert same_partition(grouping.labels, truth)


def test_volumes_in_a_wrong_state_are_put_right_by_their_particles(known):
    _, assignments, _, _, truth = known
    rng = np.random.default_rng(4)
    wrong = []
    for _ in range(6):
        labels = truth.copy()
        rows = rng.choice(24, 5, replace=False)
        labels[rows] = (labels[rows] + 1) % 3
        wrong.append(labels)
    assert not any(same_partition(labels, truth) for labels in wrong)
    assert same_partition(likeliest(LabelTable(assignments, FOLDS), wrong), truth)


def test_a_smooth_decline_has_no_elbow_and_a_drop_has():
    gains = 1000 * np.arange(2, 30) ** -1.5
    assert elbow(np.append(0, gains).cumsum(), 26) is None
    weaker, gains[12:] = gains.copy(), 0.4 * gains[12:]
    assert elbow(np.append(0, gains).cumsum(), 26) == 13
    weaker[12:] *= 0.65  # states that are harder to tell apart come later, but they come
    assert elbow(np.append(0, weaker).cumsum(), 26) is None


def test_without_assignments_distances_find_the_states(known):
    volumes, assignments, _, _, truth = known
    counts = np.bincount(assignments[assignments >= 0])
    distances = squared_distances([volumes])
    grouping = group_volumes(distances, classical_scaling(distances, 2), counts, FOLDS, states=None)
    assert same_partition(grouping.labels, truth)


@pytest.mark.parametrize("bottom", [1, 2, 7, 30, 45])
def test_the_search_over_numbers_ends_at_the_minimum(bottom):
    number_found, tried = least_criterion(lambda number: number, lambda n: (n - bottom) ** 2, 45)
    assert number_found == bottom
    assert len(tried) < 25


def test_a_state_of_one_conformation_is_homogeneous(known):
    _, assignments, heldout, _, truth = known
    result = assess_homogeneity(assignments, heldout, truth + 1, 2, rng=np.random.default_rng(0))
    assert result.particles > 500
    assert result.homogeneous


def test_two_conformations_in_one_state_are_told(known):
    _, assignments, heldout, _, truth = known
    merged = np.where(truth == 2, 1, 2)
    result = assess_homogeneity(assignments, heldout, merged, 2, rng=np.random.default_rng(0))
    assert not result.homogeneous
    assert result.information > 0.2


def test_a_split_that_noise_repeats_is_still_one_conformation():
    rng = np.random.default_rng(3)
    made = known_states(rng, states=4, classes=12, particles=6000, repeated=0.55)
    _, assignments, heldout, _, truth = made
    embedding = np.stack([truth, truth % 2], 1) + 0.1 * rng.normal(size=(48, 2))
    yardstick = neighbours_information(assignments, heldout, truth + 1, embedding, rng=rng)
    one, two = truth == 1, np.isin(truth, [1, 2])
    for chosen, homogeneous in ((one, True), (two, False)):
        result = assess_homogeneity(
            assignments, heldout, chosen.astype(int), 1, rng=rng, yardstick=yardstick
        )
        assert result.homogeneous is homogeneous
    assert not assess_homogeneity(assignments, heldout, one.astype(int), 1, rng=rng).homogeneous


def test_particles_inside_have_most_of_their_votes_there():
    assignments = np.array([[0, 2, 4, -1], [0, 3, 4, -1], [-1, 2, -2, 6], [1, -1, 5, 7]])
    inside = np.isin(np.arange(8), [0, 2, 6])
    np.testing.assert_array_equal(particles_inside(assignments, inside), [True, False, True, False])
