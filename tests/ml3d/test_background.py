"""Stacks that nobody normalised: levels, contrasts and images unlike all others."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from alphacryo4d.assessment.hinge import hinge_conformers
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import write_simulation
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import open_stack, write_stack
from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.background import circle, level, typical_of
from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.stage import run_resample
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

COUNT, BOX, STATES = 240, 36, 4


@pytest.fixture(scope="module")
def hinge(tmp_path_factory: pytest.TempPathFactory) -> tuple[ParticleSet, np.ndarray, np.ndarray]:
    """240 particles of 4 states with their images and states."""
    folder = tmp_path_factory.mktemp("hinge")
    options = SimulateOptions(
        particles_per_state=COUNT // STATES, box=BOX, pixel_size=4.667, snr=4.0, snr_box=BOX
    )
    write_simulation(hinge_conformers(STATES), folder, options=options, seed=1)
    particles = read_particles(folder / "particles.star")
    return particles, particles.images(np.arange(COUNT)), np.load(folder / "truth.npy")


def right_share(particles: ParticleSet, truth: np.ndarray, images: np.ndarray) -> float:
    """Share of the particles, outliers apart, in the class that is matched with their state."""
    particles = dataclasses.replace(particles)
    object.__setattr__(particles, "images", lambda rows: images[rows].astype(np.float32))
    prepared = prepare_rows(particles, np.arange(COUNT), None, normalise="deviation", threads=1)
    options = ClassifyOptions(
        classes=str(STATES), components=5, initial_resolution=20.0, final_resolution=12.0
    )
    classification = classify(
        prepared, np.arange(COUNT), options, np.random.default_rng(1), threads=1
    )
    assert all(np.isfinite(volume).all() for volume in classification.volumes)
    table = np.zeros((STATES, STATES))
    good = ~prepared.outlier
    np.add.at(table, (classification.labels[good], truth[good] - 1), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / good.sum())


def spoilt(images: np.ndarray) -> dict[str, np.ndarray]:
    """The same images as other programs and cameras would have left them."""
    rng = np.random.default_rng(5)
    deviation = images.std()
    contrast = np.exp(rng.uniform(-0.5, 0.5, (COUNT, 1, 1)))
    huge, bright = images.copy(), images.copy()
    huge[100] *= 1000
    bright[rng.choice(COUNT, 5, replace=False)] *= 10
    counts = np.rint(30000 + 400 * images / deviation).astype(np.uint16)
    return {
        "background of 20 deviations": images + 20 * deviation,
        "contrast": images * contrast,
        "one image of 1000 times the contrast": huge,
        "five images of ten times the contrast": bright,
        "unsigned counts": counts,
    }


def test_classes_do_not_depend_on_level_and_contrast(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray],
) -> None:
    particles, images, truth = hinge
    plain = right_share(particles, truth, images)
    assert plain > 0.9
    for name, other in spoilt(images).items():
        assert right_share(particles, truth, other) > plain - 0.02, name


def test_five_bright_images_change_nothing_but_themselves(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray],
) -> None:
    """Classes, volumes and noise are those of the other images alone, to the last bit."""
    particles, images, _ = hinge
    rng = np.random.default_rng(5)
    bad = np.sort(rng.choice(COUNT, 5, replace=False))
    bright = images.copy()
    bright[bad] *= 10
    options = ClassifyOptions(
        classes=str(STATES), components=3, iterations=2, initial_resolution=20.0, final_resolution=0
    )
    classifications = []
    for stack, rows in ((bright, np.arange(COUNT)), (images, np.setdiff1d(range(COUNT), bad))):
        changed = dataclasses.replace(particles)
        object.__setattr__(changed, "images", lambda some, stack=stack: stack[some])
        prepared = prepare_rows(changed, np.arange(COUNT), 12.0, normalise="deviation", threads=1)
        classifications.append(
            classify(prepared, rows, options, np.random.default_rng(1), threads=1)
        )
    ours, wanted = classifications
    assert np.flatnonzero(ours.labels < 0).tolist() == bad.tolist()
    assert (ours.confidence[bad] == 0).all()
    np.testing.assert_array_equal(np.delete(ours.labels, bad), wanted.labels)
    np.testing.assert_array_equal(ours.volumes, wanted.volumes)
    np.testing.assert_array_equal(ours.noise, wanted.noise)


@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_grey_values_beyond_single_precision(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray], factor: float
) -> None:
    """Their squares overflow or vanish: levelled they give the same samples, as they are none."""
    particles, images, _ = hinge
    changed = dataclasses.replace(particles)
    object.__setattr__(changed, "images", lambda rows: images[rows] * np.float32(factor))
    with pytest.raises(InputError, match=r"take --normalise deviation"):
        prepare_rows(changed, np.arange(COUNT), 12.0, normalise="none", threads=1)
    prepared = prepare_rows(changed, np.arange(COUNT), 12.0, normalise="deviation", threads=1)
    wanted = prepare_rows(particles, np.arange(COUNT), 12.0, normalise="deviation", threads=1)
    assert not prepared.outlier.any()
    assert np.abs(prepared.data - wanted.data).max() < 1e-4 * np.abs(wanted.data).max()


def test_images_that_all_are_constant_are_refused(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray],
) -> None:
    particles, images, _ = hinge
    changed = dataclasses.replace(particles)
    object.__setattr__(changed, "images", lambda rows: 0 * images[rows])
    prepared = prepare_rows(changed, np.arange(COUNT), 12.0, normalise="deviation", threads=1)
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="none of 240 images can be classified"):
        classify(prepared, np.arange(COUNT), ClassifyOptions(classes="4"), rng, threads=1)


def test_images_unlike_all_others_get_no_weight_and_are_named(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    particles, images, _ = hinge
    strange = images.copy()
    strange[[3, 50]] *= 1000
    strange[7] = 0
    strange[9] = 41.5
    strange[11] *= 1e-3
    strange[13] *= 3e37 / np.abs(images[13]).max()
    particles = dataclasses.replace(particles)
    object.__setattr__(particles, "images", lambda rows: strange[rows])
    prepared = prepare_rows(particles, np.arange(COUNT), 12.0, normalise="deviation", threads=1)
    wanted = [3, 7, 9, 11, 13, 50]
    assert np.flatnonzero(prepared.outlier).tolist() == wanted
    assert (prepared.ctf[wanted] == 0).all()
    assert np.isfinite(prepared.data).all()
    power = np.square(prepared.data).sum(axis=(1, 2))
    assert power[wanted].max() < 5 * np.median(power)
    assert "6 images constant or of a contrast far from that of all others" in caplog.text
    assert "row 4 (image 4 of particles.mrcs)" in caplog.text


def test_contrasts_that_vary_a_lot_make_no_outliers() -> None:
    rng = np.random.default_rng(2)
    levels = np.ones((400, 3)) * np.exp(rng.normal(size=(400, 1)) * 1.5)
    group = np.zeros(400, int)
    typical = typical_of(levels, group, 1)
    assert not typical.outliers(levels, group).any()


@pytest.mark.parametrize("normalise", ["deviation", "ramp", "mean", "none"])
def test_levels_against_numpy(normalise: str) -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:32, :32] - 16
    images = rng.normal(3, 2, (5, 32, 32)) + np.array([0.1, 0, -0.3, 0, 1])[:, None, None] * x
    images = (images + 0.2 * y).astype(np.float32)
    before, inside = images.astype(np.float64), circle(32)
    levels = level(images, inside, normalise)
    background = before[:, ~inside]
    if normalise == "ramp":
        basis = np.stack([np.ones_like(x), x, y]).reshape(3, -1).astype(float)
        outside = basis[:, ~inside.ravel()]
        plane = np.linalg.lstsq(outside.T, background.T, rcond=None)[0].T @ basis
        before = before - plane.reshape(before.shape)
    else:
        np.testing.assert_allclose(levels[:, 0], background.mean(axis=1), rtol=1e-6)
        before = before - (0 if normalise == "none" else levels[:, 0, None, None])
    if normalise in ("deviation", "ramp"):
        np.testing.assert_allclose(levels[:, 1], before[:, ~inside].std(axis=1), rtol=1e-5)
        before = before / levels[:, 1, None, None]
    np.testing.assert_allclose(images, before, atol=2e-5)


def test_a_pixel_that_is_not_finite_is_refused_by_row(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray],
) -> None:
    particles, images, _ = hinge
    bad = images.copy()
    bad[5, 3, 4] = np.nan
    particles = dataclasses.replace(particles)
    object.__setattr__(particles, "images", lambda rows: bad[rows])
    with pytest.raises(InputError, match="row 6 holds NaN"):
        prepare_rows(particles, np.arange(COUNT), 12.0, normalise="deviation", threads=1)


def test_the_case_of_huge_contrast(shared_data: Path) -> None:
    """One of 48 images, gold or a beam on a crystal: found, and no other."""
    folder = shared_data / "cases/one-image-of-huge-contrast"
    particles = read_particles(folder / "particles.star")
    stack = open_stack(folder / "particles.mrcs")
    prepared = prepare_rows(
        particles, np.arange(len(particles)), 12.0, normalise="deviation", threads=1
    )
    assert np.flatnonzero(prepared.outlier).tolist() == [int(stack.std(axis=(1, 2)).argmax())]


def test_images_unlike_all_others_have_no_vote_and_keep_their_row(
    hinge: tuple[ParticleSet, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """From the images, as default options read them, to the table of the vote and its report."""
    _, images, _ = hinge
    strange = images.copy()
    strange[[17, 90]] *= 1000
    strange[41] = 3
    wanted = [17, 41, 90]
    source = hinge[0].path
    with write_stack(tmp_path / "strange.mrcs", 4.667) as stack:
        stack.append(strange)
    text = source.read_text().replace(str(hinge[0].stacks[0]), str(tmp_path / "strange.mrcs"))
    (tmp_path / "particles.star").write_text(text)
    resample, landscape, vote = (tmp_path / name for name in ("resample", "landscape", "vote"))
    options = ClassifyOptions(
        classes="2", components=2, component_iterations=2, iterations=2, initial_resolution=20.0,
        final_resolution=0,
    )  # fmt: skip
    run_resample(
        tmp_path / "particles.star", resample, options=ResampleOptions(minimum_class_size=5),
        classify=options, seed=1,
    )  # fmt: skip
    assert np.load(resample / "outliers.npy").tolist() == wanted
    assignments = np.load(resample / "assignments.npy")
    assert len(assignments) == COUNT
    assert (assignments[wanted] < 0).all()
    landscape.mkdir()
    count = len(np.load(resample / "volumes.npy", mmap_mode="r"))
    np.save(landscape / "embedding.npy", np.zeros((count, 2), np.float32))
    columns = {"ac4dCenterX": [0.0], "ac4dCenterY": [0.0], "ac4dRadius": [1.0]}
    write_tables(landscape / "states.star", {"states": {"ac4dState": [1]} | columns})
    run_vote(resample, landscape, vote, options=VoteOptions(reconstruct=False, test=False))
    states = open_table(vote / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]
    assert np.flatnonzero(np.asarray(states, int) == 0).tolist() == wanted
    assert len(states) == COUNT
    report = json.loads((vote / "report.json").read_text())
    assert (report["particles"], report["voted_out"]) == (COUNT, 3)
    said = (vote / "summary.txt").read_text()
    assert "3 voted out (3 of them images unlike all others: row 18, 42, 91)" in said


def test_the_case_of_a_background_that_is_not_zero(shared_data: Path) -> None:
    """Its samples are those of the same images without the background; no image is an outlier."""
    folder = shared_data / "cases/background-not-zero"
    particles = read_particles(folder / "particles.star")
    rows = np.arange(len(particles))
    prepared = prepare_rows(particles, rows, 12.0, normalise="deviation", threads=1)
    assert prepared.outlier is None or not prepared.outlier.any()
    images = particles.images(rows).astype(np.float64)
    background = images[:, ~circle(images.shape[1])]
    assert abs(background.mean() / background.std(axis=1).mean()) > 10
    levelled = (images - background.mean(axis=1)[:, None, None]) / background.std(axis=1)[
        :, None, None
    ]
    plain = dataclasses.replace(particles)
    object.__setattr__(plain, "images", lambda some: levelled[some].astype(np.float32))
    wanted = prepare_rows(plain, rows, 12.0, normalise="none", threads=1)
    scale = np.linalg.norm(prepared.data) / np.linalg.norm(wanted.data)
    assert np.abs(prepared.data - scale * wanted.data).max() < 1e-4 * np.abs(prepared.data).max()
