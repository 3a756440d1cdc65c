"""Cubes on another box: the same density, or the same transform."""

import numpy as np
import pytest

from alphacryo4d.maths.fourier import fourier_resize, resize_cubes, resize_spectra, shell_numbers


def blobs(box: int, voxel: float) -> np.ndarray:
    """Smooth density in physical coordinates around the origin at N//2."""
    z, y, x = (np.indices((box, box, box)) - box // 2) * voxel
    spots = [((3, -5, 8), 1.0), ((-10, 4, 0), 0.5), ((6, 6, -12), 0.8)]
    return sum(
        weight * np.exp(-((z - c) ** 2 + (y - b) ** 2 + (x - a) ** 2) / (2 * 4.5**2))
        for (a, b, c), weight in spots
    )


@pytest.mark.parametrize(
    ("box", "small"),
    [(64, 32), (64, 40), (63, 33), (64, 33), (32, 64), (32, 45), (40, 48)],
)
def test_resizing_samples_the_same_density(box: int, small: int) -> None:
    voxel = 128.0 / box
    resized = fourier_resize(blobs(box, voxel), small)
    assert resized.shape == (small,) * 3
    assert resized == pytest.approx(blobs(small, 128.0 / small), abs=4e-3)


def test_the_full_box_is_left_alone() -> None:
    volume = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    assert np.array_equal(fourier_resize(volume, 16), volume)


@pytest.mark.parametrize("size", [16, 12, 20])
def test_cubes_keep_their_transform_below_nyquist(size: int) -> None:
    volumes = np.random.default_rng(1).normal(size=(2, 16, 16, 16))
    resized = resize_cubes(volumes, size)
    last = min(size, 16) // 2

    def held(cubes: np.ndarray, k: tuple[int, int, int]) -> np.ndarray:
        shifted = np.fft.ifftshift(cubes, axes=(1, 2, 3))
        return np.fft.fftn(shifted, axes=(1, 2, 3))[:, *k]

    for k in [(0, 0, 0), (1, -2, 3), (-(last - 1), 0, last - 1)]:
        np.testing.assert_allclose(held(resized, k), held(volumes, k), atol=2e-3)
    if size <= 16:
        assert abs(held(resized, (last, 1, 0))).max() < 1e-3


def test_there_and_back_is_the_same_spectrum() -> None:
    spectrum = np.fft.rfftn(np.random.default_rng(2).normal(size=(9, 9, 9)))
    np.testing.assert_array_equal(resize_spectra(resize_spectra(spectrum, 14), 9), spectrum)
    assert resize_spectra(spectrum, 1).item() == spectrum[0, 0, 0]


def test_shells_are_rounded_radii() -> None:
    shells = shell_numbers(8)
    assert shells.shape == (8, 8, 5)
    assert [shells[0, 0, 0], shells[1, -1, 1], shells[4, 0, 4]] == [0, 2, 6]
