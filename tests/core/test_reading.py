"""Files of a project are not trusted: nothing is executed, memory stays bounded."""

import io
import json
import os
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import load_array, new_map
from alphacryo4d.core.job import read_job
from alphacryo4d.core.reading import load_archive, read_numbers, read_object, read_text


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def test_archives_come_back_as_written(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as stream:
        np.savez(
            stream, one=np.arange(6).reshape(2, 3), none=np.zeros((0, 4)), single=np.array(2.5)
        )
    arrays = load_archive(tmp_path / "a.npz")
    assert set(arrays) == {"one", "none", "single"}
    assert np.array_equal(arrays["one"], np.arange(6).reshape(2, 3))
    assert arrays["none"].shape == (0, 4)
    assert float(arrays["single"]) == 2.5


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with zipfile.ZipFile(tmp_path / "packed.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.npy", header((40_000_000,)) + bytes(320_000_000))
    before = max(most, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("one.npy", header((10**12,)) + bytes(100))
    (tmp_path / "short.npy").write_bytes(header((10**6, 10**6)) + bytes(100))
    for name in ("packed.npz", "short.npz"):
        with pytest.raises(InputError, match=rf"{name}: not a readable \.npz file"):
            load_archive(tmp_path / name)
    with pytest.raises(InputError, match="cut short"):
        load_array(tmp_path / "short.npy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 50_000


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    evil = np.array([Evil(tmp_path / "ran")], object)
    np.save(tmp_path / "evil.npy", evil)
    np.savez(tmp_path / "evil.npz", one=evil)
    with pytest.raises(InputError, match="Python objects"):
        load_array(tmp_path / "evil.npy")
    with pytest.raises(InputError, match="Python objects"):
        load_archive(tmp_path / "evil.npz")
    assert not (tmp_path / "ran").exists()


def described(shape: str, dtype: str = "'<f4'") -> bytes:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()


@pytest.mark.parametrize(
    "text",
    [
        b"{\0", b"(" * 8000, b"-" * 8000 + b"1", b"\xff" * 50, described("(3,")[:-2],
        described("(True,)"), described("(-1,)"), described(f"(1{400 * '0'},)"),
        described("(4611686018427387904, 4, 0)"), described("(1000000000000,)", "'|V0'"),
        described("(3,)", "'\\q'"), described("(3,)", "5"),
    ],
)  # fmt: skip
def test_damaged_headers_are_named(tmp_path: Path, text: bytes) -> None:
    """What bits that flip make of a header; NumPy asks Python's parser, whose errors are many."""
    damaged = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(1000)
    (tmp_path / "a.npy").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("one.npy", damaged)
    for mapped in (False, True):
        with pytest.raises(InputError, match=r"a\.npy: not a readable \.npy file"):
            load_array(tmp_path / "a.npy", memory_map=mapped)
    with pytest.raises(InputError, match=r"a\.npz: not a readable \.npz file"):
        load_archive(tmp_path / "a.npz")


def test_an_archive_in_place_of_an_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"PK\3\4 and no archive")
    with pytest.raises(InputError, match="an archive, but a single .npy array is needed"):
        load_array(tmp_path / "a.npy")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "\x00\xff", "null"])
def test_wrong_json_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"report\.json: not "):
        read_object(path)


@pytest.mark.parametrize("text", ["geöffnet", "1 2\n3\n", "9" * 30, "1 x", "\x00"])
def test_what_is_no_text_or_no_number_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "corners.txt"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"corners\.txt: not a table of numbers \("):
        read_numbers(path, dtype=np.int64, ndmin=2)
    if not text.isascii():
        with pytest.raises(InputError, match=r"corners\.txt: not text in UTF-8 .*write it as UTF"):
            read_text(path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("options", 5), ("inputs", "x"), ("inputs", [{"path": 3}]), ("outputs", [1]),
        ("steps", {"a": "b"}), ("steps", {"a": ["../../x"]}), ("steps", {"a": ["/etc/x"]}),
        ("pid", "1"), ("pid", 10**12), ("contents", {"a": [1]}), ("contents", {"../a": [1, 1, ""]}),
        ("status", []), ("image_parts_left_out", -1), ("inputs", [{"path": "x", "mtime": "y"}]),
    ],
)  # fmt: skip
def test_a_record_that_was_edited_wrongly_is_named(
    tmp_path: Path, entry: str, value: object
) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"stage": "vote", entry: value}))
    with pytest.raises(InputError, match=f"entry '{entry}' is damaged"):
        read_job(tmp_path)


def test_a_map_has_its_room_on_disk_at_once(tmp_path: Path) -> None:
    array = new_map(tmp_path / "a.npy", (1000, 1000), np.float32)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes
