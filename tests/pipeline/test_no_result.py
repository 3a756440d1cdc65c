"""A run whose reclassification falls apart in its first round: the votes are its result."""

import json
import shutil
from pathlib import Path

import pytest
from small_run import call, rerun, times

from alphacryo4d.core.errors import InputError, NoResultError
from alphacryo4d.pipeline.project import Project
from alphacryo4d.reclassify import stage
from alphacryo4d.report.advice import reclassify_signs, reclassify_words
from alphacryo4d.report.commands import served_commands
from alphacryo4d.tools.external import output_nodes

WHY = "round 1: fewer than two states have particles"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders in which rounds of a reclassification fell apart."""
    folders: list[Path] = []

    def fall(job: stage.Job, project: Path, *_: object) -> None:
        folders.append(job.folder)
        if job.record["options"]["reclassify"]["refine_poses"]:
            raise NoResultError(WHY)
        names = ("particles.star", "report.json")
        made = [shutil.copy(project / "vote" / name, job.folder / name) for name in names]
        job.complete("count", made)

    monkeypatch.setattr(stage, "_make", fall)
    return folders


def test_the_votes_are_the_result_and_it_is_not_tried_again(
    home: Path, apart: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project = home / "project"
    again = ("vote", "reclassify", "--i", project, "--o", project / "reclassify")
    assert rerun(home, "--reclassify") == 0
    said = capsys.readouterr()
    assert f"the votes are the result ({WHY})" in said.err
    assert f"{project}/vote/particles.star" in said.out.splitlines()
    assert said.out.splitlines()[-1] == f"{project}/report.html"
    page = (project / "report.html").read_text()
    assert f"--o {project}/reclassify --no-refine-poses" in page
    assert f"no result: {WHY}" in page
    assert call("status", "--i", project) == 0
    told = capsys.readouterr().out
    assert f"reclassify   done, no result: {WHY}" in told
    assert "next         alphacryo4d vote refine" in told
    assert output_nodes(project, reclassified=True)[0][0] == project / "vote/particles.star"
    before = times(project)
    assert rerun(home, "--reclassify") == 0
    assert "already done" in capsys.readouterr().err
    assert times(project) == before
    assert call(*again) == 3
    assert f"error: {WHY}" in capsys.readouterr().err
    assert len(apart) == 1
    with pytest.raises(InputError, match=f"no result: {WHY}"):
        _ = Project(project).reclassified
    assert Project(project).report["per_state"]


def test_a_result_of_the_same_votes_stays(
    home: Path, apart: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project = home / "project"
    words = ("vote", "reclassify", "--i", project, "--o", project / "reclassify")
    assert rerun(home, "--reclassify") == 0
    assert call(*words, "--no-refine-poses") == 0
    record = json.loads((project / "reclassify/job.json").read_text())
    assert record["results"] == {}
    capsys.readouterr()
    assert call(*words) == 3
    way_out = "`vote reclassify` with another --seed, or to another --o, tries again"
    kept = f"{WHY}; {project}/reclassify stays as it is (refine_poses no -> yes); {way_out}"
    assert f"error: {kept}" in capsys.readouterr().err
    assert rerun(home, "--reclassify") == 0
    said = capsys.readouterr()
    assert f"no result; the earlier one is the result ({kept})" in said.err
    assert f"open first: {project}/report.html" in said.err
    table = project / "reclassify/particles.star"
    assert str(table) in said.out.splitlines()
    assert f"{project}/vote/particles.star" not in said.out
    assert output_nodes(project, reclassified=True)[0][0] == table
    assert json.loads((project / "reclassify/job.json").read_text()) == record
    assert f"no result: {WHY}" not in (project / "report.html").read_text()
    assert call("status", "--i", project) == 0
    assert "no result" not in capsys.readouterr().out
    tries = len(apart)
    assert rerun(home, "--reclassify", "--dry-run") == 0
    assert call(*words, "--dry-run") == 0
    assert "redoing" not in capsys.readouterr().err
    assert call(*words) == 3
    assert len(apart) == tries
    assert call(*words, "--seed", 5) == 3
    assert call(*words[:-1], project / "reclassify-2") == 3
    assert len(apart) == tries + 2
    assert json.loads((project / "reclassify/job.json").read_text()) == record


@pytest.mark.parametrize(
    ("options", "tried"),
    [
        ({"reclassify": {"refine_poses": True}}, True),
        ({"reclassify": {"refine_poses": False}}, False),
        (
            {
                "reclassify": {"refine_poses": True},
                "resample": {"classify": {"focus_mask": "mask.mrc"}},
            },
            False,
        ),
    ],
)
def test_poses_that_stayed_are_not_proposed_again(
    tmp_path: Path, options: dict[str, object], tried: bool
) -> None:
    (tmp_path / "reclassify").mkdir()
    record = {"status": "done", "options": options, "results": {"no_result": WHY}}
    (tmp_path / "reclassify/job.json").write_text(json.dumps(record))
    words = reclassify_words(tmp_path, "vote", ["vote"])
    assert (words is not None) == tried
    if words is not None:
        assert words[-1] == "--no-refine-poses"
    assert "reclassify" in served_commands(tmp_path) or not tried
    assert reclassify_signs(tmp_path, "vote")[0]["text"] == f"no result: {WHY}"
    assert reclassify_signs(tmp_path, "vote-2") == []


def test_a_demo_without_it_is_scored_by_its_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "project/report.html"
    monkeypatch.setattr("alphacryo4d.assessment.stage.simulate_demo", lambda *_, **__: None)
    monkeypatch.setattr(
        "alphacryo4d.assessment.score_stage.run_score", lambda *_, **__: ([], {"precision": 1.0})
    )
    monkeypatch.setattr("alphacryo4d.pipeline.stages.run_pipeline", lambda *_, **__: [page])
    assert call("demo", "--o", tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["score"] == {"precision": 1.0}
    assert told["reclassified"] is None
