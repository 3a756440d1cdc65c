import numpy as np
import pytest

from alphacryo4d.resample.volumes import fourier_crop


def blobs(box: int, voxel: float) -> np.ndarray:
    """Smooth density in physical coordinates around the origin at N//2."""
    z, y, x = (np.indices((box, box, box)) - box // 2) * voxel
    spots = [((3, -5, 8), 1.0), ((-10, 4, 0), 0.5), ((6, 6, -12), 0.8)]
    return sum(
        weight * np.exp(-((z - c) ** 2 + (y - b) ** 2 + (x - a) ** 2) / (2 * 4.5**2))
        for (a, b, c), weight in spots
    )


@pytest.mark.parametrize(("box", "small"), [(64, 32), (64, 40), (63, 33), (64, 33)])
def test_cropping_samples_the_same_density(box: int, small: int) -> None:
    volume = blobs(box, 2.0)
    cropped = fourier_crop(volume, small)
    assert cropped.shape == (small,) * 3
    assert cropped == pytest.approx(blobs(small, 2.0 * box / small), abs=2e-3)


def test_the_full_box_is_left_alone() -> None:
    volume = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    assert np.array_equal(fourier_crop(volume, 16), volume)
