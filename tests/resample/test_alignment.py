"""Motions that are known are found; maps that are aligned stay as they are."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.maths.fourier import fourier_resize
from alphacryo4d.maths.rotations import rotation_matrices
from alphacryo4d.resample.align_options import AlignOptions
from alphacryo4d.resample.align_stage import run_align
from alphacryo4d.resample.alignment import Aligner, align_to_mean
from alphacryo4d.resample.motion import (
    Motion,
    apply_motion,
    mirror,
    rotations,
)
from alphacryo4d.resample.relion_cli import align_command

BOX, VOXEL = 40, 5.0
OPTIONS = AlignOptions(fine_resolution=15.0)


def repad(volume, box):
    """Crop or pad with zeros in real space; the origin stays at N//2."""
    n, small = len(volume), min(len(volume), box)
    result = np.zeros((box,) * 3, np.float32)
    source, target = n // 2 - small // 2, box // 2 - small // 2
    inside, place = slice(source, source + small), slice(target, target + small)
    result[place, place, place] = volume[inside, inside, inside]
    return result


def blobs(rotation: np.ndarray | None = None, shift: tuple[float, ...] = (0, 0, 0)) -> np.ndarray:
    """Gaussians at given places after an exact motion; no interpolation is in them."""
    rng = np.random.default_rng(4)
    centers = rng.normal(0, 4.5, (14, 3))
    heights = rng.uniform(0.5, 1.5, 14)
    if rotation is not None:
        centers = centers @ rotation.T
    centers = centers + np.asarray(shift)
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((BOX,) * 3)
    for height, (cx, cy, cz) in zip(heights, centers, strict=True):
        volume += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * 1.6**2))
    return volume.astype(np.float32)


def turn(degrees: float, axis: tuple[float, float, float]) -> np.ndarray:
    return rotation_matrices(degrees * np.array(axis) / np.linalg.norm(axis))


def error(motion: Motion, known: Motion) -> tuple[float, float]:
    """What is left, in degrees and voxels, after a motion that should undo a known one."""
    left = motion.after(known)
    return left.angle, left.distance


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner(blobs(), VOXEL, OPTIONS)


@pytest.mark.parametrize(
    ("degrees", "axis", "shift"),
    [
        (3.0, (1, 2, 3), (0.4, -0.7, 1.2)),
        (40.0, (0, 1, 0), (-3.0, 0.0, 2.5)),
        (95.0, (1, -1, 0.3), (0.0, 4.0, -1.5)),
        (180.0, (0.2, 0.1, 1), (1.5, 1.5, 1.5)),
    ],
)
def test_a_known_motion_is_found(
    aligner: Aligner, degrees: float, axis: tuple[float, float, float], shift: tuple[float, ...]
) -> None:
    known = Motion(turn(degrees, axis), np.array(shift))
    alignment = aligner.align(blobs(known.rotation, shift))
    angle, distance = error(alignment.motion, known)
    assert angle < 0.2
    assert distance < 0.1
    assert alignment.correlation > 0.99


def test_a_known_motion_is_found_in_noise(aligner: Aligner) -> None:
    known = Motion(turn(70, (1, 1, -1)), np.array([2.0, -1.0, 0.5]))
    volume = blobs(known.rotation, (2.0, -1.0, 0.5))
    noise = np.random.default_rng(0).normal(0, 0.15, volume.shape)
    angle, distance = error(aligner.align(volume + noise).motion, known)
    assert angle < 0.5
    assert distance < 0.3


def test_an_aligned_map_gets_no_motion(aligner: Aligner) -> None:
    volume = 3 * blobs() + np.random.default_rng(1).normal(0, 0.02, (BOX,) * 3)
    alignment = aligner.align(volume)
    assert np.array_equal(alignment.motion.rotation, np.eye(3))
    assert not alignment.motion.shift.any()


def test_scale_and_offset_of_the_density_do_not_matter(aligner: Aligner) -> None:
    known = Motion(turn(10, (0, 0, 1)), np.array([1.0, 0, 0]))
    volume = 1e-4 * blobs(known.rotation, (1.0, 0, 0)) + 2e-3
    angle, distance = error(aligner.align(volume).motion, known)
    assert angle < 0.2
    assert distance < 0.1


def test_the_opposite_hand_is_noticed() -> None:
    options = AlignOptions(fine_resolution=15.0, report_hand=True)
    aligner = Aligner(blobs(), VOXEL, options)
    right, wrong = aligner.align(blobs()), aligner.align(mirror(blobs()))
    assert right.opposite_hand is not None
    assert wrong.opposite_hand is not None
    assert right.correlation > right.opposite_hand + 0.05
    assert wrong.opposite_hand > wrong.correlation + 0.05


def test_maps_are_aligned_to_their_mean() -> None:
    motions = [
        Motion(turn(a, (1, 0, 1)), np.array([s, 0, -s])) for a, s in ((0, 0), (4, 1), (9, 2))
    ]
    volumes = [blobs(m.rotation, tuple(m.shift)) for m in motions]
    alignments = align_to_mean(volumes, VOXEL, AlignOptions(fine_resolution=15.0, search="local"))
    left = [one.motion.after(known) for one, known in zip(alignments, motions, strict=True)]
    for one in left[1:]:
        assert Motion(one.rotation @ left[0].rotation.T, np.zeros(3)).angle < 0.3
        assert np.linalg.norm(one.shift - left[0].shift) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["u123_b1_c1", "u124_b1_c1", "u134_b1_c1"])
def test_proteasome_maps_come_back_from_known_motions(shared_data: Path, name: str) -> None:
    reference, voxel_size = read_volume(shared_data / "proteasome/ref.mrc")
    volume, _ = read_volume(shared_data / f"proteasome/{name}.mrc")
    aligner = Aligner(reference, voxel_size, AlignOptions())
    own = aligner.align(volume)
    assert own.correlation > own.correlation_before
    assert own.motion.angle < 3
    known = Motion(turn(107, (1, 2, -1)), np.array([3.0, -2.0, 1.5]))
    moved = aligner.align(apply_motion(volume, known)).motion.after(known)
    left = Motion(moved.rotation @ own.motion.rotation.T, moved.shift - own.motion.shift)
    assert left.angle < 0.5
    assert left.distance < 0.3


def test_motions_compose_and_act_on_density() -> None:
    first = Motion(turn(30, (0, 0, 1)), np.array([2.0, 0, 0]))
    both = Motion(turn(20, (1, 0, 0)), np.array([0, 1.0, 0])).after(first)
    exact = blobs(both.rotation, tuple(both.shift))
    moved = apply_motion(blobs(), both)
    assert np.abs(moved - exact).max() < 0.01 * exact.max()


def test_mirror_is_inversion_through_the_origin() -> None:
    volume = np.zeros((8, 8, 8))
    volume[4 + 1, 4 + 2, 4 - 3] = 1
    assert mirror(volume)[4 - 1, 4 - 2, 4 + 3] == 1
    assert np.array_equal(mirror(mirror(volume)), volume)


def test_rotations_cover_the_sphere_evenly() -> None:
    grid = rotations(2000)
    assert np.allclose(grid @ np.swapaxes(grid, 1, 2), np.eye(3), atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rotation_matrices(np.rad2deg(rng.normal(size=3)))
        traces = np.einsum("nij,ij->n", grid, wanted)
        assert np.degrees(np.arccos((traces.max() - 1) / 2)) < 18


def test_resizing_keeps_density_at_its_place() -> None:
    volume = blobs()
    there_and_back = fourier_resize(fourier_resize(volume, 60), BOX)
    assert np.abs(there_and_back - volume).max() < 1e-3 * volume.max()
    assert np.abs(fourier_resize(volume, 60)[30, 30, 30] - volume[20, 20, 20]) < 1e-3
    assert repad(volume, 50)[25, 25, 25] == volume[20, 20, 20]
    assert np.array_equal(repad(repad(volume, 50), BOX), volume)


def test_align_writes_maps_and_motions(tmp_path: Path) -> None:
    known = Motion(turn(25, (1, 1, 0)), np.array([1.0, 2.0, 0]))
    write_volume(tmp_path / "ref.mrc", blobs(), VOXEL)
    write_volume(tmp_path / "same.mrc", 2 * blobs(), VOXEL)
    write_volume(tmp_path / "moved.mrc", blobs(known.rotation, (1.0, 2.0, 0)), VOXEL)
    arguments = [
        str(tmp_path / "same.mrc"), str(tmp_path / "moved.mrc"), "--o", str(tmp_path / "o"),
        "--reference", str(tmp_path / "ref.mrc"), "--fine-resolution", "15",
    ]  # fmt: skip
    done = CliRunner().invoke(align_command, arguments, catch_exceptions=False)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "o/motions.csv")
    same, _ = read_volume(tmp_path / "o/same.mrc")
    assert np.array_equal(same, 2 * blobs())
    moved, voxel_size = read_volume(tmp_path / "o/moved.mrc")
    assert voxel_size == pytest.approx(VOXEL)
    assert np.corrcoef(moved.ravel(), blobs().ravel())[0, 1] > 0.999
    rows = (tmp_path / "o/motions.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["map", "same.mrc", "moved.mrc"]


def test_maps_of_different_boxes_are_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.mrc", blobs(), VOXEL)
    write_volume(tmp_path / "b.mrc", repad(blobs(), 44), VOXEL)
    with pytest.raises(InputError, match=r"b\.mrc: has a box of 44"):
        run_align([tmp_path / "a.mrc", tmp_path / "b.mrc"], tmp_path / "o", options=OPTIONS)


def test_maps_are_never_written_over(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.mrc", blobs(), VOXEL)
    with pytest.raises(InputError, match="take another --o"):
        run_align([tmp_path / "a.mrc"], tmp_path, options=OPTIONS)
