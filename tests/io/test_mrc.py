"""Volumes and stacks: what is read and written, and what is refused."""

import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import open_stack, read_header, read_volume, write_stack, write_volume


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)


def test_a_volume_comes_back(tmp_path: Path, volume: np.ndarray) -> None:
    path = write_volume(tmp_path / "v.mrc", volume, 2.5)
    again, voxel_size = read_volume(path)
    assert (again == volume).all()
    assert voxel_size == 2.5


def test_mrcfile_finds_our_volume_valid(tmp_path: Path, volume: np.ndarray) -> None:
    path = write_volume(tmp_path / "v.mrc", volume, 1.37)
    with mrcfile.open(path) as theirs:
        assert theirs.is_volume()
        assert (theirs.data == volume).all()
        assert theirs.voxel_size.x == pytest.approx(1.37, rel=1e-6)
        assert theirs.header.rms == pytest.approx(volume.std(), rel=1e-5)
    assert mrcfile.validate(path)


def test_mrcfile_finds_our_stack_valid(tmp_path: Path, volume: np.ndarray) -> None:
    path = tmp_path / "s.mrcs"
    with write_stack(path, 2.0) as stack:
        stack.append(volume[:5])
        stack.append(volume[5])
    with mrcfile.open(path) as theirs:
        assert theirs.is_image_stack()
        assert (theirs.data == volume[:6]).all()
        assert theirs.header.dmean == pytest.approx(volume[:6].mean(), abs=1e-6)
        assert theirs.voxel_size.x == 2.0
    assert mrcfile.validate(path)
    assert read_header(path).voxel_size == 2.0


@pytest.mark.parametrize("kind", ["i1", "i2", "u2", "f2", "f4"])
@pytest.mark.parametrize("order", "<>")
def test_every_kind_of_pixel_is_read(tmp_path: Path, kind: str, order: str) -> None:
    pixels = np.arange(1, 129).reshape(2, 8, 8).astype(kind)
    path = tmp_path / "s.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(pixels)
        file.set_image_stack()
    if order == ">":
        raw = bytearray(path.read_bytes())
        words = np.frombuffer(raw[:208], "<i4").astype(">i4").tobytes()
        raw[:208] = words
        raw[1024:] = pixels.astype(order + kind).tobytes()
        path.write_bytes(raw)
    assert (open_stack(path) == pixels).all()


def test_an_extended_header_is_passed_over(tmp_path: Path, volume: np.ndarray) -> None:
    path = tmp_path / "v.mrc"
    with mrcfile.new(path) as file:
        file.set_data(volume)
        file.set_extended_header(np.zeros(100, "V16"))
    assert (read_volume(path)[0] == volume).all()


@pytest.mark.parametrize("missing", [1, 4, 300, 2047])
def test_truncation_is_refused(tmp_path: Path, volume: np.ndarray, missing: int) -> None:
    path = write_volume(tmp_path / "v.mrc", volume, 1.0)
    path.write_bytes(path.read_bytes()[:-missing])
    for reader in (read_volume, open_stack):
        with pytest.raises(InputError, match=r"v\.mrc: truncated.*8 sections of 8 x 8.*holds"):
            reader(path)
    assert read_header(path).available == 7 - (missing - 1) // 256


def test_a_voxel_that_is_not_finite_is_named(tmp_path: Path, volume: np.ndarray) -> None:
    path = write_volume(tmp_path / "v.mrc", volume, 1.0)
    raw = bytearray(path.read_bytes())
    place = 1024 + 4 * (2 * 64 + 3 * 8 + 4)
    raw[place : place + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"voxel \(z 2, y 3, x 4\)"):
        read_volume(path)


def test_a_bad_volume_is_not_written(tmp_path: Path, volume: np.ndarray) -> None:
    volume[1, 1, 1] = np.inf
    with pytest.raises(InputError):
        write_volume(tmp_path / "v.mrc", volume, 1.0)
    with pytest.raises(InputError), write_stack(tmp_path / "s.mrcs", 1.0) as stack:
        stack.append(volume)
    assert list(tmp_path.iterdir()) == []


def test_no_cube_is_refused(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "v.mrc", np.zeros((4, 8, 8)), 1.0)
    with pytest.raises(InputError, match="8 x 8 x 4 voxels are no cube"):
        read_volume(path)


def test_other_axes_are_refused(tmp_path: Path, volume: np.ndarray) -> None:
    path = write_volume(tmp_path / "v.mrc", volume, 1.0)
    raw = bytearray(path.read_bytes())
    raw[64:76] = np.array([3, 2, 1], "<i4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"axes are stored as \(3, 2, 1\)"):
        read_volume(path)


@pytest.mark.parametrize("mode", [3, 4, 101, 77])
def test_kinds_without_real_pixels_are_refused(
    tmp_path: Path, volume: np.ndarray, mode: int
) -> None:
    path = write_volume(tmp_path / "v.mrc", volume, 1.0)
    raw = bytearray(path.read_bytes())
    raw[12:16] = np.array([mode], "<i4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_volume(path)


@pytest.mark.parametrize("content", [b"", b"data_\nloop_\n" * 200, bytes(4096)])
def test_what_is_no_mrc_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_header(path)


def test_real_stacks_without_map_identifier_are_read(shared_data: Path) -> None:
    header = read_header(shared_data / "formats/relion31.mrcs")
    assert header.shape == (5, 256, 256)
    assert not header.voxel_size_is_known
    header = read_header(shared_data / "formats/empiar_10076_7.mrc")
    assert (header.shape, header.voxel_size) == ((7, 320, 320), 0.0)


def test_real_maps_are_those_of_mrcfile(shared_data: Path) -> None:
    path = shared_data / "proteasome/ref.mrc"
    ours, voxel_size = read_volume(path)
    with mrcfile.open(path) as theirs:
        assert (ours == theirs.data).all()
    assert voxel_size == pytest.approx(5.48)


@pytest.mark.relion
def test_relion_reads_what_we_write(tmp_path: Path, volume: np.ndarray) -> None:
    import subprocess

    write_volume(tmp_path / "v.mrc", volume, 1.5)
    command = ["relion_image_handler", "--i", "v.mrc", "--stats"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    words = dict(re.findall(r"(avg|stddev|angpix) ?= ?([-0-9.e]+)", done.stdout))
    assert float(words["avg"]) == pytest.approx(volume.mean(), abs=1e-5)
    assert float(words["stddev"]) == pytest.approx(volume.std(), rel=2e-3)
    assert float(words["angpix"]) == 1.5


def test_the_same_map_is_the_same_file_and_valid_to_mrcfile(tmp_path):
    volume = np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32)
    paths = [write_volume(tmp_path / f"{name}.mrc", volume, 1.7) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert mrcfile.validate(str(paths[0]))
    with mrcfile.open(paths[0]) as file:
        assert file.is_volume()
        assert float(file.voxel_size.x) == pytest.approx(1.7)
        assert float(file.header.rms) == pytest.approx(volume.std(), rel=1e-5)


def test_a_wrong_stamp_of_the_byte_order_does_not_turn_bytes(tmp_path):
    volume = np.random.default_rng(1).normal(size=(4, 4, 4)).astype(np.float32)
    path = write_volume(tmp_path / "little.mrc", volume, 2.0)
    swapped = bytearray(np.frombuffer(path.read_bytes(), "<u4").astype(">u4").tobytes())
    swapped[208:216] = path.read_bytes()[208:216]  # MAP, and the stamp of little-endian files
    (tmp_path / "big.mrc").write_bytes(swapped)
    np.testing.assert_array_equal(read_volume(tmp_path / "big.mrc")[0], volume)
