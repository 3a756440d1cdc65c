"""Reclassification and reconstruction on simulated particles whose states are known."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest
import simulated
from scipy.spatial.transform import Rotation

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.cs import read_cs
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.copies import half_sets
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.folds import changed_share, describe_changes, seed_labels
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.reclassify.results_stage import RoundInputs
from alphacryo4d.reclassify.rounds_stage import Rounds
from alphacryo4d.reclassify.stage import run_reclassify
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.reconstruction.stage import run_reconstruct
from alphacryo4d.tools.convert import convert
from alphacryo4d.voting.recorded_stage import Recorded

QUICK = ReclassifyOptions(
    final_resolution=15.0, initial_resolution=20.0, reconstruct=False, mask_diameter=100.0
)
COUNT = 1600


def states_of(folder):
    return open_table(folder / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three states (arms 1 and 2, none); the first votes are a third wrong."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(11)
    truth = rng.integers(1, 4, COUNT)
    table, _ = simulated.simulate(folder, truth % 3, 0.2, rng)
    wrong = rng.random(COUNT) < 0.33
    first = np.where(wrong, rng.integers(0, 4, COUNT), truth)
    simulated.write_project(folder, table, first, rng)
    run_reclassify(folder, folder / "reclassify", options=QUICK)
    return folder, truth, first


def test_reclassification_corrects_wrong_votes(project):
    folder, truth, first = project
    states = states_of(folder / "reclassify")
    kept = states > 0
    assert kept.mean() > 0.7
    assert (states == truth)[kept].mean() > 0.9
    assert (first == truth)[first > 0].mean() < 0.85


def test_the_fold_that_left_a_particle_out_agrees(project):
    folder, _, _ = project
    report = json.loads((folder / "reclassify" / "report.json").read_text())
    assert report["heldout_agreement"] > 0.8
    assert report["heldout_agreement"] > 2 * report["heldout_chance"]


def test_real_states_are_supported_by_held_out_particles(project):
    folder, _, _ = project
    report = json.loads((folder / "reclassify" / "report.json").read_text())
    assert report["support"]["states_supported"]
    assert all(entry["supported"] for entry in report["per_state"])


def test_the_first_result_stays_and_the_report_says_what_changed(project):
    folder, _, first = project
    np.testing.assert_array_equal(states_of(folder / "vote"), first)
    report = json.loads((folder / "reclassify" / "report.json").read_text())
    states = states_of(folder / "reclassify")
    changes = report["changes"]
    assert sum(changes.values()) == COUNT
    assert changes["moved"] == ((first > 0) & (states > 0) & (first != states)).sum()
    assert report["voted"] + report["voted_out"] == COUNT


def test_left_out_particles_and_their_folds_stay_apart(project):
    folder, _, _ = project
    groups = np.load(folder / "resample" / "groups.npy")
    assignments = np.load(folder / "reclassify" / "assignments.npy")
    heldout = np.load(folder / "reclassify" / "heldout.npy")
    np.testing.assert_array_equal((assignments == -1).argmax(axis=1) + 1, groups[:, 1])
    assert ((assignments == -1).sum(axis=1) == 1).all()
    # a volume of the fold that left the particle out: folds follow each other, K volumes each
    np.testing.assert_array_equal(heldout // 3 + 1, groups[:, 1])


def test_the_truth_of_a_left_out_particle_cannot_reach_its_fold(project):
    """Seeds of a fold are those of its own particles only."""
    seeds = seed_labels(np.array([0, 2, 1]), 2)
    np.testing.assert_array_equal(seeds, [[0, 0], [0, 1], [1, 0]])


def test_homogeneous_particles_have_no_states(tmp_path):
    rng = np.random.default_rng(5)
    table, _ = simulated.simulate(tmp_path, np.ones(COUNT, int), 0.1, rng)
    simulated.write_project(tmp_path, table, rng.integers(1, 4, COUNT), rng)
    run_reclassify(tmp_path, tmp_path / "reclassify", options=QUICK)
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert not report["support"]["states_supported"]
    assert "States are not supported" in report["verdict"]
    assert "States are not supported" in (tmp_path / "reclassify" / "summary.txt").read_text()


def test_noise_has_no_states(tmp_path):
    rng = np.random.default_rng(6)
    table, _ = simulated.simulate(tmp_path, np.ones(COUNT, int), 1e-8, rng)
    simulated.write_project(tmp_path, table, rng.integers(1, 4, COUNT), rng)
    run_reclassify(tmp_path, tmp_path / "reclassify", options=QUICK)
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert not report["support"]["states_supported"]


@pytest.mark.parametrize(("errors", "real"), [((None, None), False), ((0.02, 0.01), True)])
def test_wrong_poses_are_no_states(tmp_path, errors, real):
    """One conformer; its turned copies are states only where poses are taken for exact."""
    rng = np.random.default_rng(15)
    table, angles = simulated.simulate(tmp_path, np.ones(COUNT, int), 0.3, rng, angle_error=5.0)
    given = read_particles(table).angles
    seeds = 1 + (given[:, 2] > angles[:, 2]).astype(int)
    simulated.write_project(tmp_path, table, seeds, rng)
    options = replace(QUICK, angle_sigma=errors[0], shift_sigma=errors[1])
    run_reclassify(tmp_path, tmp_path / "reclassify", options=options)
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert report["support"]["states_supported"] is real


def test_a_state_that_nobody_needs_is_merged(tmp_path):
    """Two true states, three seeds: one seed is a random part of the first state."""
    rng = np.random.default_rng(8)
    truth = rng.integers(1, 3, COUNT)
    table, _ = simulated.simulate(tmp_path, truth, 0.1, rng)
    split = np.where((truth == 1) & (rng.random(COUNT) < 0.5), 3, truth)
    simulated.write_project(tmp_path, table, split, rng)
    run_reclassify(tmp_path, tmp_path / "reclassify", options=replace(QUICK, rounds=3))
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert report["states"] == 2
    assert any("merged into" in line for line in report["log"])
    states = states_of(tmp_path / "reclassify")
    table = np.array([[((states == k) & (truth == t)).sum() for t in (1, 2)] for k in (1, 2)])
    assert table.max(axis=1).sum() / table.sum() > 0.9


def test_particles_are_seen_as_the_resampling_saw_them(tmp_path):
    rng = np.random.default_rng(24)
    table, _ = simulated.simulate(tmp_path, np.ones(40, int), 0.5, rng)
    focus = tmp_path / "focus.mrc"
    z, y, x = np.indices((simulated.BOX,) * 3) - simulated.BOX // 2
    write_volume(focus, (z * z + y * y + x * x < 36).astype(np.float32), simulated.PIXEL)
    particles, groups = read_particles(table), np.tile([1, 1], (40, 1))
    recorded = Recorded(classify=ClassifyOptions(focus_mask=focus), symmetry="D2")
    inputs = RoundInputs(
        particles,
        groups,
        ReclassifyOptions(),
        FitOptions(resolution=20.0),
        recorded,
        RunFlags(threads=1),
    )
    rounds = Rounds(SimpleNamespace(folder=tmp_path), inputs)
    images = rounds.images(1)
    assert images.symmetry.shape == (4, 3, 3)
    focused = rounds._focused(images, np.arange(30), 1)
    assert abs(focused.data - images.data[:, : focused.data.shape[1]]).max() > 0
    plain = Rounds(SimpleNamespace(folder=tmp_path), replace(inputs, recorded=Recorded()))
    assert plain.images(1).symmetry.shape == (1, 3, 3)
    assert plain._focused(images, np.arange(30), 1) is images


def seeds_of_too_few(truth, rng):
    """True states 1 and 2 as one, and state 3 in two random parts."""
    return np.where(truth < 3, 1, 2 + (rng.random(len(truth)) < 0.5))


def test_a_state_that_nobody_needs_is_seeded_from_one_that_holds_two(tmp_path):
    rng = np.random.default_rng(21)
    truth = rng.integers(1, 4, COUNT)
    table, _ = simulated.simulate(tmp_path, truth, 0.3, rng)
    simulated.write_project(tmp_path, table, seeds_of_too_few(truth, rng), rng)
    run_reclassify(tmp_path, tmp_path / "reclassify", options=QUICK)
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert report["states"] == 3
    assert any("split-merge EM" in line for line in report["log"])
    states = states_of(tmp_path / "reclassify")
    crossed = np.array(
        [[((states == k) & (truth == t)).sum() for t in (1, 2, 3)] for k in (1, 2, 3)]
    )
    assert crossed.max(axis=1).sum() / crossed.sum() > 0.9
    assert sorted(crossed.argmax(axis=1)) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("split", [False, True])
def test_states_that_moved_are_the_same_ones_in_every_batch(tmp_path, split):
    """Seeds say nothing of two of the states; volumes tell which is which in the other batch."""
    rng = np.random.default_rng(25)
    truth = rng.integers(1, 4, COUNT)
    table, _ = simulated.simulate(tmp_path, truth, 0.3, rng)
    seeds = np.where(truth < 3, 1, 2) if split else seeds_of_too_few(truth, rng)
    groups = simulated.write_project(tmp_path, table, seeds, rng)
    groups[:, 0] = np.arange(COUNT) % 2 + 1
    np.save(tmp_path / "resample" / "groups.npy", groups.astype(np.int32))
    run_reclassify(tmp_path, tmp_path / "reclassify", options=replace(QUICK, split=split))
    states = states_of(tmp_path / "reclassify")
    numbers = []
    for batch in (1, 2):
        mine = groups[:, 0] == batch
        crossed = np.array(
            [[(mine & (states == k) & (truth == t)).sum() for t in (1, 2, 3)] for k in (1, 2, 3)]
        )
        assert crossed.max(axis=1).sum() / crossed.sum() > 0.9
        numbers.append(crossed.argmax(axis=1).tolist())
    assert numbers[0] == numbers[1]
    assert sorted(numbers[0]) == [0, 1, 2]


@pytest.mark.slow
def test_states_of_a_symmetric_particle_are_found_with_fewer_particles(tmp_path):
    """Two arms of a dimer move; its point group doubles what the data say of a volume."""
    rng = np.random.default_rng(26)
    truth = rng.integers(1, 4, 500)
    turned = np.array([-1, -1, 1.0])
    shapes = [
        np.vstack([each, each * turned])
        for each in (simulated.BODY, *(np.vstack([simulated.BODY, arm]) for arm in simulated.ARMS))
    ]
    table, _ = simulated.simulate(tmp_path, truth, 0.08, rng, shapes=shapes)
    wrong = rng.random(500) < 0.4
    first = np.where(wrong, rng.integers(1, 4, 500), truth)
    right = {}
    for group in ("C1", "C2"):
        folder = tmp_path / group
        folder.mkdir()
        simulated.write_project(
            folder, table, first, np.random.default_rng(1), relion={"symmetry": group, "mask": None}
        )
        run_reclassify(folder, folder / "reclassify", options=QUICK)
        states = states_of(folder / "reclassify")
        counts = [np.bincount(truth[states == k], minlength=4).max() for k in (1, 2, 3)]
        right[group] = sum(counts) / 500
    assert right["C2"] > max(0.75, right["C1"] + 0.02), right


@pytest.mark.slow
def test_a_state_that_holds_two_is_split_where_that_is_asked(tmp_path):
    rng = np.random.default_rng(22)
    truth = rng.integers(1, 4, COUNT)
    table, _ = simulated.simulate(tmp_path, truth, 0.3, rng)
    simulated.write_project(tmp_path, table, np.where(truth < 3, 1, 2), rng)
    run_reclassify(tmp_path, tmp_path / "asked", options=replace(QUICK, split=True))
    run_reclassify(tmp_path, tmp_path / "not", options=replace(QUICK, rounds=1))
    report = json.loads((tmp_path / "asked" / "report.json").read_text())
    assert report["states"] == 3
    assert any("state 1 is split in two" in line for line in report["log"])
    assert json.loads((tmp_path / "not" / "report.json").read_text())["states"] == 2


@pytest.mark.parametrize("suffix", [".star", ".cs"])
def test_refined_poses_are_written_where_they_are_asked_for(tmp_path, suffix):
    rng = np.random.default_rng(23)
    truth = rng.integers(1, 3, COUNT)
    table, angles = simulated.simulate(tmp_path, truth, 0.5, rng, angle_error=3.0)
    if suffix == ".cs":
        convert(table, table.with_suffix(".cs"))
    before = read_particles(table.with_suffix(suffix))
    simulated.write_project(tmp_path, before.path, truth, rng)
    options = replace(QUICK, write_poses=True)
    run_reclassify(tmp_path, tmp_path / "reclassify", options=options)
    after = read_particles(tmp_path / "reclassify" / f"refined{suffix}")

    def error(given):
        turned = euler_matrices(given) @ euler_matrices(angles).transpose(0, 2, 1)
        return np.degrees(Rotation.from_matrix(turned).magnitude())

    assert np.square(error(after.angles)).mean() < 0.7 * np.square(error(before.angles)).mean()
    assert 0 < abs(after.shifts - before.shifts).mean() < 2.0
    first = states_of(tmp_path / "reclassify") == 1
    of_state = read_particles(tmp_path / "reclassify" / f"class001{suffix}")
    np.testing.assert_allclose(of_state.angles, after.angles[first])
    if suffix == ".star":
        kept = of_state.table.read(["ac4dInputAngleRot"])["ac4dInputAngleRot"]
        np.testing.assert_allclose(kept, before.angles[first, 0])
        return
    given, written = read_cs(before.path), read_cs(tmp_path / "reclassify" / "class001.cs")
    assert given.dtype == written.dtype
    for name in set(given.dtype.names) - {"alignments3D/pose", "alignments3D/shift"}:
        np.testing.assert_array_equal(written[name], given[name][first])


def test_reconstructions_hold_the_arm_of_their_state(project):
    folder, truth, _ = project
    output = folder / "maps"
    run_reconstruct(folder / "reclassify", output, options=ReconstructOptions(difference_to=3))
    report = json.loads((output / "reconstruction.json").read_text())
    assert "optimistic" in report["note"]
    for state in (1, 2):
        volume, voxel = read_volume(output / f"class{state:03d}_minus_class003.mrc")
        assert voxel == simulated.PIXEL
        z, y, x = np.unravel_index(volume.argmax(), volume.shape)
        peak = (np.array([x, y, z]) - simulated.BOX // 2) * simulated.PIXEL
        assert np.linalg.norm(peak - simulated.ARMS[state - 1]) < 1.5 * simulated.PIXEL
    lines = (output / "class001_fsc.csv").read_text().splitlines()
    assert lines[0].startswith("shell,resolution_angstrom,fsc_unmasked")
    assert len(lines) == 1 + simulated.BOX // 2


def test_half_maps_hold_disjoint_particles(project, tmp_path):
    """Images of the second half turned black for white turn its map, and leave the first alone."""
    folder, _, _ = project
    output = folder / "maps"
    if not output.is_dir():
        run_reconstruct(folder / "reclassify", output, options=ReconstructOptions(difference_to=3))
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("maps"))
    for text in (*copy.rglob("job.json"), *copy.rglob("*.star")):
        text.write_text(text.read_text().replace(str(folder), str(copy)))
    halves = half_sets(read_particles(copy / "particles.star"))
    assert set(halves) == {0, 1}
    with mrcfile.open(copy / "stack.mrcs", mode="r+") as stack:
        stack.data[halves == 1] *= -1
    run_reconstruct(copy / "reclassify", copy / "maps")
    for half, sign in ((1, 1), (2, -1)):
        name = f"class001_half{half}_unfil.mrc"
        before, after = (read_volume(place / "maps" / name)[0] for place in (folder, copy))
        np.testing.assert_allclose(after, sign * before, atol=1e-3 * abs(before).max())
    whole, _ = read_volume(output / "class001.mrc")
    first, _ = read_volume(output / "class001_half1_unfil.mrc")
    assert np.corrcoef(first.ravel(), whole.ravel())[0, 1] > 0.5


def test_changes_are_counted():
    before, after = np.array([0, 1, 1, 2, 0, 2]), np.array([0, 1, 2, 0, 1, 2])
    assert changed_share(before, after) == 0.5
    assert describe_changes(before, after) == {
        "stayed": 2,
        "moved": 1,
        "newly_voted": 1,
        "newly_voted_out": 1,
        "out_in_both": 1,
    }


def test_killed_and_continued_gives_the_same_files(project, tmp_path, monkeypatch):
    folder, _, _ = project
    from alphacryo4d.reclassify import clean_fit

    real, calls = clean_fit.fit_states, []

    def dies(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    monkeypatch.setattr(clean_fit, "fit_states", dies)
    with pytest.raises(KeyboardInterrupt):
        run_reclassify(folder, tmp_path / "again", options=QUICK)
    assert not (tmp_path / "again" / "particles.star").exists()
    run_reclassify(folder, tmp_path / "again", options=QUICK, flags=RunFlags(resume=True))
    assert len(calls) == 5
    for name in ("particles.star", "votes.npy", "assignments.npy", "heldout.npy", "report.json"):
        again, first = (path / name for path in (tmp_path / "again", folder / "reclassify"))
        assert again.read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_a_rare_composition_keeps_its_particles(tmp_path):
    """Four compositions, one of them with 3% of the particles."""
    rng = np.random.default_rng(9)
    count = 2400
    truth = rng.choice(4, count, p=[0.37, 0.3, 0.3, 0.03]) + 1
    table, _ = simulated.simulate(tmp_path, truth % 4, 0.3, rng)
    first = np.where(rng.random(count) < 0.2, rng.integers(0, 5, count), truth)
    simulated.write_project(tmp_path, table, first, rng)
    run_reclassify(tmp_path, tmp_path / "reclassify", options=QUICK)
    states = states_of(tmp_path / "reclassify")
    report = json.loads((tmp_path / "reclassify" / "report.json").read_text())
    assert report["states"] == 4
    assert (truth[states == 4] == 4).mean() > 0.8
    assert (states[truth == 4] == 4).mean() > 0.5
    assert report["per_state"][3]["supported"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"initial_resolution": 0.0}, "--initial-resolution"),
        ({"final_resolution": -1.0}, "--final-resolution"),
        ({"iterations": 0}, "--iterations"),
        ({"components": 0}, "--components"),
        ({"angle_sigma": 1.0}, "give both"),
        ({"write_poses": True, "refine_poses": False}, "--no-refine-poses"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        ReclassifyOptions(**wrong)
