import numpy as np
from blobs import make_blobs, random_states

from alphacryo4d.maths.fourier import shell_numbers
from alphacryo4d.maths.fsc import shell_correlation
from alphacryo4d.ml3d.reconstruct import filter_by_correlation, reconstruct, without_corners


def test_exact_projections_give_the_true_map_back():
    blobs = make_blobs(random_states(1), 800, noise=0.0, width=2.5)
    images = blobs.prepared()
    reconstruction = next(reconstruct(images, np.zeros(800, int), threads=2))
    fsc = shell_correlation(reconstruction.volume, blobs.volumes[0])
    assert fsc[1 : int(0.9 * 16) + 1].min() > 0.99
    scale = np.vdot(reconstruction.volume, blobs.volumes[0]) / np.vdot(
        blobs.volumes[0], blobs.volumes[0]
    )
    assert abs(scale - 1) < 0.1


def test_several_folds_are_reconstructed_in_order_and_left_out_particles_are_not_used():
    blobs = make_blobs(random_states(2), 120, noise=0.1)
    images = blobs.prepared()
    labels = np.stack([blobs.states, np.where(blobs.states == 1, 3, -1)], axis=1)
    reconstructions = list(reconstruct(images, labels, threads=2))
    assert [(r.fold, r.label) for r in reconstructions] == [(0, 0), (0, 1), (1, 3)]
    assert [r.count for r in reconstructions] == [
        int((blobs.states == 0).sum()), int((blobs.states == 1).sum()),
        int((blobs.states == 1).sum()),
    ]  # fmt: skip
    assert np.array_equal(reconstructions[1].volume, reconstructions[2].volume)


def test_shells_are_weighed_with_the_correlation_of_the_whole():
    volume = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    fsc = np.array([1, 0.8, 0.5, 0.2, -0.1, 0.0, 0.0, 0.0])
    before, after = np.fft.rfftn(volume), np.fft.rfftn(filter_by_correlation(volume, fsc))
    shells = shell_numbers(16)
    for shell, value in enumerate(fsc):
        inside = shells == shell
        weight = max(2 * value / (1 + value), 1e-3)
        np.testing.assert_allclose(after[inside], weight * before[inside], atol=2e-4)
    assert abs(after[shells >= 8]).max() < 2e-4


def test_corners_hold_the_mean_outside_and_the_sphere_is_kept():
    volume = np.random.default_rng(1).normal(2.0, 1.0, (24, 24, 24)).astype(np.float32)
    filled = without_corners(volume)
    axis = np.arange(24) - 12
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    np.testing.assert_array_equal(filled[radius <= 12], volume[radius <= 12])
    outside = radius >= 15
    assert np.ptp(filled[outside]) < 1e-5
    assert abs(filled[0, 0, 0] - volume[outside].mean()) < 0.05
