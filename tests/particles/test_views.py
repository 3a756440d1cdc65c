"""The deviation of the background that the images of a micrograph have in common."""

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.io.mrc import write_stack
from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.particles.typical import spread_rows
from alphacryo4d.particles.views import common_deviations, rows_read, settled

BOX, COUNT = 24, 1200
MICROGRAPHS = np.arange(COUNT) // 40
NOISE = np.exp(np.random.default_rng(8).normal(0, 0.15, COUNT // 40))[MICROGRAPHS]
HEIGHT = np.random.default_rng(9).uniform(-1, 1, COUNT)
"""Of the viewing directions above the equator."""
VIEW = np.exp(0.3 * np.square(HEIGHT))
"""What the particle adds to the deviation of the background."""


def particles_of(
    folder: Path,
    deviation: np.ndarray,
    micrographs: np.ndarray | None = MICROGRAPHS,
    group: np.ndarray | None = None,
) -> ParticleSet:
    """Images of noise of some deviations, seen from directions of these heights."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(COUNT, BOX, BOX)) * deviation[:, None, None]
    with write_stack(folder / "p.mrcs", 5.0) as stack:
        stack.append(images.astype(np.float32))
    columns = {
        "rlnImageName": [f"{i + 1}@{folder}/p.mrcs" for i in range(COUNT)],
        "rlnOpticsGroup": np.ones(COUNT, int) if group is None else group + 1,
        "rlnDefocusU": np.full(COUNT, 15000.0),
        "rlnDefocusV": np.full(COUNT, 15000.0),
        "rlnDefocusAngle": np.zeros(COUNT),
        "rlnAngleRot": rng.uniform(-180, 180, COUNT),
        "rlnAngleTilt": np.rad2deg(np.arccos(HEIGHT)),
        "rlnAnglePsi": rng.uniform(-180, 180, COUNT),
        "rlnOriginXAngst": np.zeros(COUNT),
        "rlnOriginYAngst": np.zeros(COUNT),
    }
    if micrographs is not None:
        columns["rlnMicrographName"] = [f"m{k}.mrc" for k in micrographs]
    optics = {
        "rlnOpticsGroup": [1, 2], "rlnOpticsGroupName": ["one", "two"], "rlnVoltage": [300.0] * 2,
        "rlnSphericalAberration": [2.7] * 2, "rlnAmplitudeContrast": [0.1] * 2,
        "rlnImagePixelSize": [5.0] * 2, "rlnImageSize": [BOX] * 2,
        "rlnImageDimensionality": [2] * 2,
    }  # fmt: skip
    return read_particles(write_tables(folder / "p.star", {"optics": optics, "particles": columns}))


def ratio(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Found over wanted, apart from one factor for all."""
    factor = found / wanted
    return factor / np.exp(np.log(factor).mean())


def test_differences_of_noise_stay_and_those_of_views_do_not(tmp_path: Path) -> None:
    found = common_deviations(particles_of(tmp_path, NOISE * VIEW), None)
    assert (np.ptp(found.reshape(-1, 40), axis=1) == 0).all()
    assert ratio(found, NOISE).std() < 0.03
    assert abs(np.corrcoef(ratio(found, NOISE), np.square(HEIGHT))[0, 1]) < 0.1


def test_micrographs_of_one_image_are_not_images_by_another_name(tmp_path: Path) -> None:
    rare = np.where(np.arange(COUNT) < 1000, MICROGRAPHS, 1000 + np.arange(COUNT))
    found = common_deviations(particles_of(tmp_path, VIEW, rare), None)
    assert ratio(found, np.ones(COUNT)).std() < 0.3 * np.log(VIEW).std()


@pytest.mark.parametrize("several", [1, 2, 3])
@pytest.mark.parametrize("spread", [0, 0.15])
def test_the_views_of_few_images_do_not_become_their_scale(
    tmp_path: Path, several: int, spread: float
) -> None:
    few = np.arange(COUNT) // several
    noise = np.exp(np.random.default_rng(3).normal(0, spread, COUNT))[few]
    particles = particles_of(tmp_path, noise * VIEW, few)
    found = np.log(common_deviations(particles, None))
    assert abs(np.polyfit(np.log(VIEW), found, 1)[0]) < 0.15
    assert several > 1 or np.ptp(found) == 0
    if spread and several > 1:  # the noise of micrographs is seen all the same
        assert np.polyfit(np.log(noise), found, 1)[0] > 0.7
    assert settled(ClassifyOptions(), particles).normalise == "micrograph"


def test_images_that_are_read_are_of_all_micrographs_and_not_too_many() -> None:
    for micrographs, each, most in ((50, 40, 1000), (4000, 100, 20_000), (15_000, 20, 30_000)):
        unit = np.random.default_rng(0).permutation(np.repeat(np.arange(micrographs), each))
        read = np.bincount(unit[rows_read(unit)], minlength=micrographs)
        assert read.min() >= 2
        assert 0.5 * most < read.sum() <= most
    rows = spread_rows(100_000, 1000, np.arange(100_000) // 20)
    assert len(rows) == 1000
    assert len(np.unique(rows // 20)) < 0.3 * len(rows)


def test_without_micrographs_an_optics_group_is_one(tmp_path: Path) -> None:
    found = common_deviations(particles_of(tmp_path, NOISE * VIEW, None), None)
    assert np.ptp(found) == 0


def test_the_images_decide_where_nothing_was_chosen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plain = particles_of(tmp_path, NOISE)
    assert settled(ClassifyOptions(), plain).normalise == "deviation"
    assert not caplog.records
    tight = particles_of(tmp_path, NOISE * VIEW)
    for chosen in ("deviation", "ramp", "none"):
        assert settled(ClassifyOptions(normalise=chosen), tight).normalise == chosen
    assert settled(ClassifyOptions(), tight).normalise == "micrograph"
    assert "to the deviation of their micrograph" in caplog.text


def test_results_keep_what_they_were_made_by(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    tight, folder = particles_of(tmp_path, NOISE * VIEW), tmp_path / "resample"
    assert settled(ClassifyOptions(), tight, folder=folder).normalise == "micrograph"
    monkeypatch.delattr("alphacryo4d.particles.views.fitting")
    folder.mkdir()
    for made_by in ("deviation", "micrograph"):
        caplog.clear()
        record = {"options": {"classify": {"normalise": made_by}}}
        (folder / "job.json").write_text(json.dumps(record))
        assert settled(ClassifyOptions(), tight, folder=folder).normalise == made_by
        assert ("--normalise micrograph makes it anew" in caplog.text) == (made_by == "deviation")
        chosen = ClassifyOptions(normalise="ramp")
        assert settled(chosen, tight, folder=folder).normalise == "ramp"


def test_relion_takes_the_files_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tight = particles_of(tmp_path, NOISE * VIEW)
    assert settled(ClassifyOptions(), tight, engine="relion").normalise == "deviation"
    assert not caplog.records


def test_optics_groups_of_other_grey_values_are_no_views(tmp_path: Path) -> None:
    group = np.arange(COUNT) % 2
    apart = NOISE * np.where(group, 40.0, 1.0)
    plain = particles_of(tmp_path, apart, group=group)
    assert settled(ClassifyOptions(), plain).normalise == "deviation"
    tight = particles_of(tmp_path, apart * VIEW, group=group)
    assert settled(ClassifyOptions(), tight).normalise == "micrograph"
    assert ratio(common_deviations(tight, None), apart).std() < 0.05


def test_images_of_other_scales_keep_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Stacks that nobody normalised, of which each image has a scale: views matter less."""
    scales = np.exp(np.random.default_rng(5).normal(0, 0.4, COUNT))
    particles = particles_of(tmp_path, VIEW**2 * scales)
    assert settled(ClassifyOptions(), particles).normalise == "deviation"
    assert "otherwise, so that each is brought to the deviation of its own" in caplog.text


def test_samples_have_the_noise_of_their_micrograph_and_the_scales_of_views(tmp_path: Path) -> None:
    particles = particles_of(tmp_path, NOISE * VIEW)
    rows = np.arange(0, COUNT, 3)

    def power(normalise: str) -> np.ndarray:
        images = prepare_rows(particles, rows, None, normalise=normalise, threads=1)
        assert not images.outlier.any()
        return np.sqrt(np.square(images.data.astype(np.float64)).sum(axis=(1, 2)))

    assert ratio(power("deviation"), np.ones(len(rows))).std() < 0.05
    assert ratio(power("micrograph"), VIEW[rows]).std() < 0.05
    assert np.array_equal(power("auto"), power("micrograph"))


def test_outliers_are_brought_to_the_power_of_the_others(tmp_path: Path) -> None:
    deviation = NOISE * VIEW
    deviation[7] *= 300
    particles = particles_of(tmp_path, deviation)
    images = prepare_rows(particles, np.arange(COUNT), None, normalise="micrograph", threads=1)
    assert np.flatnonzero(images.outlier).tolist() == [7]
    sums = np.square(images.data.astype(np.float64)).sum(axis=(1, 2))
    assert sums[7] < 3 * np.median(sums)
    assert dataclasses.replace(images).outlier[7]
