import numpy as np
import pytest

from alphacryo4d.resample.volumes import fourier_resize


def blobs(box: int, voxel: float) -> np.ndarray:
    """Smooth density in physical coordinates around the origin at N//2."""
    z, y, x = (np.indices((box, box, box)) - box // 2) * voxel
    spots = [((3, -5, 8), 1.0), ((-10, 4, 0), 0.5), ((6, 6, -12), 0.8)]
    return sum(
        weight * np.exp(-((z - c) ** 2 + (y - b) ** 2 + (x - a) ** 2) / (2 * 4.5**2))
        for (a, b, c), weight in spots
    )


@pytest.mark.parametrize(
    ("box", "small"), [(64, 32), (64, 40), (63, 33), (64, 33), (32, 64), (32, 45)]
)
def test_resizing_samples_the_same_density(box: int, small: int) -> None:
    voxel = 128.0 / box
    resized = fourier_resize(blobs(box, voxel), small)
    assert resized.shape == (small,) * 3
    assert resized == pytest.approx(blobs(small, 128.0 / small), abs=4e-3)


def test_the_full_box_is_left_alone() -> None:
    volume = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    assert np.array_equal(fourier_resize(volume, 16), volume)
