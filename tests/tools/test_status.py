"""What is told of a project: its stages, its folds, killed work."""

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import file_digest
from alphacryo4d.core.identity import describe_input
from alphacryo4d.core.job import Work, read_job, start_work
from alphacryo4d.tools.status import (
    fold_states,
    format_status,
    job_state,
    project_status,
    states_of,
)
from alphacryo4d.tools.status_cli import status


def write_record(folder: Path, **record: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(record))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose second fold runs and whose other stages were not started."""
    batch = tmp_path / "resample/batch1"
    batch.mkdir(parents=True)
    here = {"host": socket.gethostname(), "pid": os.getpid()}
    write_record(tmp_path / "resample", status="stopped", seconds=3.0, results={"particles": 9})
    for fold in ("123", "124"):
        (batch / f"union{fold}.star").touch()
    write_record(batch / "u123", status="done", **here)
    write_record(batch / "u124", status="running", **here)
    return tmp_path


def test_stages_and_folds_are_told(project: Path) -> None:
    told = project_status(project)
    assert [stage["status"] for stage in told["stages"]] == ["stopped", *["missing"] * 3]
    assert told["folds"] == {
        "done": 1, "of": 2, "unfinished": [{"fold": "batch1/u124", "status": "running"}],
    }  # fmt: skip
    text = format_status(told)
    assert "resample     stopped, 3 s, 1 of 2 folds classified" in text
    assert "batch1/u124: running" in text


def test_a_stage_whose_input_changed_is_stale_and_so_is_what_rests_on_it(tmp_path: Path) -> None:
    table = tmp_path / "particles.star"
    table.write_text("data_\n")
    entry = {"path": str(table), "size": 6, "mtime": table.stat().st_mtime,
             "sha256": file_digest(table)}  # fmt: skip
    write_record(tmp_path / "p/resample", status="done", inputs=[entry])
    for stage in ("deepfeature", "landscape", "vote"):
        write_record(tmp_path / "p" / stage, status="done", inputs=[])
    told = project_status(tmp_path / "p")
    assert {stage["status"] for stage in told["stages"]} == {"done"}
    assert told["input"] == str(table)
    os.utime(table, (1, 1))
    assert {stage["status"] for stage in project_status(tmp_path / "p")["stages"]} == {"done"}
    table.write_text("other\n")
    told = project_status(tmp_path / "p")
    assert {stage["status"] for stage in told["stages"]} == {"stale"}
    assert told["stages"][0]["stale"] == [f"{table} changed"]
    assert told["stages"][3]["stale"] == ["rests on resample"]
    assert told["next"].startswith("alphacryo4d resample --i ")
    text = format_status(told)
    assert "resample     stale (" in text
    assert text.splitlines()[0] == f"input        {table}"
    table.unlink()
    told = project_status(tmp_path / "p")
    assert told["stages"][0]["stale"] == [f"{table} is gone"]
    assert told["input"].endswith("(gone)")
    moved = "--table FOLDER/particles.star --images-from FOLDER"
    assert told["next"] == f"alphacryo4d relocate --i {tmp_path / 'p'} {moved}"


def test_the_next_step_is_that_of_the_first_stage_that_misses(tmp_path: Path) -> None:
    write_record(tmp_path / "resample", status="done", inputs=[])
    told = project_status(tmp_path)
    assert [one["status"] for one in told["stages"]] == ["done", "missing", "missing", "missing"]
    assert told["next"].startswith("alphacryo4d train --i ")
    write_record(tmp_path, status="interrupted", command="alphacryo4d run --i a.star --o p")
    assert project_status(tmp_path)["next"] == "alphacryo4d run --i a.star --o p"
    write_record(
        tmp_path / "deepfeature", status="running", host=socket.gethostname(), pid=os.getpid()
    )
    assert project_status(tmp_path)["next"].endswith("(work is running)")


def test_a_run_that_was_interrupted_is_proposed_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = tmp_path / "home", tmp_path / "home" / "p"
    project.mkdir(parents=True)
    (home / "a.star").write_text("data_\n")
    given = "alphacryo4d run --i a.star --o p --states 3 --reclassify"
    entry = {"path": str(home / "a.star"), "size": 6}
    record = {"status": "interrupted", "command": given + " --overwrite", "inputs": [entry],
              "working_folder": str(home)}  # fmt: skip
    write_record(project / "consensus", started="2026-01-01T00:00:00", **record)
    told = project_status(project)
    assert [one["stage"] for one in told["stages"]][:2] == ["consensus", "resample"]
    assert told["input"] == str(home / "a.star")
    assert told["next"] == f"cd {home} && {given}"
    monkeypatch.chdir(home)
    assert project_status(Path("p"))["next"] == given
    # all stages done but the last one that the run was asked for
    done = {"status": "done", "inputs": [entry]}
    for stage in ("consensus", "resample", "deepfeature", "landscape", "vote"):
        write_record(project / stage, **done)
    write_record(project, **record, options={"reclassify": {}, "particle_landscape": None})
    told = project_status(Path("p"))
    assert [one["stage"] for one in told["stages"]][-1] == "reclassify"
    assert told["next"] == given
    # a stage that was begun by a command of its own since
    write_record(project, **record | {"status": "done"}, options={"reclassify": None})
    own = "alphacryo4d vote --i p --threshold 3"
    write_record(project / "vote", **record | {"command": own})
    assert project_status(Path("p"))["next"] == own


def test_a_run_of_a_project_that_moved_is_proposed_for_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.star").write_text("data_\n")
    given = "alphacryo4d run --i a.star --o p --states 3"
    write_record(tmp_path / "q/resample", status="killed", command=given + " --only fold",
                 working_folder=str(tmp_path))  # fmt: skip
    assert project_status(Path("q"))["next"] == given.replace("--o p", f"--o {tmp_path}/q")


@pytest.mark.parametrize("output", ["--o p", "--o=p"])
def test_options_with_their_value_in_one_word_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.star").write_text("data_\n")
    given = f"alphacryo4d run --i a.star {output} --states 3"
    write_record(tmp_path / "q/resample", status="killed", command=given,
                 working_folder=str(tmp_path))  # fmt: skip
    assert f"--o {tmp_path}/q --states 3" in str(project_status(Path("q"))["next"])


def test_a_consensus_that_the_project_does_not_use_is_no_stage_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.star").write_text("data_\n")
    entry = {"path": str(tmp_path / "a.star"), "size": 6}
    record = {"command": "alphacryo4d run --i a.star --o p", "inputs": [entry],
              "working_folder": str(tmp_path)}  # fmt: skip
    write_record(tmp_path / "p/consensus", status="interrupted", **record)
    for stage in ("resample", "deepfeature", "landscape"):
        write_record(tmp_path / "p" / stage, status="done", inputs=[entry])
    told = project_status(Path("p"))
    assert "consensus" not in [stage["stage"] for stage in told["stages"]]


def test_a_run_between_its_stages_is_running(tmp_path: Path) -> None:
    here = {"host": socket.gethostname(), "pid": os.getpid()}
    write_record(tmp_path / "resample", status="done", inputs=[])
    write_record(tmp_path, status="running", command="alphacryo4d run --i a.star --o p", **here)
    assert str(project_status(tmp_path)["next"]).endswith("(work is running)")


def test_a_run_that_has_refined_its_poses_is_running(tmp_path: Path) -> None:
    record = {"status": "done", "host": socket.gethostname(), "inputs": []}
    for pid, running in ((os.getpid(), True), (2**22 + 1, False)):
        write_record(tmp_path / "consensus", command="alphacryo4d run --i a.star --o p", pid=pid,
                     **record)  # fmt: skip
        told = project_status(tmp_path)
        assert str(told["next"]).endswith("(work is running)") == running
    write_record(tmp_path / "consensus", command="alphacryo4d resample consensus --i a.star",
                 pid=os.getpid(), **record)  # fmt: skip
    assert project_status(tmp_path)["run"]["status"] == "missing"


def test_a_network_that_a_landscape_did_without_is_not_proposed(tmp_path: Path) -> None:
    for stage in ("resample", "landscape"):
        write_record(tmp_path / stage, status="done", inputs=[])
    assert str(project_status(tmp_path)["next"]).startswith("alphacryo4d vote --i ")


def test_work_whose_process_is_gone_is_killed(project: Path) -> None:
    gone = 2**22 + 1
    fold = project / "resample/batch1/u124"
    write_record(fold, status="running", host=socket.gethostname(), pid=gone)
    assert job_state(fold)["status"] == "killed"
    write_record(fold, status="running", host="elsewhere", pid=gone)
    assert job_state(fold)["status"] == "running"
    assert fold_states(project / "resample")["unfinished"][0]["status"] == "running"


def test_jobs_of_the_cluster_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    (project / "cluster").mkdir()
    jobs = [{"name": "fold", "job": "17", "array": [0, 1]}]
    (project / "cluster/jobs.json").write_text(json.dumps({"jobs": jobs}))
    told = project_status(project)["jobs"]
    assert told == [{**jobs[0], "states": {"unknown": 1}, "reasons": []}]
    squeue = project / "squeue"
    squeue.write_text("#!/bin/sh\necho '17|17|0|RUNNING|None'\necho '18|17|1|PENDING|Resources'\n")
    squeue.chmod(0o755)
    told = project_status(project)["jobs"]
    assert told[0]["states"] == {"RUNNING": 1, "PENDING": 1}
    assert told[0]["reasons"] == ["Resources"]


def test_the_command_answers_as_json(project: Path) -> None:
    done = CliRunner().invoke(status, [str(project), "--json"], catch_exceptions=False)
    assert json.loads(done.output)["folds"]["of"] == 2


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no project folder"):
        project_status(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        project_status(tmp_path / "gone")


def test_states_of_junk_are_counted_apart(tmp_path: Path) -> None:
    states = [{"state": k, "particles": 50, "supported": True, "junk": k == 3} for k in (1, 2, 3)]
    report = {"per_state": states, "no_signal": 12}
    (tmp_path / "report.json").write_text(json.dumps(report))
    told = states_of(tmp_path)
    assert told == {"states": 2, "supported": 2, "junk_states": 1, "no_signal": 12}
    stage = {"stage": "vote", "status": "done", **told}
    folds = {"done": 0, "of": 0, "unfinished": []}
    said = format_status(
        {"input": None, "next": None, "jobs": [], "folds": folds, "stages": [stage]}
    )
    assert said.endswith(
        "2 states, 2 supported, 1 of junk beside them, 12 particles voted out as junk"
    )


def test_refined_poses_whose_table_is_gone_go_on_from_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table, refined = Path("a.star"), Path("p/consensus/particles.star")
    refined.parent.mkdir(parents=True)
    for path in (table, refined):
        path.write_text("data_\n")
    given = "alphacryo4d run --i a.star --o p --reclassify"
    for folder, read in (("p/consensus", table), ("p/resample", refined), ("p", refined)):
        entry = describe_input(read, Path(folder), {})
        status = "interrupted" if folder == "p" else "done"
        write_record(Path(folder), status=status, command=given, inputs=[entry],
                     working_folder=str(tmp_path))  # fmt: skip
    assert project_status(Path("p"))["next"] == given
    table.unlink()
    told = project_status(Path("p"))
    assert [stage["status"] for stage in told["stages"][:2]] == ["done", "done"]
    assert told["next"] == given.replace("a.star", str(refined.absolute()))
    lines = format_status(told).splitlines()
    assert lines[0] == f"input        {table.absolute()} (gone)"
    assert lines[1] == f"consensus    done ({table.absolute()} is gone)"
    refined.write_text("other\n")
    assert project_status(Path("p"))["stages"][1]["status"] == "stale"


def test_another_process_of_the_same_number_is_not_the_work(tmp_path: Path) -> None:
    work = Work("resample", {})
    with start_work(tmp_path, work):
        assert job_state(tmp_path)["status"] == "running"
        record = read_job(tmp_path)
        assert record is not None
    record.pop("folder")
    write_record(tmp_path, **record | {"status": "running"})
    assert job_state(tmp_path)["status"] == "running"
    write_record(tmp_path, **record | {"status": "running", "pid_started": 1})
    assert job_state(tmp_path)["status"] == "killed"
