"""What a changed run leaves out of date is said beforehand."""

import json
from pathlib import Path

import pytest
from small_run import rerun

from alphacryo4d.core.plan import NEW, REDO, UNCHANGED, Plan
from alphacryo4d.pipeline.plan import out_of_date, plan_lines


def write_record(project: Path, name: str, *inputs: str, outputs: tuple[str, ...]) -> None:
    folder = project / name
    folder.mkdir(parents=True)
    record = {
        "status": "done",
        "inputs": [{"path": str(project / one)} for one in inputs],
        "outputs": list(outputs),
        "steps": {"count": list(outputs)},
    }
    (folder / "job.json").write_text(json.dumps(record))


def test_results_that_rest_on_what_is_made_again_are_named(tmp_path: Path) -> None:
    """Also those that rest on such results; those of stages that stand are not."""
    write_record(tmp_path, "landscape", outputs=("states.star",))
    write_record(tmp_path, "vote", "landscape/states.star", outputs=("particles.star",))
    write_record(tmp_path, "vote-2", "landscape/states.star", outputs=("particles.star",))
    write_record(tmp_path, "a-refine", "vote-2/particles.star", outputs=("refine.sh",))
    write_record(tmp_path, "landscape2", "resample/volumes.star", outputs=("states.star",))
    write_record(tmp_path, ".vote-2.next", "landscape/states.star", outputs=("particles.star",))
    redo = Plan(REDO, {}, ("count",), ("states 4 -> 12",))
    plans = [("resample", Plan(UNCHANGED)), ("landscape", redo), ("vote", redo)]
    assert out_of_date(tmp_path, plans) == ["vote-2", "a-refine"]
    first, second = plan_lines(tmp_path, plans)
    assert first == "resample unchanged; redoing landscape, vote because states 4 -> 12"
    assert second.endswith(": vote-2, a-refine")
    votes = [("landscape", Plan(UNCHANGED)), ("vote", redo)]
    assert out_of_date(tmp_path, votes) == []
    assert plan_lines(tmp_path, votes)[1:] == []
    everything = [("landscape", Plan(NEW)), ("vote", Plan(NEW))]
    assert plan_lines(tmp_path, everything) == [second]
    assert plan_lines(tmp_path / "new", everything) == []


def test_records_of_other_programs_are_passed_over(tmp_path: Path) -> None:
    """As cryoSPARC writes into its jobs; and a record that names no outputs."""
    write_record(tmp_path, "vote", outputs=("particles.star",))
    write_record(tmp_path, "vote-maps", "vote/particles.star", outputs=("class001.mrc",))
    for name, record in (
        ("J12", {"status": "done", "inputs": {"particles": "J11"}}),
        ("bare", {"status": "done", "inputs": [{"path": str(tmp_path / "vote/particles.star")}]}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.json").write_text(json.dumps(record))
    redo = Plan(REDO, {}, ("count",), ("threshold 2 -> 3",))
    assert out_of_date(tmp_path, [("vote", redo)]) == ["bare", "vote-maps"]


def test_all_is_out_of_date_where_all_is_done_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = home / "project"
    write_record(project, "a-refine", "vote/particles.star", outputs=("refine.sh",))
    assert rerun(home, "--overwrite", "--dry-run") == 0
    said = capsys.readouterr().err
    assert "would split" in said
    assert said.count("out of date then") == 1
    assert "given again: a-refine" in said
    assert rerun(home, "--dry-run") == 0
    assert "out of date" not in capsys.readouterr().err
