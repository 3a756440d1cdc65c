"""Left-out particles are judged by volumes that have not seen them; else these tests would fail."""

from dataclasses import replace

import numpy as np
import pytest
import simulated

from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.reconstruct import reconstruct
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.voting.null import classify_null
from alphacryo4d.voting.recorded_stage import BatchImages, read_recorded
from alphacryo4d.voting.support_stage import support_of_votes

COUNT, FOLDS = 800, 4


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    """Pure noise with random labels: volumes of every fold that are fitted noise of its particles.

    Only particles that a fold has seen can be more likely under its two volumes than under their
    mean.
    """
    folder = tmp_path_factory.mktemp("poisoned")
    rng = np.random.default_rng(8)
    table, _ = simulated.simulate(folder, np.zeros(COUNT, int), 1e-8, rng)
    classify = {"initial_resolution": 15.0, "final_resolution": 0.0}
    groups = simulated.write_project(
        folder, table, np.ones(COUNT, int), rng, folds=FOLDS - 1, classify=classify
    )
    particles = read_particles(table)
    images = BatchImages(particles, groups, read_recorded(folder / "resample"))
    labels = rng.integers(0, 2, (COUNT, FOLDS)).astype(np.int32)
    labels[np.arange(COUNT), groups[:, 1] - 1] = -1
    reconstructions = list(reconstruct(prepare_rows(particles, np.arange(COUNT), None), labels))
    np.save(
        folder / "resample" / "volumes.npy",
        np.stack([one.half_maps.mean(axis=0) for one in reconstructions]),
    )
    columns = {
        "ac4dBatch": [1] * len(reconstructions),
        "ac4dFold": [one.fold + 1 for one in reconstructions],
        "ac4dParticleCount": [one.count for one in reconstructions],
    }
    write_tables(folder / "resample" / "volumes.star", {"volumes": columns})
    return folder / "resample", images, np.array([one.label + 1 for one in reconstructions])


def test_fitted_noise_gives_left_out_particles_nothing(poisoned):
    resample, images, states = poisoned
    support = support_of_votes(resample, images, states, 2)
    assert support.particles == COUNT
    assert support.gain < 0
    assert not support.real
    assert not support.supported.any()


def test_particles_that_the_volumes_had_seen_would_be_noticed(poisoned):
    """The same volumes with the sides of the folds swapped: each judges a group that it saw."""
    resample, images, states = poisoned
    seen = images.groups.copy()
    seen[:, 1] = seen[:, 1] % FOLDS + 1
    swapped = BatchImages(images.particles, seen, images.recorded)
    support = support_of_votes(resample, swapped, states, 2)
    assert support.gain > 5 * support.error
    assert support.real


def test_what_a_fold_leaves_out_changes_nothing_in_it(poisoned):
    """Left-out images of another make: labels and volumes stay the same, bit for bit."""
    _, images, _ = poisoned
    whole, left = images.of(1), images.left_out(1, 2)
    data = whole.data.copy()
    data[left] = 1e3 * np.random.default_rng(0).standard_normal(data[left].shape)
    options = ClassifyOptions(
        classes="2", iterations=2, components=2, component_iterations=2, initial_resolution=25.0,
        final_resolution=0,
    )  # fmt: skip
    folds = [
        classify_null(one, left, options, np.random.default_rng(3), minimum_class_size=5, box=16)
        for one in (whole, replace(whole, data=data))
    ]
    np.testing.assert_array_equal(folds[0].labels, folds[1].labels)
    np.testing.assert_array_equal(folds[0].volumes, folds[1].volumes)
