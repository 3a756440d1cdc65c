import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from alphacryo4d.core import lock
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.errors import InputError, ResourceError, TimeLimitReached, UsageError
from alphacryo4d.core.files import write_text
from alphacryo4d.core.job import (
    Job,
    Step,
    Work,
    plan_work,
    read_job,
    start_job,
    start_record,
    start_work,
)
from alphacryo4d.core.record import new_record
from alphacryo4d.core.run_flags import RunFlags

STEPS = (
    Step("first", options=("folds", "seed")),
    Step("second", options=("states",), inputs=(), after=("first",)),
    Step("figures", options=("colour",), inputs=(), after=("second",)),
)
NORMAL = {"folds": 3, "states": 8, "colour": "red"}


def work(
    folder: Path,
    table: Path,
    *,
    crash: str | None = None,
    seed: int = 1,
    overwrite: bool = False,
    **changes: object,
) -> list[str] | None:
    """Three steps whose files hold their options; returns the steps run, None where none was."""
    options, ran = NORMAL | changes, []
    wanted = Work("test", options, (table,), seed, STEPS, ("checkpoint*",))
    with start_work(folder, wanted, flags=RunFlags(overwrite=overwrite)) as job:
        if job.finished:
            return None
        for step, content in (("first", "folds"), ("second", "states"), ("figures", "colour")):
            if job.completed(step):
                continue
            write_text(job.folder / "checkpoint", step)
            if step == crash:
                raise RuntimeError("killed")
            ran.append(step)
            job.complete(step, [write_text(job.folder / step, f"{options[content]}")])
            (job.folder / "checkpoint").unlink()
    return ran


def crash(folder: Path, table: Path, step: str, **changes: object) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        work(folder, table, crash=step, **changes)


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in ("first", "second", "figures")}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_text(tmp_path / "particles.star", "data_\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project" / "job"


def test_the_same_command_twice_does_nothing(folder: Path, table: Path) -> None:
    assert work(folder, table) == ["first", "second", "figures"]
    assert work(folder, table) is None
    assert read_job(folder)["status"] == "done"


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ({"folds": 5}, ["first", "second", "figures"]),
        ({"seed": 2}, ["first", "second", "figures"]),
        ({"states": 12}, ["second", "figures"]),
        ({"colour": "blue"}, ["figures"]),
    ],
)
def test_only_what_depends_on_a_change_is_redone(
    folder: Path, table: Path, change: dict, redone: list[str]
) -> None:
    work(folder, table)
    times = {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}
    assert work(folder, table, **change) == redone
    fresh = folder.with_name("fresh")
    work(fresh, table, **change)
    assert contents(folder) == contents(fresh)
    kept = [name for name in times if (folder / name).stat().st_mtime_ns == times[name]]
    assert kept == [name for name in times if name not in redone]
    assert sorted(p.name for p in folder.parent.iterdir()) == ["fresh", "job"]
    assert work(folder, table, **change) is None


def test_the_plan_says_what_is_redone_and_why(folder: Path, table: Path) -> None:
    work(folder, table)
    wanted = Work("test", NORMAL | {"states": 12}, (table,), 1, STEPS)
    assert plan_work(folder, wanted).text() == (
        "redoing second, figures because states 8 -> 12 (first unchanged)"
    )


def test_old_results_stay_until_the_new_ones_are_whole(folder: Path, table: Path) -> None:
    work(folder, table)
    before = contents(folder)
    crash(folder, table, "figures", states=12)
    assert contents(folder) == before
    assert read_job(folder)["status"] == "done"
    assert work(folder, table) is None  # back to the old options: nothing is lost
    assert work(folder, table, states=12) == ["figures"]  # what was begun goes on
    assert contents(folder) == before | {"second": "12"}
    assert not (folder / "checkpoint").exists()


def test_a_change_of_mind_takes_what_stands_from_both(folder: Path, table: Path) -> None:
    work(folder, table)
    crash(folder, table, "figures", folds=5)
    assert work(folder, table, folds=5, states=12) == ["second", "figures"]
    assert contents(folder) == {"first": "5", "second": "12", "figures": "red"}


def test_a_kill_while_results_are_moved_is_made_good(
    folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(folder, table)
    real = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name == "second" and ".job.next" in str(self.parent):
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        work(folder, table, states=12)
    monkeypatch.undo()
    assert work(folder, table, states=12) is None
    assert contents(folder) == {"first": "3", "second": "12", "figures": "red"}
    assert [p.name for p in folder.parent.iterdir()] == ["job"]


def test_a_changed_input_is_known_by_its_content(folder: Path, table: Path) -> None:
    work(folder, table)
    other = write_text(table.with_name("renamed.star"), table.read_text())
    assert work(folder, other) is None
    table.write_text("data_other\n")
    wanted = Work("test", NORMAL, (table,), 1, STEPS)
    assert "because particles.star changed" in plan_work(folder, wanted).text()
    assert work(folder, table) == ["first", "second", "figures"]


def test_a_crash_is_gone_on_with(folder: Path, table: Path) -> None:
    crash(folder, table, "second")
    assert read_job(folder)["status"] == "failed"
    assert work(folder, table) == ["second", "figures"]
    assert read_job(folder)["outputs"] == ["first", "second", "figures"]


def test_a_run_that_failed_its_checks_has_not_claimed_the_folder(folder: Path, table: Path) -> None:
    crash(folder, table, "first")
    with start_job(folder, stage="other", options={}, inputs=[]) as job:
        assert not job.finished
        assert not (folder / "checkpoint").exists() or True
    assert read_job(folder)["stage"] == "other"
    with pytest.raises(UsageError, match="holds the results of `other`, not of `test`"):
        work(folder, table)


def test_a_checkpoint_of_other_options_is_not_gone_on_from(folder: Path, table: Path) -> None:
    crash(folder, table, "first")
    assert (folder / "checkpoint").exists()
    with start_work(folder, Work("test", NORMAL | {"folds": 5}, (table,), 1, STEPS, ("check*",))):
        assert not (folder / "checkpoint").exists()


def test_a_step_whose_output_is_gone_is_done_again(folder: Path, table: Path) -> None:
    work(folder, table)
    (folder / "first").unlink()
    assert work(folder, table) == ["first"]


def test_overwrite_removes_only_own_outputs(tmp_path: Path, folder: Path, table: Path) -> None:
    work(folder, table)
    mine = write_text(folder / "notes.txt", "keep me")
    outside = write_text(tmp_path / "outside.txt", "keep me too")
    record = read_job(folder)
    record["outputs"].append("../../outside.txt")
    (folder / "job.json").write_text(json.dumps(record))
    crash(folder, table, "first", overwrite=True)
    assert not (folder / "first").exists()
    assert mine.exists()
    assert outside.exists()


def test_overwrite_leaves_the_results_of_another_stage(folder: Path, table: Path) -> None:
    work(folder, table)
    other = Work("other", {}, (table,), 1, STEPS)
    with (
        pytest.raises(UsageError, match="holds the results of `test`"),
        start_work(folder, other, flags=RunFlags(overwrite=True)),
    ):
        pass
    assert (folder / "first").exists()


def test_files_of_the_user_stay_when_results_are_replaced(folder: Path, table: Path) -> None:
    work(folder, table)
    mine = write_text(folder / "notes.txt", "keep me")
    work(folder, table, states=3)
    assert mine.exists()


def test_remnants_of_a_killed_run_are_removed(folder: Path, table: Path) -> None:
    crash(folder, table, "second")
    remnant = write_text(folder / "u123" / ".ac4d-class001.xyz.mrc", "half a map")
    work(folder, table)
    assert not remnant.exists()


def test_what_other_options_left_unfinished_is_removed(folder: Path, table: Path) -> None:
    def begin(classes: int) -> bool:
        begun = {"stage": "test", "options": {"classes": classes}, "inputs": [table]}
        with (
            suppress(KeyboardInterrupt),
            start_job(folder, **begun, remnants=("checkpoint.npz",)) as job,
        ):
            there = (job.folder / "checkpoint.npz").exists()
            write_text(job.folder / "checkpoint.npz", "state")
            raise KeyboardInterrupt
        return there

    assert [begin(classes) for classes in (20, 20, 10, 10)] == [False, True, False, True]


def test_two_runs_in_one_folder_are_refused(folder: Path, table: Path) -> None:
    def inner(job: Job) -> None:
        assert not job.finished
        with pytest.raises(UsageError, match="another run"):
            work(folder, table)

    with start_work(folder, Work("test", NORMAL, (table,), 1, STEPS)) as job:
        inner(job)


def test_a_file_system_without_locks_is_no_other_run(
    folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    assert work(folder, table) == ["first", "second", "figures"]
    assert "has no locks (No locks available)" in caplog.text


def test_a_missing_input_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.star: no such file"):
        work(folder, tmp_path / "gone.star")
    assert not folder.exists()


def test_a_time_limit_is_recorded(folder: Path, table: Path) -> None:
    def stop() -> None:
        with start_job(folder, stage="test", options={}, inputs=[table]):
            Deadline(0).check()

    with pytest.raises(TimeLimitReached, match="the same command goes on"):
        stop()
    assert read_job(folder)["status"] == "stopped"
    Deadline(None).check()


@pytest.mark.parametrize("method", ["read_text", "replace"])
def test_a_record_that_the_disk_refuses_is_named_and_loses_nothing(
    folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """EIO of ``job.json``: nothing is taken for new work, and no result is touched."""
    work(folder, table)
    before, real = contents(folder), getattr(Path, method)

    def failing(path: Path, *arguments: Path, **options: str) -> object:
        if "job.json" in (path.name, *(target.name for target in arguments)):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *arguments, **options)

    with monkeypatch.context() as broken:
        broken.setattr(Path, method, failing)
        with pytest.raises((OSError, ResourceError), match="Input/output error") as told:
            work(folder, table, states=9)
    assert "job.json" in str(told.value)
    assert contents(folder) == before
    assert work(folder, table) is None
    assert work(folder, table, states=9) == ["second", "figures"]


@pytest.mark.parametrize("how", ["moved", "copied", "parent renamed"])
def test_a_project_that_moved_is_the_same_project(folder: Path, tmp_path: Path, how: str) -> None:
    table = write_text(folder.parent / "before" / "volumes.star", "data_\n")
    work(folder, table)
    if how == "copied":
        home = Path(shutil.copytree(folder.parent, tmp_path / "copy"))
    elif how == "moved":
        home = folder.parent.rename(tmp_path / "elsewhere")
    else:
        tmp_path.joinpath("deep").mkdir()
        home = folder.parent.rename(tmp_path / "deep" / "project")
    assert work(home / "job", home / "before" / "volumes.star") is None
    assert read_job(home / "job")["inputs"][0]["path"] == "../before/volumes.star"


def test_the_most_memory_is_recorded(folder: Path, table: Path) -> None:
    held = bytearray(b"x") * 300_000_000
    work(folder, table)
    del held
    assert 0.3 < read_job(folder)["peak_memory_gb"] < 1000


def test_a_record_that_was_not_renamed_is_removed_by_the_next(tmp_path):
    for name in (".ac4d-job.abc.json", ".ac4d-report.abc.html"):  # the other is of another command
        (tmp_path / name).write_text("{}")
    with start_record(tmp_path, Work("run", {}, ())):
        pass
    assert sorted(p.name for p in tmp_path.glob(".ac4d-*")) == [".ac4d-report.abc.html"]


def test_a_record_says_how_and_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "alphacryo4d" / "__main__.py"
    monkeypatch.setattr("sys.argv", [str(module), "run", "--i", "a b.star"])
    monkeypatch.chdir(tmp_path)
    record = new_record(tmp_path / "out", Work("test", {}, ()), None)
    assert record["command"] == "alphacryo4d run --i 'a b.star'"
    assert record["working_folder"] == str(tmp_path)
