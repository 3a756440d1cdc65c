"""Local resolution on half maps whose answer is known, and through `vote reconstruct`."""

import json

import numpy as np
import pytest
import scipy.ndimage
import simulated

from alphacryo4d.io.mrc import read_volume
from alphacryo4d.maths.fourier import shell_numbers
from alphacryo4d.maths.local_resolution import local_resolution, window_diameter
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.reconstruction.stage import reconstruct_states, run_reconstruct

SIZE, VOXEL, WINDOW = 64, 2.0, 30.0


@pytest.fixture(scope="module")
def halves():
    """A ball of detail down to Nyquist; noise is ten times as strong where x > 0."""
    rng = np.random.default_rng(5)
    z, y, x = np.indices((SIZE,) * 3) - SIZE // 2
    radius = np.sqrt(x**2 + y**2 + z**2)
    signal = scipy.ndimage.gaussian_filter(rng.standard_normal((SIZE,) * 3) * (radius < 24), 0.7)
    noise = np.where(x < 0, 0.3, 3.0) * signal[radius < 20].std()
    maps = signal + noise * rng.standard_normal((2, SIZE, SIZE, SIZE))
    return maps, radius, x


def test_the_noisier_half_is_coarser(halves):
    maps, radius, x = halves
    resolution = local_resolution(*maps, VOXEL, window=WINDOW)
    good = np.median(resolution[(radius < 20) & (x < -8)])
    bad = np.median(resolution[(radius < 20) & (x > 8)])
    assert good < 5.0
    assert bad > 8.0
    assert resolution.min() >= 2 * VOXEL
    assert resolution.max() <= WINDOW * 1.001


def crossing_by_hand(maps, place, window, limit=0.5):
    """Shell at which the correlation of bands, summed over one explicit window, falls to 0.5."""
    z, y, x = np.indices((SIZE,) * 3) - SIZE // 2
    away = np.sqrt((x - place) ** 2 + y**2 + z**2) * VOXEL / window
    inside = 0.5 + 0.5 * np.cos(np.pi * np.clip((away - 0.375) / 0.25, 0, 1))
    k = np.fft.fftfreq(SIZE, 1 / SIZE)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    step, before = SIZE * VOXEL / window, 1.0
    for band in range(1, 99):
        kept = np.cos(np.pi / 2 * np.clip(np.abs(radius - band * step) / step, 0, 1))
        a, b = (np.fft.ifftn(np.fft.fftn(half) * kept).real for half in maps)
        correlation = (inside * a * b).sum() / np.sqrt(
            (inside * a**2).sum() * (inside * b**2).sum()
        )
        if correlation < limit:
            return (band - 1 + (before - limit) / (before - correlation)) * step
        before = correlation
    return None


def test_it_is_the_correlation_of_bands_in_an_explicit_window(halves):
    maps, _, _ = halves
    window = 2 * VOXEL * 8
    resolution = local_resolution(*maps, VOXEL, window=window)
    for place in (-2, 0, 4, 12):
        shell = crossing_by_hand(maps, place, window)
        at = resolution[SIZE // 2, SIZE // 2, SIZE // 2 + place]
        assert np.isclose(SIZE * VOXEL / at, shell, rtol=0.03)


def test_equal_halves_reach_nyquist_and_noise_reaches_nothing():
    first, second = np.random.default_rng(0).standard_normal((2, 32, 32, 32))
    assert np.allclose(local_resolution(first, first, VOXEL, window=24.0), 2 * VOXEL)
    noise = local_resolution(first, second, VOXEL, window=24.0)
    assert np.median(noise) > 15.0


def test_threads_and_a_shift_of_the_map_change_nothing(halves):
    maps, _, _ = halves
    one = local_resolution(*maps, VOXEL, window=WINDOW, threads=1)
    np.testing.assert_array_equal(one, local_resolution(*maps, VOXEL, window=WINDOW, threads=2))
    moved = np.roll(maps, (8, 16), axis=(1, 3))
    shifted = local_resolution(*moved, VOXEL, window=2 * VOXEL * 8)
    still = local_resolution(*maps, VOXEL, window=2 * VOXEL * 8)
    np.testing.assert_allclose(shifted, np.roll(still, (8, 16), axis=(0, 2)), rtol=1e-3)


def test_window_follows_the_resolution_within_limits():
    assert window_diameter(4.0, 100, 1.0) == 20.0
    assert window_diameter(1.0, 100, 1.0) == 10.0
    assert window_diameter(np.inf, 100, 1.0) == 50.0


@pytest.fixture(scope="module")
def voted(tmp_path_factory):
    """Two states, the second with few particles, and noise."""
    folder = tmp_path_factory.mktemp("voted")
    rng = np.random.default_rng(4)
    states = np.repeat([1, 2], [600, 60])
    table, _ = simulated.simulate(folder, states, 0.05, rng)
    simulated.write_project(folder, table, states, rng)
    options = ReconstructOptions(local_resolution=True, difference_to=1)
    made = run_reconstruct(folder / "vote", folder / "maps", options=options)
    return folder / "maps", made


def test_reconstruct_writes_the_local_resolution_of_every_state(voted):
    folder, made = voted
    report = json.loads((folder / "reconstruction.json").read_text())
    medians = []
    for state, entry in enumerate(report["states"], 1):
        path = folder / f"class{state:03d}_locres.mrc"
        assert path in made
        volume, voxel = read_volume(path)
        assert np.isclose(voxel, simulated.PIXEL)
        local = entry["local_resolution"]
        assert local["percentile_5_angstrom"] <= local["median_angstrom"]
        assert 2 * voxel <= volume.min()
        assert volume.max() <= local["window_angstrom"] * 1.001
        medians.append(local["median_angstrom"])
    assert medians[0] < medians[1]


def test_states_are_compared_at_the_coarser_of_their_resolutions(voted):
    folder, made = voted
    first, second = json.loads((folder / "reconstruction.json").read_text())["states"]
    assert folder / "class002_minus_class001.mrc" in made
    assert second["difference_to"] == 1
    coarser = max(first["resolution_masked"], second["resolution_masked"])
    assert first["resolution_masked"] < second["resolution_masked"]
    assert second["difference_resolution"] == coarser
    difference, voxel = read_volume(folder / "class002_minus_class001.mrc")
    shells = np.bincount(
        shell_numbers(len(difference)).ravel(),
        (np.abs(np.fft.rfftn(difference)) ** 2).ravel(),
    )
    last = len(difference) * voxel / coarser
    assert shells[int(last) + 4 :].sum() < 1e-6 * shells.sum()
    assert shells[: int(last)].sum() > 0


def test_local_resolution_is_made_only_when_asked_for(voted, tmp_path):
    folder, _ = voted
    made = reconstruct_states(folder.parent / "vote", tmp_path)
    assert not [path for path in made if "locres" in path.name]
