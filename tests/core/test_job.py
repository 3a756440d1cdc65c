import json
from pathlib import Path

import pytest

from alphacryo4d.core.errors import InputError, TimeLimitReached, UsageError
from alphacryo4d.core.files import write_text
from alphacryo4d.core.job import Deadline, Job, read_job, start_job


def work(folder: Path, table: Path, **changes: object) -> tuple[bool, list[str]]:
    """A job of two steps; returns whether it was already finished and the steps it ran."""
    keywords: dict = {"options": {"folds": 3}, "seed": 1} | changes
    crash = keywords.pop("crash", None)
    ran = []
    with start_job(folder, stage="test", inputs=[table], **keywords) as job:
        if job.finished:
            return True, ran
        for step in ("first", "second"):
            if job.completed(step):
                continue
            if step == crash:
                raise RuntimeError("killed")
            ran.append(step)
            job.complete(step, [write_text(job.folder / step, step)])
    return False, ran


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_text(tmp_path / "particles.star", "data_\n")


def test_the_same_command_twice_does_nothing(tmp_path: Path, table: Path) -> None:
    assert work(tmp_path / "job", table) == (False, ["first", "second"])
    assert work(tmp_path / "job", table) == (True, [])
    assert read_job(tmp_path / "job")["status"] == "done"


@pytest.mark.parametrize("change", [{"options": {"folds": 5}}, {"seed": 2}])
def test_other_options_need_overwrite(tmp_path: Path, table: Path, change: dict) -> None:
    work(tmp_path / "job", table)
    with pytest.raises(UsageError, match="--overwrite"):
        work(tmp_path / "job", table, **change)
    assert work(tmp_path / "job", table, overwrite=True, **change) == (False, ["first", "second"])


def test_a_changed_input_needs_overwrite(tmp_path: Path, table: Path) -> None:
    work(tmp_path / "job", table)
    table.write_text("data_other\n")
    with pytest.raises(UsageError, match=r"particles\.star changed"):
        work(tmp_path / "job", table)


def test_a_crash_is_resumed_where_it_stopped(tmp_path: Path, table: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        work(tmp_path / "job", table, crash="second")
    assert read_job(tmp_path / "job")["status"] == "failed"
    with pytest.raises(UsageError, match="--continue"):
        work(tmp_path / "job", table)
    assert work(tmp_path / "job", table, resume=True) == (False, ["second"])
    assert read_job(tmp_path / "job")["outputs"] == ["first", "second"]


def test_a_step_whose_output_is_gone_is_done_again(tmp_path: Path, table: Path) -> None:
    work(tmp_path / "job", table)
    (tmp_path / "job" / "first").unlink()
    with pytest.raises(UsageError, match="first is gone"):
        work(tmp_path / "job", table)
    assert work(tmp_path / "job", table, resume=True) == (False, ["first"])


def test_overwrite_removes_only_own_outputs(tmp_path: Path, table: Path) -> None:
    work(tmp_path / "job", table)
    mine = write_text(tmp_path / "job" / "notes.txt", "keep me")
    outside = write_text(tmp_path / "outside.txt", "keep me too")
    record = read_job(tmp_path / "job")
    record["outputs"].append("../outside.txt")
    (tmp_path / "job" / "job.json").write_text(json.dumps(record))
    with pytest.raises(RuntimeError, match="killed"):
        work(tmp_path / "job", table, overwrite=True, crash="first")
    assert not (tmp_path / "job" / "first").exists()
    assert mine.exists()
    assert outside.exists()


def test_remnants_of_a_killed_run_are_removed(tmp_path: Path, table: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        work(tmp_path / "job", table, crash="second")
    remnant = write_text(tmp_path / "job" / "u123" / ".ac4d-class001.xyz.mrc", "half a map")
    work(tmp_path / "job", table, resume=True)
    assert not remnant.exists()


def test_two_runs_in_one_folder_are_refused(tmp_path: Path, table: Path) -> None:
    def inner(job: Job) -> None:
        assert not job.finished
        with pytest.raises(UsageError, match="another run"):
            work(tmp_path / "job", table, resume=True)

    with start_job(
        tmp_path / "job", stage="test", options={"folds": 3}, inputs=[table], seed=1
    ) as job:
        inner(job)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.star: no such file"):
        work(tmp_path / "job", tmp_path / "gone.star")
    assert not (tmp_path / "job").exists()


def test_a_time_limit_is_recorded(tmp_path: Path, table: Path) -> None:
    def stop() -> None:
        with start_job(tmp_path / "job", stage="test", options={}, inputs=[table]):
            Deadline(0).check()

    with pytest.raises(TimeLimitReached, match="--continue"):
        stop()
    assert read_job(tmp_path / "job")["status"] == "stopped"
    Deadline(None).check()
