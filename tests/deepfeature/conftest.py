"""Volumes of a moving blob, small enough to train on in seconds."""

from pathlib import Path

import numpy as np
import pytest


def moving_blobs(count: int, box: int, seed: int = 0) -> np.ndarray:
    """A fixed blob and one that swings along y, with noise; float32 (count, box, box, box)."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((box,) * 3) - box // 2
    angles = np.linspace(-1, 1, count)
    volumes = []
    for angle in rng.permutation(angles):
        fixed = np.exp(-(z**2 + (y + 0.1 * box) ** 2 + x**2) / (0.02 * box**2))
        dy, dx = 0.3 * box * np.sin(angle), 0.3 * box * np.cos(angle)
        moving = np.exp(-(z**2 + (y - dy) ** 2 + (x - dx) ** 2) / (0.008 * box**2))
        volumes.append(fixed + moving + 0.02 * rng.normal(size=z.shape))
    return np.array(volumes, np.float32)


@pytest.fixture(scope="session")
def resample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resample")
    np.save(folder / "volumes.npy", moving_blobs(48, 16))
    return folder
