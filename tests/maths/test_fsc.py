"""Fourier shell correlation on maps whose answer is known."""

import numpy as np
import pytest
import scipy.ndimage

from alphacryo4d.core.errors import InputError
from alphacryo4d.maths import fsc

SIZE, VOXEL = 32, 3.0


@pytest.fixture
def blob():
    rng = np.random.default_rng(1)
    volume = np.zeros((SIZE, SIZE, SIZE))
    volume[tuple(rng.integers(11, 21, (3, 60)))] = 1
    return scipy.ndimage.gaussian_filter(volume, 0.8)


def brute_force(a, b, shell):
    """Correlation of one shell from the full transforms."""
    fa, fb = np.fft.fftn(a), np.fft.fftn(b)
    k = np.fft.fftfreq(SIZE, 1 / SIZE)
    radius = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2))
    inside = radius == shell
    cross = (fa[inside] * fb[inside].conj()).sum().real
    return cross / np.sqrt((abs(fa[inside]) ** 2).sum() * (abs(fb[inside]) ** 2).sum())


def test_shells_equal_the_full_transform():
    a, b = np.random.default_rng(0).standard_normal((2, SIZE, SIZE, SIZE))
    b = b + 0.5 * a
    curve = fsc.shell_correlation(a, b)
    for shell in (0, 1, 5, 15):
        assert np.isclose(curve[shell], brute_force(a, b, shell), atol=1e-10)


def test_equal_maps_correlate_to_nyquist(blob):
    curves = fsc.correlate_halves(blob, blob, VOXEL)
    np.testing.assert_allclose(curves.unmasked, 1)
    assert curves.resolution == 2 * VOXEL


def test_resolution_is_interpolated_between_shells():
    curve = np.array([1, 1, 1, 0.5, 0.1, 0, 0, 0])
    shell = 3 + (0.5 - 0.143) / 0.4
    assert np.isclose(fsc.resolution_at(curve, 2.0), 16 * 2.0 / shell)
    assert fsc.resolution_at(np.ones(8), 2.0) == 2 * 2.0


def test_without_a_shell_that_agrees_the_resolution_is_the_box():
    assert fsc.resolution_at(np.zeros(8), 2.0) == 16 * 2.0


def test_a_box_of_odd_size_counts_its_last_plane_twice():
    a, b = np.random.default_rng(0).standard_normal((2, 9, 9, 9))
    k = np.fft.fftfreq(9, 1 / 9)
    inside = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)) == 3
    fa, fb = np.fft.fftn(a)[inside], np.fft.fftn(b)[inside]
    wanted = np.vdot(fa, fb).real / np.linalg.norm(fa) / np.linalg.norm(fb)
    assert np.isclose(fsc.shell_correlation(a, b)[3], wanted)


def test_shells_of_an_odd_box_are_as_wide_as_the_box_says():
    rng = np.random.default_rng(2)
    halves = rng.standard_normal((2, 9, 9, 9))
    curves = fsc.correlate_halves(*halves, VOXEL, mask=np.ones((9, 9, 9)))
    assert curves.shell_resolution[1:] == pytest.approx(9 * VOXEL / np.arange(1, 4))
    curve = np.array([1, 1, 0.5, 0.1])
    assert fsc.resolution_at(curve, VOXEL, box=9) == pytest.approx(
        9 / 8 * fsc.resolution_at(curve, VOXEL)
    )
    assert curves.resolution_unmasked == fsc.resolution_at(curves.unmasked, VOXEL, box=9)


def test_noise_has_no_resolution_even_under_a_mask(blob):
    rng = np.random.default_rng(4)
    mask = fsc.soft_mask(blob, VOXEL)
    half1, half2 = rng.standard_normal((2, SIZE, SIZE, SIZE))
    curves = fsc.correlate_halves(half1, half2, VOXEL, mask=mask)
    assert abs(curves.corrected[3:]).mean() < 0.15
    assert curves.resolution > 20


def test_mask_raises_the_correlation_of_noisy_halves(blob):
    rng = np.random.default_rng(4)
    noise = 0.05 * rng.standard_normal((2, SIZE, SIZE, SIZE))
    curves = fsc.correlate_halves(blob + noise[0], blob + noise[1], VOXEL)
    assert curves.masked[2:12].mean() > curves.unmasked[2:12].mean() + 0.02


def test_difference_map_shows_the_part_that_moved_and_no_scale(blob):
    part = np.zeros_like(blob)
    part[8:11, 20:23, 20:23] = 1.0
    part = scipy.ndimage.gaussian_filter(part, 0.8)
    assert abs(fsc.difference_map(3 * blob, blob, 8.0, VOXEL)).max() < 1e-6
    difference = fsc.difference_map(blob + part, blob, 8.0, VOXEL)
    peak = np.unravel_index(difference.argmax(), difference.shape)
    assert abs(np.array(peak) - [9, 21, 21]).max() <= 1


def test_maps_that_do_not_fit_are_refused(blob):
    with pytest.raises(InputError, match="shape"):
        fsc.correlate_halves(blob, blob[:16], VOXEL)
    with pytest.raises(InputError, match="NaN"):
        fsc.correlate_halves(blob * np.nan, blob, VOXEL)
