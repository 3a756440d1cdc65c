"""A run whose reclassification falls apart in its first round: the votes are its result."""

import json
from pathlib import Path

import pytest
from small_run import call, rerun, times

from alphacryo4d.core.errors import InputError, NoResultError
from alphacryo4d.pipeline.project import Project
from alphacryo4d.reclassify import stage
from alphacryo4d.tools.external import output_nodes

WHY = "round 1: fewer than two states have particles"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders in which rounds of a reclassification fell apart."""
    folders: list[Path] = []

    def fall(job: stage.Job, *_: object) -> None:
        folders.append(job.folder)
        if job.record["options"]["reclassify"]["refine_poses"]:
            raise NoResultError(WHY)
        (job.folder / "made.json").write_text("{}")
        job.complete("count", [job.folder / "made.json"])

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
    assert call("status", "--i", project) == 0
    told = capsys.readouterr().out
    assert f"reclassify   done, no result: {WHY}" in told
    assert "next         alphacryo4d report" in told
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


def test_a_result_of_the_same_votes_stays(home: Path, apart: list[Path]) -> None:
    project = home / "project"
    words = ("vote", "reclassify", "--i", project, "--o", project / "reclassify")
    assert rerun(home, "--reclassify") == 0
    assert call(*words, "--no-refine-poses") == 0
    record = json.loads((project / "reclassify/job.json").read_text())
    assert record["results"] == {}
    assert call(*words) == 3
    assert rerun(home, "--reclassify") == 0
    assert json.loads((project / "reclassify/job.json").read_text()) == record
    assert len(apart) == 4
