"""Copies of one image: allowed with other poses, in one fold and one half-set, counted."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_tables import make_images, modern_table, numbered, run_command

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import read_cs
from alphacryo4d.particles.copies import (
    batch_half_sets,
    half_sets,
    images_of_volumes,
    particle_images,
    same_poses,
)
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.steps_stage import run_shuffle, run_split
from alphacryo4d.resample.subsets import assign_groups
from alphacryo4d.tools.check import examine
from alphacryo4d.voting.images import add_images

COPIES = 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "a.mrcs", 12)
    return tmp_path


def expanded(path: Path, *, subset: bool = True, turn: float = 120.0) -> Path:
    """C3-expanded table of 12 images, copies not side by side; half-sets by image."""
    names = numbered("a.mrcs", 12) * COPIES
    modern_table(path, names)
    lines = path.read_text().split("\n")
    count = 0
    for place, line in enumerate(lines):
        if "@a.mrcs" in line:
            words = line.split()
            image, copy = count % 12, count // 12
            words[1] = f"{10.0 * image + turn * copy:.3f}"
            words[8] = f"{(image // 3) % 2 + 1}" if subset else "1"
            lines[place] = " ".join(words)
            count += 1
    path.write_text("\n".join(lines))
    return path


def test_an_expanded_table_is_sound_and_said(folder: Path) -> None:
    report = examine(expanded(folder / "p.star"))
    assert report.faults == []
    assert "36 particles are of 12 images (symmetry-expanded)" in str(report.warnings)


@pytest.mark.parametrize("turn", [0.0, 360.0])
def test_the_same_pose_again_is_a_duplicate(folder: Path, turn: float) -> None:
    faults = examine(expanded(folder / "p.star", turn=turn)).faults
    assert [fault.kind for fault in faults] == ["duplicate"]
    assert "row 13: the same image as row 1 with the same pose" in str(faults[0])
    assert "24 rows repeat others" in str(faults[0])


def test_rows_of_one_image_and_another_defocus_are_said_to_be_no_copies(folder: Path) -> None:
    path = expanded(folder / "p.star")
    lines = path.read_text().split("\n")
    last = max(place for place, line in enumerate(lines) if "@a.mrcs" in line)
    lines[last] = lines[last].replace("15000.0", "15002.0")
    path.write_text("\n".join(lines))
    report = examine(path)
    assert not report.faults
    assert [warning.kind for warning in report.warnings] == ["shared-image"]
    words = r"row 36: the same image as row 12 with another defocus (15002 and 15000 A; 1 row)"
    assert words in str(report.warnings[0])


def test_one_rotation_written_in_two_ways_is_one_pose() -> None:
    ids, shifts = np.zeros(3, int), np.zeros((3, 2))
    angles = np.array([[30.0, 0.0, 20.0], [10.0, 0.0, 40.0], [10.0, 0.0, 41.0]])
    first, second = same_poses(ids, angles, shifts)
    assert (first.tolist(), second.tolist()) == ([0], [1])
    moved = same_poses(ids, angles, np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 0.0]]))
    assert len(moved[1]) == 0


@given(
    images=st.integers(20, 300), copies=st.integers(1, 7), batch=st.integers(60, 500),
    seed=st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
@example(images=129, copies=7, batch=60, seed=0)  # 9 a batch would be 15 batches, not 16
def test_copies_share_batch_and_group(images: int, copies: int, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(images), copies))
    batches = -(-len(ids) // batch)
    if images < 4 * batches:
        with pytest.raises(InputError, match=f"of {images} images cannot fill"):
            assign_groups(len(ids), batch_size=batch, folds=3, rng=rng, images=ids)
        return
    groups = assign_groups(len(ids), batch_size=batch, folds=3, rng=rng, images=ids)
    of_images = np.zeros((images, 2), int)
    of_images[ids] = groups
    assert (of_images[ids] == groups).all()
    counts = np.bincount(of_images[:, 0])[1:]
    assert len(counts) == batches
    assert np.ptp(counts) <= 1
    for number in range(1, batches + 1):
        assert np.ptp(np.bincount(of_images[of_images[:, 0] == number, 1])[1:]) <= 1


def test_tables_without_copies_are_split_as_before() -> None:
    rng = [np.random.default_rng(3) for _ in range(2)]
    plain = assign_groups(100, batch_size=50, folds=3, rng=rng[0])
    same = assign_groups(100, batch_size=50, folds=3, rng=rng[1], images=np.arange(100))
    assert (plain == same).all()


def test_folds_on_disk_hold_all_copies_or_none(folder: Path) -> None:
    path = expanded(folder / "p.star")
    options = ResampleOptions(folds=3)
    run_split(path, folder / "split", options=options)
    run_shuffle(path, folder / "shuffle", options=options)
    tables = [*folder.glob("split/batch1/union*.star"), *folder.glob("shuffle/union*.star")]
    assert len(tables) == 8
    for table in tables:
        counts = np.bincount(particle_images(read_particles(table)))
        assert counts.tolist() == [COPIES] * 9


def test_half_sets_are_made_by_image(folder: Path) -> None:
    particles = read_particles(expanded(folder / "p.star", subset=False))
    assert particles.random_subset is None
    halves = half_sets(particles)
    assert set(halves.tolist()) == {0, 1}
    assert (halves.reshape(COPIES, 12) == halves[:12]).all()
    assert (batch_half_sets(particles, np.array([3, 15])) == halves[3]).all()
    single = read_particles(modern_table(folder / "q.star", numbered("a.mrcs", 12)))
    assert (half_sets(single) == single.random_subset - 1).all()


def test_copies_in_both_half_sets_are_refused(folder: Path) -> None:
    path = expanded(folder / "p.star")
    lines = path.read_text()
    path.write_text(lines.replace(" 0.0 2 3.0", " 0.0 1 3.0", 1))
    assert [fault.kind for fault in examine(path).faults] == ["split-copies"]
    with pytest.raises(InputError, match="copies of one image into both half-sets"):
        half_sets(read_particles(path))


def test_two_names_of_one_file_are_one_image(folder: Path) -> None:
    names = ["1@a.mrcs", "1@./a.mrcs", "2@a.mrcs"]
    particles = read_particles(modern_table(folder / "p.star", names))
    assert particle_images(particles).tolist() == [0, 0, 1]


def test_expanded_particles_keep_their_number_in_cs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = expanded(folder / "p.star")
    done = run_command(capsys, "convert", "--i", str(path), "--o", "p.cs")
    assert done.returncode == 0, done.stderr
    particles = read_cs(folder / "p.cs")
    assert len(np.unique(particles["uid"])) == 36
    split = particles["alignments3D/split"].reshape(COPIES, 12)
    assert (split == split[0]).all()
    back = read_particles(folder / "p.cs")
    np.testing.assert_allclose(back.defocus, read_particles(path).defocus)


def test_states_count_images() -> None:
    report = {"per_state": [{"state": 1}, {"state": 2}]}
    add_images(report, np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 1, 2, 0, 2]))
    assert report["images"] == 3
    assert [entry["images"] for entry in report["per_state"]] == [2, 2]
    assert "6 particles are copies of 3 images" in str(report["copies"])
    plain = {"per_state": [{"state": 1}]}
    add_images(plain, np.arange(4), np.ones(4, int))
    assert "images" not in plain


def test_the_split_says_how_many_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="alphacryo4d"):
        run_split(expanded(folder / "p.star"), folder / "s", options=ResampleOptions())
    assert "36 particles of 12 images: copies stay in one fold" in caplog.text


def test_the_split_keeps_which_rows_are_of_one_image(folder: Path) -> None:
    path = expanded(folder / "p.star")
    made = run_split(path, folder / "s", options=ResampleOptions())
    assert folder / "s" / "images.npy" in made
    ids = np.load(folder / "s" / "images.npy")
    np.testing.assert_array_equal(ids, particle_images(read_particles(path)))


def test_a_volume_holds_an_image_once() -> None:
    assignments = np.array([[0, -1], [0, 2], [1, 2], [-2, 2]])
    images = images_of_volumes(assignments, np.array([0, 0, 0, 1]), 3)
    assert images.tolist() == [1, 1, 2]
