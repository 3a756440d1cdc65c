"""Poses of simulated tables: consensus, from a file; their errors; the reference over poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from alphacryo4d.assessment.consensus import bounded
from alphacryo4d.assessment.imaging import random_rotations
from alphacryo4d.assessment.options import FLAT_PRIOR, ReferenceOptions, SimulateOptions
from alphacryo4d.assessment.pose_errors import format_pose_errors, pose_errors
from alphacryo4d.assessment.reference_stage import make_reference
from alphacryo4d.assessment.score_stage import run_score
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.maths.rotations import euler_angles, euler_matrices
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reclassify.joint_moments import joint_moments
from alphacryo4d.reclassify.pose_prior import consensus_map, score_of_poses


def wrong_poses(rng, count, bias):
    """True poses, and poses in another frame whose error has a mean for every state."""
    angles, shifts = random_rotations(rng, count), rng.uniform(-4, 4, (count, 2))
    truth = np.arange(count) % 3 + 1
    frame = Rotation.from_rotvec([20, -10, 5], degrees=True)
    mean = np.array(bias)[truth - 1]
    error = Rotation.from_rotvec(mean + rng.normal(0, 1.5, (count, 3)), degrees=True)
    matrices = euler_matrices(angles) @ (error * frame).as_matrix()
    slide = np.array([[0, 0, 0], [0, 0, 0.8], [0, 0, -0.8]])[truth - 1] + [3.0, 1.0, -2.0]
    moved = np.einsum("nij,nj->ni", matrices[:, :2], slide) + rng.normal(0, 0.4, (count, 2))
    return euler_angles(matrices), shifts + moved, angles, shifts, truth


def test_a_common_frame_is_no_error_and_every_state_has_its_mean():
    bias = [[0, 0, 0], [2, 0, 0], [-2, 0, 0]]
    errors = pose_errors(*wrong_poses(np.random.default_rng(0), 6000, bias))
    frame = errors["frame"]
    assert errors["degrees"] > 10
    assert frame["rotation"] == pytest.approx(np.linalg.norm([20, -10, 5]), abs=0.2)
    assert frame["shift"] == pytest.approx(np.linalg.norm([3, 1, -2]), abs=0.1)
    assert frame["spread_degrees"] == pytest.approx(1.5, abs=0.03)
    assert frame["spread_angstrom"] == pytest.approx(0.4, abs=0.02)
    assert frame["degrees"] == pytest.approx(np.sqrt(1.5**2 + 2 / 3 * 4 / 3), abs=0.04)
    means = [row["bias_degrees"] for row in errors["per_state"]]
    np.testing.assert_allclose(means, [0, 2, 2], atol=0.1)
    np.testing.assert_allclose(
        [row["bias_angstrom"] for row in errors["per_state"]], [0, 0.8, 0.8], atol=0.05
    )
    assert len(format_pose_errors(errors)) == 6


def test_no_step_is_too_long():
    step = bounded(np.array([[0.5, 0, 0, 0, 9.0, 0], [0.01, 0, 0, 1.0, 0, 0]]))
    np.testing.assert_allclose(step[0], [np.deg2rad(5), 0, 0, 0, 3, 0])
    np.testing.assert_allclose(step[1], [0.01, 0, 0, 1, 0, 0])


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The small hinge with random errors, and with consensus poses."""
    folder = tmp_path_factory.mktemp("sets")
    for kind in ("random", "consensus"):
        options = SimulateOptions(
            particles_per_state=80, box=32, pixel_size=6.5, snr=0.3, snr_box=32, poses=kind,
            rotation_error=2.0, shift_error=1.0,
        )  # fmt: skip
        run_simulate(["small-hinge"], folder / kind, options=options, seed=4)
    return folder


def errors_of(folder):
    particles = read_particles(folder / "particles.star", need_images=False)
    true, truth = np.load(folder / "true_poses.npy"), np.load(folder / "truth.npy")
    return pose_errors(particles.angles, particles.shifts, true[:, :3], true[:, 3:], truth)


def score_of(folder):
    """Score of the given poses for the map of all particles."""
    particles = read_particles(folder / "particles.star")
    images = prepare_rows(particles, np.arange(len(particles)), 14.0)
    grid = Grid(shell_of_resolution(14.0, 32, 6.5), 1)
    view = View(images, images.order, grid)
    cube, noise = consensus_map(view)
    return score_of_poses(joint_moments(view, cube, noise)[0])


def test_consensus_poses_are_best_fits_to_the_mean_and_random_ones_are_not(sets):
    random, consensus = (errors_of(sets / kind)["frame"] for kind in ("random", "consensus"))
    assert random["degrees"] == pytest.approx(2.0, rel=0.05)
    assert 0.2 < consensus["degrees"] < 4
    # the images are the same: only what the table says of the poses differs
    one, two = ((sets / kind / "particles.mrcs").read_bytes() for kind in ("random", "consensus"))
    assert one == two
    assert score_of(sets / "consensus") < 0.6
    assert score_of(sets / "random") > 1.5


def test_poses_of_a_file_are_what_the_table_says(sets, tmp_path):
    source = sets / "consensus/particles.star"
    true = sets / "consensus/true_poses.npy"
    for name, path in (("star", source), ("npy", true)):
        options = SimulateOptions(
            particles_per_state=80, box=32, pixel_size=6.5, snr=0.3, snr_box=32, poses=str(path)
        )
        run_simulate(["small-hinge"], tmp_path / name, options=options, seed=4)
    from_table = read_particles(tmp_path / "star/particles.star", need_images=False)
    given = read_particles(source, need_images=False)
    np.testing.assert_allclose(from_table.shifts, given.shifts, atol=2e-6)
    assert errors_of(tmp_path / "npy")["degrees"] < 1e-4


def test_poses_of_a_wrong_file_are_refused(tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((3, 5)))
    for path, words in (("few.npy", r"shape \(3, 5\)"), ("gone.star", "no such file")):
        options = SimulateOptions(
            particles_per_state=2, box=32, pixel_size=6.5, poses=str(tmp_path / path)
        )
        with pytest.raises(InputError, match=words):
            run_simulate(["small-hinge"], tmp_path / "out", options=options)
        assert not (tmp_path / "out/particles.mrcs").exists()


def test_the_reference_over_poses_beats_the_one_at_wrong_poses(sets, tmp_path):
    folder = sets / "random"
    truth, table = np.load(folder / "truth.npy"), folder / "particles.star"
    right = {}
    for poses in ("fixed", "flat", "2,1"):
        known = make_reference(["small-hinge"], table, ReferenceOptions(14.0, poses))
        right[poses] = (known[:, 0] == truth).mean()
        assert known.shape == (len(truth), 2 if poses == "fixed" else 7)
        if poses != "fixed":
            assert known[:, 1].mean() == pytest.approx(right[poses], abs=0.1)
    assert right["2,1"] > right["fixed"]
    assert right["flat"] > right["fixed"] - 0.02
    np.save(tmp_path / "reference.npy", known)
    labelled = tmp_path / "labelled.star"
    columns = {"rlnClassNumber": truth}
    read_particles(table).table.write_with_columns(labelled, columns)
    _, report = run_score(
        labelled, folder / "truth.npy", reference=[str(tmp_path / "reference.npy")],
        true_poses=folder / "true_poses.npy",
    )  # fmt: skip
    degrees = report["reference"]["pose_errors"]["frame"]["degrees"]
    assert degrees < 0.8 * report["pose_errors"]["frame"]["degrees"]


def test_prior_of_the_reference_is_named_or_two_numbers():
    assert ReferenceOptions().pose_prior == FLAT_PRIOR
    assert ReferenceOptions(reference_poses="fixed").pose_prior is None
    assert ReferenceOptions(reference_poses="2,0.5").pose_prior == (2.0, 0.5)
    for wrong in ("soft", "1", "0,1", "1,inf"):
        with pytest.raises(UsageError, match="--reference-poses"):
            ReferenceOptions(reference_poses=wrong)
