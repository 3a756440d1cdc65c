"""Shell correlation, the correction for the mask and the resolution against relion_postprocess."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

from alphacryo4d.io.mrc import write_volume
from alphacryo4d.io.tables.small import read_tables
from alphacryo4d.maths import fsc

pytestmark = pytest.mark.relion
SIZE, VOXEL = 64, 3.0


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[fsc.Correlation, dict]:
    """Our curves and RELION's tables from the same half maps and mask."""
    folder: Path = tmp_path_factory.mktemp("postprocess")
    rng = np.random.default_rng(5)
    volume = np.zeros((SIZE,) * 3)
    volume[tuple(rng.integers(20, 44, (3, 400)))] = 1
    volume = scipy.ndimage.gaussian_filter(volume, 1.0)
    noise = scipy.ndimage.gaussian_filter(
        rng.standard_normal((2, *volume.shape)), (0, 0.5, 0.5, 0.5)
    )
    halves = (volume + volume.std() * noise).astype(np.float32)
    mask = fsc.soft_mask(volume, VOXEL)
    for number, half in enumerate(halves, 1):
        write_volume(folder / f"run_half{number}_class001_unfil.mrc", half, VOXEL)
    write_volume(folder / "mask.mrc", mask, VOXEL)
    (folder / "post").mkdir()
    subprocess.run(
        ["relion_postprocess", "--i", "run_half1_class001_unfil.mrc", "--mask", "mask.mrc",
         "--angpix", str(VOXEL), "--o", "post/post"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    ours = fsc.correlate_halves(*halves, VOXEL, mask=mask)
    return ours, read_tables(folder / "post/post.star")


def column(table, name: str) -> np.ndarray:
    return np.asarray(table[name], float)[: SIZE // 2]


def test_curves_are_those_of_relion(both) -> None:
    """Up to some thousandths: RELION counts the plane kx = 0 of the half transform twice."""
    ours, relion = both
    table = relion["fsc"]
    unmasked = column(table, "rlnFourierShellCorrelationUnmaskedMaps")
    masked = column(table, "rlnFourierShellCorrelationMaskedMaps")
    np.testing.assert_allclose(ours.unmasked[1:], unmasked[1:], atol=0.005)
    np.testing.assert_allclose(ours.masked[1:], masked[1:], atol=0.005)


def test_the_mask_is_corrected_for_as_relion_does(both) -> None:
    """Randomised phases are drawn at random: what they give differs by its spread alone."""
    ours, relion = both
    table = relion["fsc"]
    theirs = column(table, "rlnFourierShellCorrelationCorrected")
    late = int(np.argmax(ours.unmasked < 0.8))
    np.testing.assert_allclose(ours.corrected[1 : late + 2], theirs[1 : late + 2], atol=0.005)
    assert np.abs(ours.corrected - theirs)[late + 2 :].mean() < 0.03
    assert np.abs(ours.masked - theirs)[late + 2 :].max() > 0.01  # the mask did something


def test_resolution_is_within_the_shell_of_relion(both) -> None:
    """RELION names the last shell above 0.143; ours lies between it and the next."""
    ours, relion = both
    last = round(SIZE * VOXEL / float(relion["general"]["rlnFinalResolution"][0]))
    assert 3 < last < SIZE // 2 - 2
    shell = SIZE * VOXEL / ours.resolution
    assert last - 0.5 < shell < last + 1.5
