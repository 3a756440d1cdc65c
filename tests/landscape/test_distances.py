"""Distances against brute force in float64."""

import numpy as np
import pytest
from scipy import fft

from alphacryo4d.core.errors import InputError
from alphacryo4d.landscape.distances import low_pass_coefficients, squared_distances


def brute_force(parts):
    """Squared distances of z-scored, concatenated rows, eq. 4."""
    rows = []
    for part in parts:
        flat = part.reshape(len(part), -1).astype(np.float64)
        rows.append((flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True))
    data = np.hstack(rows)
    return ((data[:, None] - data[None]) ** 2).sum(2)


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(1, 12, 12, 12))
    volumes = (base + 0.05 * rng.normal(size=(30, 12, 12, 12))) * 7 + 100
    return volumes.astype(np.float32), rng.normal(size=(30, 3, 3, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("memory", [1.0, 1e-5])
def test_distances_are_exact_whatever_the_blocks(parts, memory):
    squares = squared_distances(parts, memory=memory)
    np.testing.assert_allclose(squares, brute_force(parts), rtol=1e-4, atol=1e-3)
    assert (np.diag(squares) == 0).all()
    np.testing.assert_array_equal(squares, squares.T)


def test_each_volume_is_standardised_by_itself(parts):
    volumes, features = parts
    scale = np.linspace(0.1, 10, 30, dtype=np.float32)[:, None, None, None]
    np.testing.assert_allclose(
        squared_distances([volumes * scale + scale, features]),
        squared_distances([volumes, features]),
        rtol=1e-3,
        atol=1e-2,
    )


def test_a_memory_map_gives_the_same(parts, tmp_path):
    np.save(tmp_path / "v.npy", parts[0])
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    for memory in (1.0, 1e-5):
        np.testing.assert_array_equal(
            squared_distances([mapped], memory=memory), squared_distances([parts[0]], memory=memory)
        )


def test_a_map_in_another_order_and_a_part_of_a_map_give_the_same(parts, tmp_path):
    np.save(tmp_path / "v.npy", np.asfortranarray(parts[0]))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    np.testing.assert_array_equal(squared_distances([mapped]), squared_distances([parts[0]]))
    np.save(tmp_path / "w.npy", parts[0])
    mapped = np.load(tmp_path / "w.npy", mmap_mode="r")
    for rows in (slice(3, 9), slice(0, 30, 5)):
        np.testing.assert_array_equal(
            squared_distances([mapped[rows]]), squared_distances([parts[0][rows]])
        )


def test_a_file_that_became_shorter_is_named(parts, tmp_path):
    np.save(tmp_path / "v.npy", parts[0])
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    with (tmp_path / "v.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(InputError, match=r"v\.npy: ends too early"):
        squared_distances([mapped])


def test_low_pass_distances_are_those_of_filtered_volumes(parts):
    volumes, voxel, resolution = parts[0], 2.0, 9.0
    along, half = fft.fftfreq(12, voxel), fft.rfftfreq(12, voxel)
    squared = along[:, None, None] ** 2 + along[None, :, None] ** 2 + half**2
    kept = squared <= resolution**-2
    filtered = [fft.irfftn(fft.rfftn(v) * kept, s=(12, 12, 12)) for v in volumes.astype(float)]
    flat = np.array(filtered).reshape(30, -1)
    expected = ((flat[:, None] - flat[None]) ** 2).sum(2)
    rows = low_pass_coefficients(volumes, voxel, resolution).astype(float)
    squares = ((rows[:, None] - rows[None]) ** 2).sum(2)
    np.testing.assert_allclose(squares, expected, rtol=2e-3)


def test_a_filter_finer_than_nyquist_is_said(parts, caplog):
    low_pass_coefficients(parts[0], 5.25, 10.6)
    assert not caplog.text
    low_pass_coefficients(parts[0], 5.25, 5.0)
    assert "--low-pass 5: the volumes end at 10.5 A (Nyquist)" in caplog.text


def test_a_constant_volume_is_named(parts):
    volumes = parts[0].copy()
    volumes[4] = 3.0
    with pytest.raises(InputError, match="row 5 of part 1 is constant"):
        squared_distances([volumes])


def test_values_that_are_not_finite_are_named(parts):
    features = parts[1].copy()
    features[2, 0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="row 3 of part 2"):
        squared_distances([parts[0], features])
