import numpy as np
from blobs import make_blobs, random_states

from alphacryo4d.ml3d.reconstruct import reconstruct, resolution_at, shell_correlation


def test_exact_projections_give_the_true_map_back():
    blobs = make_blobs(random_states(1), 800, noise=0.0, width=2.5)
    images = blobs.prepared()
    found = next(reconstruct(images, np.zeros(800, int), threads=2))
    fsc = shell_correlation(found.volume, blobs.volumes[0])
    assert fsc[1 : int(0.9 * 16) + 1].min() > 0.99
    scale = np.vdot(found.volume, blobs.volumes[0]) / np.vdot(blobs.volumes[0], blobs.volumes[0])
    assert abs(scale - 1) < 0.1


def test_several_folds_are_reconstructed_in_order_and_left_out_particles_are_not_used():
    blobs = make_blobs(random_states(2), 120, noise=0.1)
    images = blobs.prepared()
    labels = np.stack([blobs.states, np.where(blobs.states == 1, 3, -1)], axis=1)
    found = list(reconstruct(images, labels, threads=2))
    assert [(r.fold, r.label) for r in found] == [(0, 0), (0, 1), (1, 3)]
    assert [r.count for r in found] == [
        int((blobs.states == 0).sum()), int((blobs.states == 1).sum()),
        int((blobs.states == 1).sum()),
    ]  # fmt: skip
    assert np.array_equal(found[1].volume, found[2].volume)


def test_resolution_is_where_the_curve_crosses():
    fsc = np.array([1.0, 1.0, 0.643, 0.143 - 0.5, 0.0])
    assert resolution_at(fsc, 0.143, 10, 1.0) == 10 / 2.5
    assert resolution_at(np.ones(5), 0.143, 8, 1.0) == 2.0
