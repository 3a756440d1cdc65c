"""Junk is told from particles by its images alone, and takes no part; rare states stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.signal import (
    LEAST,
    band_edges,
    measure_amplitudes,
    particle_signal,
    spherical_average,
)
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.stage import run_resample
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

OPTIONS = SimulateOptions(
    particles_per_state=350, box=32, pixel_size=6.6, snr=0.2, snr_box=32, junk=0.2
)
RADIUS = 10


def simulated(folder: Path, molecule: str, options: SimulateOptions) -> tuple[PreparedImages, Path]:
    run_simulate([molecule], folder, options=options, seed=4)
    particles = read_particles(folder / "particles.star")
    rows = np.arange(len(particles))
    return prepare_rows(particles, rows, None, normalise="deviation", threads=2), folder


@pytest.fixture(scope="module")
def junk(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedImages, Path]:
    return simulated(tmp_path_factory.mktemp("junk"), "subunits", OPTIONS)


def test_junk_is_named_and_particles_are_not(junk: tuple[PreparedImages, Path]) -> None:
    images, folder = junk
    none = np.load(folder / "truth.npy") == 0
    signal = particle_signal(images, RADIUS, threads=2)
    assert signal.outlier[none].mean() > 0.93
    assert signal.outlier[~none].mean() < 0.01
    assert signal.share == pytest.approx(0.2, abs=0.03)
    assert signal.amplitude[~none].mean() == pytest.approx(1, abs=0.03)
    assert abs(signal.amplitude[none].mean()) < 0.15
    again = particle_signal(images, RADIUS, threads=1)
    np.testing.assert_array_equal(signal.outlier, again.outlier)


def test_errors_of_amplitudes_are_those_of_images_of_noise(tmp_path: Path) -> None:
    images, folder = simulated(tmp_path, "rigid", replace(OPTIONS, particles_per_state=2400))
    own, other = measure_amplitudes(images, RADIUS, threads=2)
    none = np.load(folder / "truth.npy")[own.rows] == 0
    pull = own.values[none] / np.sqrt(np.diagonal(own.covariance[none], axis1=1, axis2=2))
    # a third is noise and within its errors; what is in the others comes on top
    inner = np.sort(np.abs(pull[:, 1]))[: int(0.5 * none.sum())]
    assert 0.4 < inner.max() < 1.0  # 0.67 of a normal distribution
    wrong = other.values[np.load(folder / "truth.npy")[other.rows] > 0]
    np.testing.assert_allclose(wrong.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(own.values[~none].mean(axis=0), 1.25, atol=0.2)  # 1 / (1 - 0.2)


def test_a_state_of_one_percent_survives_beside_junk(tmp_path: Path) -> None:
    options = replace(OPTIONS, populations="40,30,1,29", particles_per_state=700)
    images, folder = simulated(tmp_path, "subunits", options)
    truth = np.load(folder / "truth.npy")
    signal = particle_signal(images, RADIUS, threads=2)
    assert signal.outlier[truth == 3].sum() == 0
    assert signal.outlier[truth == 0].mean() > 0.93


def test_clean_particles_and_noise_lose_none(tmp_path: Path) -> None:
    clean = replace(OPTIONS, junk=0.0, particles_per_state=90)
    images, _ = simulated(tmp_path / "clean", "hinge", clean)
    assert particle_signal(images, RADIUS, threads=2).outlier.sum() == 0
    nothing = replace(clean, snr=0.0)
    images, _ = simulated(tmp_path / "nothing", "hinge", nothing)
    signal = particle_signal(images, RADIUS, threads=2)
    assert signal.outlier.sum() == 0
    assert "too few to tell them apart" in signal.say()


def test_few_particles_are_not_judged(junk: tuple[PreparedImages, Path]) -> None:
    images = junk[0]
    few = replace(images, outlier=np.arange(len(images)) >= LEAST - 1)
    signal = particle_signal(few, RADIUS, threads=1)
    assert not signal.outlier.any()
    assert "not measured" in signal.say()


def test_what_is_alike_in_all_orientations_is_taken_off() -> None:
    line = (np.arange(16) - 8) ** 2.0
    ball = np.exp(-(line[:, None, None] + line[:, None] + line) / 8).astype(np.float32)
    np.testing.assert_allclose(spherical_average(ball), ball, atol=0.05)
    assert band_edges(10).tolist() == [1, 4, 8, 11]


def test_junk_of_a_table_has_no_vote_and_is_named(
    junk: tuple[PreparedImages, Path], tmp_path: Path
) -> None:
    truth = np.load(junk[1] / "truth.npy")
    resample, landscape, vote = (tmp_path / name for name in ("resample", "landscape", "vote"))
    classify = ClassifyOptions(
        classes="2", components=2, component_iterations=2, iterations=2, initial_resolution=20.0,
        final_resolution=0,
    )  # fmt: skip
    table = junk[1] / "particles.star"
    run_resample(table, resample, options=ResampleOptions(), classify=classify, seed=1)
    outliers = np.load(resample / "outliers.npy")
    signal = np.load(resample / "signal.npy")
    assert signal.shape == (len(truth), 3)
    np.testing.assert_array_equal(np.flatnonzero(signal[:, 2]), outliers)
    assert (truth[outliers] == 0).mean() > 0.95
    assert len(outliers) > 0.9 * (truth == 0).sum()
    landscape.mkdir()
    count = len(np.load(resample / "volumes.npy", mmap_mode="r"))
    np.save(landscape / "embedding.npy", np.zeros((count, 2), np.float32))
    columns = {"ac4dCenterX": [0.0], "ac4dCenterY": [0.0], "ac4dRadius": [1.0]}
    write_tables(landscape / "states.star", {"states": {"ac4dState": [1]} | columns})
    run_vote(resample, landscape, vote, options=VoteOptions(reconstruct=False, test=False))
    names = ["rlnClassNumber", "ac4dSignal", "ac4dOutlier"]
    shown = open_table(vote / "particles.star").read(names)
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(shown["ac4dOutlier"], int)), outliers)
    assert (np.asarray(shown["rlnClassNumber"], int)[outliers] == 0).all()
    np.testing.assert_allclose(np.asarray(shown["ac4dSignal"], float), signal[:, 0], atol=1e-4)
    report = json.loads((vote / "report.json").read_text())
    assert (report["no_signal"], report["outliers"]) == (len(outliers), [])
    assert report["per_state"][0]["signal"] == pytest.approx(1, abs=0.1)
    said = (vote / "summary.txt").read_text()
    assert f"{len(outliers)} of them junk: no signal of the particle" in said
