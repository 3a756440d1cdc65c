"""A project that is copied, moved or renamed, and stacks that moved: by the command line alone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_run import RUN, as_owner, call, reconstruct, rerun, times

from alphacryo4d.io.mrc import read_volume

pytestmark = pytest.mark.slow


def maps(folder: Path) -> np.ndarray:
    return np.stack([read_volume(path)[0] for path in sorted(folder.glob("class???.mrc"))])


def spoil(folder: Path) -> None:
    """Make the stacks of a folder other ones of the same size."""
    for path in folder.rglob("*.mrcs"):
        content = bytearray(path.read_bytes())
        content[2048:] = bytes(len(content) - 2048)
        path.write_bytes(content)


def test_a_copy_reads_its_own_files(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("relocate", "--i", home / "project") == 0  # as if it had been made here
    copied = tmp_path / "copied"
    shutil.copytree(home, copied)
    spoil(home)
    monkeypatch.chdir(home / "data")  # by RELION's rule the names mean the spoilt stack
    assert reconstruct(copied / "project", tmp_path / "made") == 0
    np.testing.assert_array_equal(maps(tmp_path / "made"), maps(copied / "maps"))


@pytest.mark.parametrize("how", ["moved", "parent renamed"])
def test_nothing_is_done_again_after_a_move(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    place = tmp_path / "other disk" / "deep" if how == "moved" else home.with_name("renamed")
    place.parent.mkdir(exist_ok=True)
    shutil.move(home, place)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = times(place / "project")
    assert rerun(place) == 0
    assert times(place / "project") == before
    assert reconstruct(place / "project", tmp_path / "made") == 0
    np.testing.assert_array_equal(maps(tmp_path / "made"), maps(place / "maps"))


def test_moved_stacks_are_found_by_relocate(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(home / "data" / "images", tmp_path / "archive")
    assert reconstruct(home / "project", tmp_path / "made") == 3
    assert "alphacryo4d relocate" in capsys.readouterr().err
    words = ["relocate", "--i", home / "project", "--images-from", tmp_path / "archive"]
    assert call(*words, "--dry-run") == 0
    assert reconstruct(home / "project", tmp_path / "made") == 3
    assert call(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["images"] == [str(tmp_path / "archive" / "stack.mrcs")]
    before = times(home / "project")
    assert rerun(home) == 0
    assert times(home / "project") == before
    assert rerun(home, "--threshold", "2") == 0
    changed = {name for name, time in times(home / "project").items() if before.get(name) != time}
    assert {Path(name).parts[0] for name in changed} <= {"vote", "job.json", "report.html"}
    assert rerun(home) == 0
    assert reconstruct(home / "project", tmp_path / "made") == 0
    np.testing.assert_array_equal(maps(tmp_path / "made"), maps(home / "maps"))


def test_finished_maps_of_another_stack_are_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = home / "data" / "images" / "stack.mrcs"
    held, state = stack.read_bytes(), stack.stat()
    assert reconstruct(home / "project", tmp_path / "made") == 0
    stack.write_bytes(held[:-4000] + held[-8000:-4000])
    assert reconstruct(home / "project", tmp_path / "made") == 3
    assert "stack.mrcs: not the file that" in capsys.readouterr().err
    stack.write_bytes(held)
    os.utime(stack, ns=(state.st_atime_ns, state.st_mtime_ns))
    before = times(tmp_path / "made")
    assert reconstruct(home / "project", tmp_path / "made") == 0
    assert times(tmp_path / "made") == before


def test_stacks_with_absolute_names_are_found_too(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, stack = home / "data" / "particles.star", home / "data" / "images" / "stack.mrcs"
    absolute = home / "data" / "absolute.star"
    absolute.write_text(table.read_text().replace("@images/", f"@{stack.parent}/"))
    project = home / "second"
    resample = ["resample", "--i", absolute, "--o", project / "resample", *RUN[:4], *RUN[-4:]]
    assert call(*resample) == 0
    places = ["--i", project / "resample", "--o", project / "landscape", "--states", "2"]
    assert call("landscape", *places, "--no-path", "--j", "2") == 0
    places = ["--i", project / "resample", "--landscape", project / "landscape", "--j", "2"]
    assert call("vote", *places, "--o", project / "vote", "--no-test") == 0
    (tmp_path / "archive").mkdir()
    stack.rename(tmp_path / "archive" / "stack.mrcs")
    assert reconstruct(project, tmp_path / "made") == 3
    assert call("relocate", "--i", project, "--datadir", tmp_path / "archive") == 0
    assert reconstruct(project, tmp_path / "made") == 0
    np.testing.assert_array_equal(maps(tmp_path / "made"), maps(project / "vote"))
    before = times(project)
    assert call(*resample) == 0
    assert times(project) == before


def test_a_moved_table_and_an_option_for_one_command(home: Path, tmp_path: Path) -> None:
    (home / "data" / "particles.star").rename(tmp_path / "p.star")
    shutil.move(home / "data" / "images", tmp_path / "images")
    assert reconstruct(home / "project", tmp_path / "made") == 3
    words = ["relocate", "--i", home / "project", "--table", tmp_path / "p.star"]
    assert call(*words) == 3  # the stacks are not found yet
    assert call(*words, "--images-from", tmp_path) == 0
    assert reconstruct(home / "project", tmp_path / "made") == 0
    np.testing.assert_array_equal(maps(tmp_path / "made"), maps(home / "maps"))
    shutil.move(tmp_path / "images", tmp_path / "again" / "images")
    assert reconstruct(home / "project", tmp_path / "two", "--datadir", tmp_path / "again") == 0


def test_other_stacks_are_never_taken(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(home / "data" / "images", tmp_path / "wrong" / "images")
    spoil(tmp_path / "wrong")
    words = ["relocate", "--i", home / "project", "--images-from"]
    assert call(*words, tmp_path / "wrong") == 3
    assert "another content" in capsys.readouterr().err
    assert call(*words, tmp_path / "nowhere") == 3
    assert call(*words, home) == 3
    assert "1 of the 1 stacks" in capsys.readouterr().err
    assert (
        reconstruct(home / "project", tmp_path / "made", "--images-from", tmp_path / "wrong") == 3
    )
    monkeypatch.chdir(tmp_path / "wrong")
    assert reconstruct(home / "project", tmp_path / "made") == 3
    assert "not the file that" in capsys.readouterr().err
    assert call("relocate", "--i", tmp_path) == 3


def test_commands_that_read_write_nothing_in_the_project(home: Path, tmp_path: Path) -> None:
    before = times(home)
    project = home / "project"
    assert reconstruct(project, tmp_path / "made") == 0
    assert call("status", "--i", project) == 0
    assert call("select", "--i", project, "--where", "state = 1", "--o", tmp_path / "some") == 0
    assert call("report", "--i", project, "--o", tmp_path / "page.html") == 0
    assert call("landscape", "zoom", "--i", project, "--state", 1, "--o", tmp_path / "zoom") == 0
    assert call("relocate", "--i", project, "--dry-run") == 0
    assert rerun(home) == 0
    assert times(home) == before


def test_a_copy_without_its_data_says_where_it_reads(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("relocate", "--i", home / "project") == 0  # as if it had been made here
    shutil.copytree(home / "project", tmp_path / "far" / "away" / "project")
    project = tmp_path / "far" / "away" / "project"
    assert reconstruct(project, tmp_path / "made") == 0
    still = f"still reads {home / 'data' / 'images' / 'stack.mrcs'}"
    assert still in capsys.readouterr().err
    assert call("relocate", "--i", project) == 0
    assert reconstruct(project, tmp_path / "again") == 0
    assert "still reads" not in capsys.readouterr().err


@pytest.fixture
def closed(home: Path) -> Iterator[Path]:
    """The copy, without the right to write in it."""
    every = [home, *home.rglob("*")]
    for path in every:
        path.chmod(path.stat().st_mode & ~0o222)
    yield home
    for path in every:
        path.chmod(path.stat().st_mode | 0o200)


def test_a_project_that_cannot_be_written(closed: Path, tmp_path: Path) -> None:
    home, project = closed, closed / "project"
    tried = subprocess.run([*as_owner(), "test", "-w", project], check=False)
    if tried.returncode == 0:
        pytest.skip("the rights of root cannot be given up here")

    def run(*words: object) -> tuple[int, str]:
        command = [*as_owner(), sys.executable, "-m", "alphacryo4d", *(str(w) for w in words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    maps = ["vote", "reconstruct", "--i", project, "--o", tmp_path / "made", "--j", "2"]
    assert run(*maps)[0] == 0
    assert run("select", "--i", project, "--where", "state = 1", "--o", tmp_path / "some")[0] == 0
    assert run("chimerax", "--i", project, "--o", tmp_path / "states.cxc")[0] == 0
    again = ["run", "--i", home / "data" / "particles.star", "--o", project, *RUN]
    assert run(*again)[0] == 0
    code, said = run("landscape", "states", "--i", project, "--merge", "1+2")
    assert code in (3, 6)
    assert "cannot be written" in said.splitlines()[-1]
    code, said = run("relocate", "--i", project)
    assert code in (3, 6)
    assert "cannot be written" in said.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    ["run", "resample", "resample classify", "resample components", "resample consensus", "vote",
     "vote count", "vote nearest", "vote reconstruct", "vote reclassify", "vote refine", "score",
     "check", "convert", "relocate"],
)  # fmt: skip
def test_every_command_that_reads_images_takes_their_folder(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call(*words.split(), "--help")
    shown = capsys.readouterr().out
    assert "--images-from, --datadir FOLDER" in shown
