import itertools

import numpy as np
import pytest
from blobs import make_blobs, random_states
from sklearn.metrics import adjusted_rand_score

from alphacryo4d.core.errors import TimeLimitReached, UsageError
from alphacryo4d.ml3d.class_volumes import correlation_of_halves
from alphacryo4d.ml3d.classify import classify, expectation
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.options import ClassifyOptions, class_levels

OPTIONS = ClassifyOptions(
    classes="4", iterations=6, initial_resolution=16.0, final_resolution=12.0, components=5,
    component_iterations=6, final_component_iterations=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(random_states(4), 1200, noise=0.05)


@pytest.fixture(scope="module")
def images(blobs):
    return blobs.prepared()


class Memory:
    """Keeps the states of a classification, as a file would."""

    def __init__(self, stop_after=None):
        self.states, self.stop_after = [], stop_after

    def load(self):
        return self.states[-1] if self.states else None

    def save(self, state):
        self.states.append({name: np.copy(value) for name, value in state.items()})
        if self.stop_after is not None and len(self.states) >= self.stop_after:
            raise TimeLimitReached("stop")


@pytest.fixture(scope="module")
def classification(images):
    return classify(images, np.arange(1200), OPTIONS, np.random.default_rng(3), threads=2)


def test_well_separated_states_are_told_apart(classification, blobs):
    assert adjusted_rand_score(classification.labels, blobs.states) > 0.95


def test_class_volumes_resemble_their_states(classification, blobs):
    for k in range(4):
        state = np.bincount(blobs.states[classification.labels == k]).argmax()
        mean = blobs.volumes.mean(axis=0)
        a, b = (
            classification.volumes[k] - classification.volumes.mean(axis=0),
            blobs.volumes[state] - mean,
        )
        assert np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b)) > 0.7
        assert classification.volumes[k].max() > -classification.volumes[k].min()


def test_the_same_seed_gives_the_same_classes_whatever_the_threads(classification, images):
    again = classify(images, np.arange(1200), OPTIONS, np.random.default_rng(3), threads=1)
    assert np.array_equal(again.labels, classification.labels)
    assert np.array_equal(again.volumes, classification.volumes)


def test_a_stopped_classification_goes_on_to_the_same_result(classification, images):
    memory = Memory(stop_after=1)
    with pytest.raises(TimeLimitReached):
        classify(
            images, np.arange(1200), OPTIONS, np.random.default_rng(3), threads=2,
            checkpoint=memory,
        )  # fmt: skip
    memory.stop_after = None
    again = classify(
        images, np.arange(1200), OPTIONS, np.random.default_rng(99), threads=2, checkpoint=memory
    )
    assert np.array_equal(again.labels, classification.labels)


def test_left_out_particles_go_to_the_class_of_their_state(images, blobs):
    rows, left = np.arange(900), np.arange(900, 1200)
    classification = classify(images, rows, OPTIONS, np.random.default_rng(0), threads=2)
    labels, posteriors = expectation(
        images,
        left,
        classification.volumes,
        resolution=classification.resolution,
        noise=classification.noise,
        threads=2,
    )
    assert np.allclose(posteriors.sum(axis=1), 1, atol=1e-4)
    assert adjusted_rand_score(labels, blobs.states[left]) > 0.9


def test_labels_come_in_the_order_of_the_rows(images, blobs):
    rows = np.random.default_rng(1).permutation(1200)[:800]
    soft = np.eye(4)[blobs.states[rows]]
    classification = classify(
        images, rows, OPTIONS, np.random.default_rng(0), start=soft, threads=2
    )
    assert np.mean(classification.labels == blobs.states[rows]) > 0.97


def test_given_volumes_keep_their_classes(images, blobs):
    classification = classify(
        images, np.arange(1200), OPTIONS, np.random.default_rng(0), start=blobs.volumes, threads=2
    )
    assert np.mean(classification.labels == blobs.states) > 0.97


def test_posteriors_under_the_true_volumes_are_calibrated():
    blobs = make_blobs(random_states(4), 3000, noise=0.15, seed=5)
    images = blobs.prepared()
    labels, soft = expectation(images, np.arange(3000), blobs.volumes, resolution=12.0, threads=2)
    confidence, right = soft.max(axis=1), labels == blobs.states
    assert 0.5 < right.mean() < 0.97
    edges = np.linspace(0.25, 1, 9)
    error = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert error < 0.03


def test_a_hierarchy_names_children_after_their_parents(images):
    options = ClassifyOptions(
        classes="2x3", iterations=2, initial_resolution=16.0, final_resolution=0, components=4,
        component_iterations=3,
    )  # fmt: skip
    classification = classify(images, np.arange(1200), options, np.random.default_rng(0), threads=2)
    assert classification.parents.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(classification.volumes) == 6


@pytest.mark.parametrize("scheme", ["0", "5x", "abc", "3x-1"])
def test_a_scheme_of_classes_that_makes_no_sense_is_refused(scheme):
    with pytest.raises(UsageError):
        class_levels(scheme)


def test_shells_in_which_classes_do_not_differ_are_left_out():
    """Blobs of 12 A width have nothing at 9 A: the half sets do not agree there."""
    blobs = make_blobs(random_states(3), 1500, noise=0.05, width=12.0, seed=6)
    images = blobs.prepared()
    options = ClassifyOptions(
        classes="3",
        initial_resolution=25.0,
        final_resolution=9.0,
        components=3,
        component_iterations=4,
    )
    classification = classify(images, np.arange(1500), options, np.random.default_rng(0), threads=2)
    assert 12 < classification.resolution < 26
    assert "half sets" in classification.log[0]
    sharp = make_blobs(random_states(3), 1500, noise=0.02, width=2.0, seed=6)
    classification = classify(
        sharp.prepared(), np.arange(1500), options, np.random.default_rng(0), threads=2
    )
    assert classification.resolution == pytest.approx(32 * 4.0 / 14)


def test_half_sets_agree_about_true_classes_and_not_about_random_ones():
    """Deviations of the classes from their mean: signal in both half sets, or noise in each."""
    blobs = make_blobs(random_states(3), 1200, noise=0.05)
    images = blobs.prepared()
    view = View(images, images.sorted_rows(np.arange(1200)), Grid(9, 2))
    noise, mask = data_power(view), np.ones([view.grid.cube] * 3, np.float32)
    prior = np.tile(1e3 * noise.mean(axis=0)[:, None], 3)
    states = blobs.states[view.rows]
    shuffled = np.random.default_rng(0).permutation(states)
    true, random = (
        correlation_of_halves(view, 1 / noise, np.eye(3, dtype=np.float32)[labels], mask, prior)
        for labels in (states, shuffled)
    )
    assert true[1:6].min() > 0.8
    assert abs(random[1:6].mean()) < 0.2
