from dataclasses import replace

import numpy as np
import pytest

from alphacryo4d.assessment.hinge import make_molecule
from alphacryo4d.assessment.junk import coloured_noise, other_molecule, with_junk
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.score import score_classes
from alphacryo4d.assessment.score_stage import run_score
from alphacryo4d.assessment.simulate import draw_table
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.core.errors import UsageError
from alphacryo4d.io.mrc import open_stack
from alphacryo4d.maths.rotations import euler_matrices

OPTIONS = SimulateOptions(particles_per_state=300, box=32, pixel_size=6.0, snr=0.5, snr_box=32)


def test_junk_is_a_third_of_each_kind_and_leaves_the_rest_as_it_was():
    table = draw_table(3, OPTIONS, np.random.default_rng(1))
    junk = with_junk(table, 0.2, np.random.default_rng(2))
    none = junk.truth == 0
    assert none.sum() == 180
    kinds = [none & (junk.shown == 0), none & (junk.shown == -1), none & (junk.shown > 0)]
    assert [int(kind.sum()) for kind in kinds] == [60, 60, 60]
    np.testing.assert_array_equal(junk.truth[~none], table.truth[~none])
    same = (junk.angles == table.angles).all(axis=1)
    np.testing.assert_array_equal(~same, kinds[2])
    turn = euler_matrices(junk.angles[kinds[2]]) @ euler_matrices(
        junk.true_angles[kinds[2]]
    ).transpose(0, 2, 1)
    cosine = (np.trace(turn, axis1=1, axis2=2) - 1) / 2
    assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean() > 100  # 126.5 of random ones


def test_the_other_molecule_has_the_electrons_of_the_first_in_another_shape():
    (first,) = make_molecule("rigid")
    other = other_molecule([first], OPTIONS)
    assert other.weights.sum() == pytest.approx(first.weights.sum())
    np.testing.assert_allclose(other.positions.mean(axis=0), 0, atol=1e-9)
    assert other.radius < 0.5 * OPTIONS.box * OPTIONS.pixel_size


def test_coloured_noise_has_the_amplitude_of_the_protocol():
    options = replace(OPTIONS, noise="coloured")
    noise = coloured_noise(2000, 3.0, options, seed=5)
    quiet = replace(noise, level=np.ones(2000))
    images = quiet.images(np.zeros((2000, 32, 32), np.float32), 0)
    power = (np.abs(np.fft.rfft2(images)) ** 2).mean(axis=0) / 32**2
    frequency = np.arange(4, 16) / (32 * 6.0)
    expected = (0.6 + 1.2 * np.exp(-25 * frequency)) ** 2
    measured = power[np.arange(4, 16), np.arange(4, 16)]  # on the diagonal, away from the ramp
    diagonal = (0.6 + 1.2 * np.exp(-25 * np.sqrt(2) * frequency)) ** 2
    np.testing.assert_allclose(measured / measured[0], diagonal / diagonal[0], rtol=0.15)
    assert expected[0] > expected[-1]
    micrographs = noise.level[::100]
    np.testing.assert_array_equal(np.repeat(micrographs, 100), noise.level)
    assert 0.05 < np.log(micrographs).std() < 0.3


def test_junk_on_files_keeps_the_noise_level_and_counts_as_wrong(tmp_path):
    options = replace(OPTIONS, junk=0.2, noise="coloured", particles_per_state=150)
    run_simulate(["rigid"], tmp_path / "data", options=options, seed=3)
    truth = np.load(tmp_path / "data" / "truth.npy")
    assert np.bincount(truth).tolist() == [30, 120]
    assert len(open_stack(tmp_path / "data" / "particles.mrcs")) == 150
    text = (tmp_path / "data" / "particles.star").read_text()
    assert "micrograph00002" in text  # of 100 particles each
    classed = text.replace("_rlnRandomSubset", "_rlnClassNumber")
    (tmp_path / "classed.star").write_text(classed)
    score, report = run_score(tmp_path / "classed.star", tmp_path / "data" / "truth.npy")
    assert report["junk_kept"] == report["kept"] == 1.0
    assert score.states.tolist() == [1]


def test_junk_lowers_precision_and_a_class_of_junk_is_no_state():
    truth = np.repeat([0, 1, 2], [40, 50, 50])
    labels = np.concatenate([np.repeat([3, 1, 0], [25, 10, 5]), np.repeat([1, 2], 50)])
    score = score_classes(labels, truth)
    assert score.states.tolist() == [1, 2]
    assert score.classes.tolist() == [1, 2]
    np.testing.assert_allclose(score.precision, [50 / 60, 1.0])
    assert (score.kept, score.junk_kept) == (1.0, 35 / 40)


def test_a_share_of_junk_of_one_is_refused():
    with pytest.raises(UsageError, match="--junk"):
        SimulateOptions(junk=1.0)
