"""Where machine code is kept, and what the user is told when there is none."""

import io

import pytest

from alphacryo4d.core.progress import _LineReporter
from alphacryo4d.ml3d.compiled import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of kernels, and a place for their machine code."""
    monkeypatch.setattr(cache, "_HERE", tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "code"))
    cache.cache_folder.cache_clear()
    yield tmp_path
    cache.cache_folder.cache_clear()


def test_an_edit_of_any_file_gets_a_folder_of_its_own(folder):
    (folder / "one.py").write_text("a = 1\n")
    (folder / "other.py").write_text("b = 1\n")
    before = cache.cache_folder()
    cache.cache_folder.cache_clear()
    assert cache.cache_folder() == before
    (folder / "other.py").write_text("b = 2\n")
    cache.cache_folder.cache_clear()
    assert cache.cache_folder() != before
    assert before.parent == folder / "code"


def test_the_first_use_is_announced_at_once(folder):
    stream = io.StringIO()
    progress = _LineReporter("fold 1", stream, interval=1e9)
    progress(0, 1, "iteration 1")
    cache.announce(progress, "expect")
    assert "fold 1" in stream.getvalue()
    assert "compiling" in stream.getvalue()
    code = cache.cache_folder() / "package"
    code.mkdir(parents=True)
    (code / "expect.expect_classes-1.py311.nbi").touch()
    said = stream.getvalue()
    cache.announce(progress, "expect")
    assert stream.getvalue() == said
