"""Masks and symmetry of the native engine."""

from dataclasses import replace

import numpy as np
import pytest
from blobs import make_blobs, random_states
from sklearn.metrics import adjusted_rand_score

from alphacryo4d.maths.fsc import shell_correlation
from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.reconstruct import reconstruct

OPTIONS = ClassifyOptions(
    classes="2", initial_resolution=14.0, final_resolution=0, components=3, component_iterations=6
)


def two_motions(count=1600):
    """An arm in two places, and a larger blob elsewhere that moves on its own."""
    arms = random_states(2)
    rest = np.array([[-36.0, -14.0, -8.0]] * 4)
    moved = rest + [0.0, 0.0, 24.0]
    return [np.concatenate([arm, side]) for arm in arms for side in (rest, moved)], count


@pytest.fixture(scope="module")
def blobs():
    states, count = two_motions()
    return make_blobs(states, count, noise=0.08, seed=3)


def soft_ball(box, center, radius, pixel_size):
    axis = (np.arange(box) - box // 2) * pixel_size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
    return np.clip((radius + 6 - distance) / 6, 0, 1).astype(np.float32)


def test_a_focus_mask_decides_which_motion_the_classes_show(blobs):
    images, options = blobs.prepared(), replace(OPTIONS, initial_resolution=10.0)
    arm, side = blobs.states // 2, blobs.states % 2
    rows, rng = np.arange(len(images)), np.random.default_rng
    free = classify(images, rows, options, rng(0), threads=2)
    focus = soft_ball(32, (20.0, 0.0, 6.0), 24.0, 4.0)
    focused = classify(images, rows, options, rng(0), focus=focus, threads=2)
    assert adjusted_rand_score(free.labels, side) > 0.9
    assert adjusted_rand_score(focused.labels, arm) > 0.5
    assert adjusted_rand_score(focused.labels, side) < 0.1
    difference = np.abs(focused.volumes[0] - focused.volumes[1])
    assert difference[focus == 0].max() < 0.05 * difference.max()
    whole = shell_correlation(focused.volumes.mean(axis=0), blobs.volumes.mean(axis=0))
    assert whole[:7].min() > 0.9


def test_nothing_is_left_outside_a_solvent_mask(blobs):
    images = blobs.prepared()
    solvent = soft_ball(32, (0.0, 0.0, 0.0), 50.0, 4.0)
    options = ClassifyOptions(
        classes="2",
        initial_resolution=14.0,
        final_resolution=0,
        components=2,
        component_iterations=3,
    )
    classification = classify(
        images, np.arange(800), options, np.random.default_rng(0), solvent=solvent, threads=2
    )
    inside = np.abs(classification.volumes).max()
    assert np.abs(classification.volumes[:, solvent == 0]).max() < 0.05 * inside


def test_particles_of_a_symmetric_volume_count_for_all_its_copies():
    angle = 2 * np.pi / 3
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    unit = np.random.default_rng(1).uniform(-30, 30, (6, 3))
    blobs = make_blobs([np.concatenate([unit, unit @ turn, unit @ turn @ turn])], 60, noise=0.2)
    plain, symmetric = blobs.prepared(), blobs.prepared(symmetry="C3")
    labels = np.zeros(60, int)
    one, three = (next(reconstruct(images, labels, threads=1)) for images in (plain, symmetric))
    gain = [shell_correlation(r.volume, blobs.volumes[0])[5:9].mean() for r in (one, three)]
    assert gain[1] > gain[0] + 0.15
    assert gain[1] > 0.5


def test_classes_of_a_symmetric_particle_are_symmetric():
    states = [np.concatenate([s, s * [-1, -1, 1]]) for s in random_states(2)]
    blobs = make_blobs(states, 600, noise=0.1, seed=2)
    images = blobs.prepared(symmetry="C2")
    classification = classify(images, np.arange(600), OPTIONS, np.random.default_rng(0), threads=2)
    assert adjusted_rand_score(classification.labels, blobs.states) > 0.9
    turned = classification.volumes[:, :, ::-1, ::-1]
    cut = slice(1, None)
    ours, mate = classification.volumes[:, cut, cut, cut], turned[:, cut, :-1, :-1]
    assert np.abs(ours - mate).max() < 0.02 * np.abs(ours).max()
