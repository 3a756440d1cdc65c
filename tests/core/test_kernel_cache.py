"""Compiled kernels are kept where this user can write, and nobody else."""

import os
from pathlib import Path

import pytest

from alphacryo4d.core import kernel_cache
from alphacryo4d.core.kernel_cache import VARIABLE, choose_kernel_cache


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither the package nor a home can be written; the temporary folder is returned."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(kernel_cache, "_can_be_written", lambda folder: False)
    monkeypatch.setattr(kernel_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(kernel_cache.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_numba_finds_its_own_place_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    choose_kernel_cache(tmp_path)
    assert not os.environ[VARIABLE]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet"))
    choose_kernel_cache(Path("/proc/1"))
    assert not os.environ[VARIABLE]


def test_without_a_place_it_is_a_folder_of_this_user(nowhere: Path) -> None:
    choose_kernel_cache()
    cache = Path(os.environ[VARIABLE])
    assert cache == nowhere / f"alphacryo4d-kernels-{os.getuid()}"
    assert cache.stat().st_mode & 0o077 == 0


def test_a_folder_that_others_can_write_is_not_taken(nowhere: Path) -> None:
    taken = nowhere / f"alphacryo4d-kernels-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    choose_kernel_cache()
    assert Path(os.environ[VARIABLE]) != taken
    assert Path(os.environ[VARIABLE]).stat().st_mode & 0o077 == 0


def test_a_place_that_was_given_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/given")
    choose_kernel_cache(Path("/proc/1"))
    assert os.environ[VARIABLE] == "/given"
