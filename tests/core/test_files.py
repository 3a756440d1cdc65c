import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphacryo4d.core.errors import InputError, ResourceError
from alphacryo4d.core.files import (
    atomic_path,
    class_volume,
    create_array,
    data_table,
    fold_name,
    load_array,
    remove_stale,
    save_array,
    volume_name,
    write_text,
)


def test_names_are_those_of_the_contract() -> None:
    assert fold_name(4, 4) == "123"
    assert volume_name(1, 4, 4, 1) == "u123_b1_c001"
    assert class_volume(Path("u123"), 25, 1) == Path("u123/run_it025_class001.mrc")
    assert class_volume(Path(), 25, 1, half=2) == Path("run_it025_class001_half2_unfil.mrc")
    assert data_table(Path("u123"), 25) == Path("u123/run_it025_data.star")


@given(folds=st.integers(4, 30))
def test_fold_names_are_unique(folds: int) -> None:
    assert len({fold_name(left_out, folds) for left_out in range(1, folds + 1)}) == folds


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.star", "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_was_writing_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    left, other = tmp_path / ".ac4d-report.abc.html", tmp_path / ".ac4d-other.abc.html"
    left.write_text("half")
    other.write_text("of another file")
    with atomic_path(page) as written:
        written.write_text("whole")
        remove_stale(page)
        assert not left.exists()
        assert written.is_file()
    assert page.read_text() == "whole"
    assert other.is_file()


def test_file_systems_without_modes_or_synced_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems refuse to sync a folder, or to change a mode."""
    sync = os.fsync

    def files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(descriptor)

    def refuse(path: Path, _mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    monkeypatch.setattr(os, "fsync", files_alone)
    monkeypatch.setattr(Path, "chmod", refuse)
    assert write_text(tmp_path / "table.star", "new").read_text() == "new"


def test_an_error_of_the_disk_while_a_folder_is_synced_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(ResourceError, match=r"table\.star: writing failed \(Input/output error\)"):
        write_text(tmp_path / "table.star", "new")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_an_error_with_its_name(tmp_path: Path) -> None:
    blocker = write_text(tmp_path / "file", "")
    with pytest.raises(ResourceError, match=r"x\.npy: cannot be written"):
        save_array(blocker / "x.npy", np.zeros(3))


def test_arrays_come_back_as_written(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with create_array(tmp_path / "a.npy", values.shape, np.float32) as array:
        array[...] = values
    read = load_array(tmp_path / "a.npy", dtype=np.floating, ndim=3, memory_map=True)
    assert isinstance(read, np.memmap)
    assert np.array_equal(read, values)


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    path = save_array(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match="2 dimensions, but 3 are needed"):
        load_array(path, ndim=3)
    with pytest.raises(InputError, match="holds float64"):
        load_array(path, dtype=np.integer)
    (tmp_path / "b.npy").write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"b\.npy: not a readable"):
        load_array(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"c\.npy: not a readable"):
        load_array(tmp_path / "c.npy")
    with pytest.raises(InputError, match=r"d\.npy: no such file"):
        load_array(tmp_path / "d.npy")
