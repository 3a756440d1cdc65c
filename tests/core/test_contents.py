"""Files that are not as they were written: named, set aside, made again, never used in silence."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.contents import changed_outputs, require_intact, warn_changed
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import save_array, write_text
from alphacryo4d.core.job import Step, Work, read_job, start_work

STEPS = (Step("array"), Step("table", after=("array",)))


def make(project: Path, table: Path, stage: str = "first", name: str = "values.npy") -> list[str]:
    """Two steps: an array and a table; the steps that ran."""
    ran = []
    with start_work(project / stage, Work(stage, {}, (table,), 0, STEPS)) as job:
        if job.finished:
            return []
        for step in ("array", "table"):
            if job.completed(step):
                continue
            ran.append(step)
            if step == "array":
                job.complete(step, [save_array(job.folder / name, np.arange(400_000.0))])
            else:
                job.complete(step, [write_text(job.folder / "rows.star", "data_rows\n")])
    return ran


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_text(tmp_path / "particles.star", "data_\n")


def damage(path: Path) -> None:
    """Zero a long part in the middle; size stays."""
    held = bytearray(path.read_bytes())
    held[len(held) // 3 : len(held) // 2] = bytes(len(held) // 2 - len(held) // 3)
    path.write_bytes(held)


def test_a_damaged_array_is_set_aside_and_made_again(
    tmp_path: Path, table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert make(tmp_path, table) == ["array", "table"]
    path = tmp_path / "first" / "values.npy"
    good = path.read_bytes()
    damage(path)
    assert changed_outputs(tmp_path / "first") == [path]
    warn_changed(tmp_path)
    assert "values.npy: not as it was written" in caplog.text
    assert make(tmp_path, table) == ["array"]
    assert path.read_bytes() == good
    assert path.with_name("values.npy.changed").is_file()
    assert changed_outputs(tmp_path / "first") == []


def test_a_folder_in_place_of_a_file_is_set_aside(tmp_path: Path, table: Path) -> None:
    make(tmp_path, table)
    path = tmp_path / "first" / "rows.star"
    path.unlink()
    path.mkdir()
    assert changed_outputs(tmp_path / "first") == [path]
    assert make(tmp_path, table) == ["table"]
    assert path.read_text() == "data_rows\n"
    assert path.with_name("rows.star.changed").is_dir()


def test_a_record_of_a_part_that_cannot_be_read_is_made_again(tmp_path: Path, table: Path) -> None:
    """As of a fold: records of parts are outputs too, but may change, as when files move."""

    def both() -> list[str]:
        ran: list[str] = []
        with start_work(tmp_path / "all", Work("all", {}, (table,), 0, (Step("part"),))) as job:
            if not (job.finished or job.completed("part")):
                ran = make(job.folder, table, "part")
                job.complete("part", [job.folder / "part" / "job.json"])
        return ran

    assert both() == ["array", "table"]
    path = tmp_path / "all" / "part" / "job.json"
    good = path.read_text()
    path.write_text(good + " ")
    assert both() == []
    for wrong in ("[" * 200_000, "", good[:100], good.replace('"inputs": [', '"inputs": [5, ')):
        path.write_text(wrong)
        assert both() == ["array", "table"]
        assert path.with_name("job.json.changed").read_text() == wrong
    assert both() == []


def test_a_damaged_array_is_refused_as_an_input(tmp_path: Path, table: Path) -> None:
    make(tmp_path, table)
    path = tmp_path / "first" / "values.npy"
    damage(path)
    with pytest.raises(InputError, match=r"values\.npy: holds something else than `first` wrote"):
        make(tmp_path, path, "second")
    assert read_job(tmp_path / "second") is None


def test_damage_that_keeps_the_time_is_refused_too(tmp_path: Path, table: Path) -> None:
    """As of a disk, or of a copy that keeps times."""
    make(tmp_path, table)
    path = tmp_path / "first" / "values.npy"
    before = path.stat()
    damage(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match=r"values\.npy: holds something else than `first` wrote"):
        make(tmp_path, path, "second")


def test_a_record_of_another_program_knows_no_contents(tmp_path: Path, table: Path) -> None:
    """Such as cryoSPARC's ``job.json``, or none that can be read."""
    make(tmp_path, table)
    path = tmp_path / "first" / "values.npy"
    for text in ('{"contents": 5}', '{"contents": {"values.npy": 5}}', "[" * 100_000, "[]"):
        (tmp_path / "first" / "job.json").write_text(text)
        require_intact([path])
        warn_changed(tmp_path)


def test_an_edited_table_is_named_and_taken(
    tmp_path: Path, table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, table)
    path = tmp_path / "first" / "rows.star"
    path.write_text("data_rows\n# mine\n")
    with caplog.at_level(logging.WARNING):
        assert make(tmp_path, path, "second") == ["array", "table"]
    assert "rows.star: was edited after `first` wrote it" in caplog.text


def test_another_time_with_the_same_content_is_no_change(tmp_path: Path, table: Path) -> None:
    make(tmp_path, table)
    for path in (tmp_path / "first").iterdir():
        os.utime(path, (1, 1))
    assert changed_outputs(tmp_path / "first") == []
    require_intact([tmp_path / "first" / "values.npy"])
    assert make(tmp_path, table) == []


def test_an_input_that_changes_meanwhile_is_named_and_nothing_is_taken(
    tmp_path: Path, table: Path
) -> None:
    before = table.read_text()

    def changing() -> None:
        with start_work(tmp_path / "first", Work("first", {}, (table,), 0, STEPS)) as job:
            job.complete("array", [save_array(job.folder / "values.npy", np.zeros(3))])
            table.write_text("data_other\n")

    with pytest.raises(InputError, match=r"particles\.star: changed while first was made from it"):
        changing()
    table.write_text(before)  # put back: what was made meanwhile may still be of the other
    assert make(tmp_path, table) == ["array", "table"]
