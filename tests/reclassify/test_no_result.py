"""A reclassification without a result: what its folder holds then, and what is tried again."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import simulated

from alphacryo4d.core.errors import NoResultError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.reclassify import convergence_stage, rounds_stage, stage
from alphacryo4d.reclassify.options import ReclassifyOptions

QUICK = ReclassifyOptions(
    final_resolution=20.0, initial_resolution=25.0, reconstruct=False, mask_diameter=100.0
)
STILL = replace(QUICK, refine_poses=False)


@pytest.fixture
def project(tmp_path):
    """A hundred particles of two states, their votes and a landscape."""
    rng = np.random.default_rng(4)
    truth = np.repeat([1, 2], 50)
    table, _ = simulated.simulate(tmp_path, truth - 1, 1.0, rng)
    simulated.write_project(tmp_path, table, truth, rng)
    (tmp_path / "landscape").mkdir()
    (tmp_path / "landscape/landscape.csv").write_text("rc1,rc2,energy\n")
    return tmp_path


@pytest.fixture
def tries(monkeypatch):
    """Folders of all tries; those whose poses move have no result, or are interrupted first."""

    class Tries(list):
        interrupted = False

    found = Tries()

    def make(job, *_):
        found.append(job.folder)
        (job.folder / "fold.npz").touch()
        job.complete("round1_b1_f0", [job.folder / "fold.npz"])
        if found.interrupted:
            raise KeyboardInterrupt
        if job.record["options"]["reclassify"]["refine_poses"]:
            raise NoResultError("no states")
        (job.folder / "particles.star").write_text("data_\n")
        job.note(voted=100, states=2)
        job.complete("count", [job.folder / "particles.star"])

    monkeypatch.setattr(stage, "_make", make)
    return found


def none_of(project, options=QUICK, **flags):
    with pytest.raises(NoResultError, match="no states") as raised:
        stage.run_reclassify(
            project, project / "reclassify", options=options, flags=RunFlags(**flags)
        )
    return str(raised.value)


def record_of(project):
    return json.loads((project / "reclassify/job.json").read_text())


def is_without_result(project):
    """Whether the record says so and nothing of older results is left."""
    record = record_of(project)
    return (
        record["status"] == "done"
        and record["results"] == {"no_result": "no states"}
        and not (project / "reclassify/particles.star").exists()
        and not (project / ".reclassify.next").exists()
    )


def test_the_record_is_of_the_last_options_without_a_result(project, tries):
    none_of(project)
    none_of(project, replace(QUICK, rounds=7))
    assert is_without_result(project)
    assert record_of(project)["options"]["reclassify"]["rounds"] == 7
    assert len(tries) == 2
    none_of(project, replace(QUICK, rounds=7))
    assert len(tries) == 2


def test_an_interrupted_try_is_no_result_to_keep(project, tries):
    tries.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        stage.run_reclassify(project, project / "reclassify", options=STILL)
    assert record_of(project)["status"] == "interrupted"
    tries.interrupted = False
    none_of(project)
    assert is_without_result(project)


def test_a_result_of_the_same_votes_stays_where_the_landscape_is_drawn_again(project, tries):
    stage.run_reclassify(project, project / "reclassify", options=STILL)
    before = record_of(project)
    (project / "landscape/landscape.csv").write_text("rc1,rc2,energy\n1,2,3\n")
    said = none_of(project)
    assert "/reclassify stays as it is (refine_poses no -> yes); `vote reclassify` with" in said
    assert record_of(project) == before
    assert (project / "reclassify/particles.star").is_file()
    # it is not tried again with the same options and inputs
    assert none_of(project) == said
    assert tries[1:] == [project / ".reclassify.next"]
    # with others it is, and the folds that were classified stand
    none_of(project, replace(QUICK, rounds=7))
    assert tries[2:] == [project / ".reclassify.next"]
    assert "(refine_poses no -> yes)" in none_of(project)
    assert len(tries) == 4
    stage.run_reclassify(project, project / "reclassify", options=replace(STILL, rounds=7))
    assert record_of(project)["results"] == {"voted": 100, "states": 2}


def test_a_result_of_other_votes_is_replaced(project, tries):
    stage.run_reclassify(project, project / "reclassify", options=STILL)
    assert record_of(project)["results"] == {"voted": 100, "states": 2}
    votes = project / "vote/particles.star"
    votes.write_text(votes.read_text() + "\n# edited\n")
    none_of(project)
    assert is_without_result(project)


def test_overwriting_keeps_nothing(project, tries):
    stage.run_reclassify(project, project / "reclassify", options=STILL)
    none_of(project, overwrite=True)
    assert is_without_result(project)


def test_rounds_that_fall_apart_are_judged_again_from_their_folds(project, monkeypatch):
    """The first round of a real classification, in which no particle gets the votes it needs."""
    folds = []
    fit = rounds_stage.Rounds._fold

    def counted(self, batch, fold, states, count):
        folds.append(fold)
        return fit(self, batch, fold, states, count)

    election = SimpleNamespace(states=np.zeros(100, np.int32), kept=0)
    monkeypatch.setattr(rounds_stage.Rounds, "_fold", counted)
    monkeypatch.setattr(convergence_stage, "elect", lambda *_: (None, election))
    for rounds in (3, 4):  # the folds do not depend on how many rounds there may be
        with pytest.raises(NoResultError, match=r"round 1: .* \(0 of 100 .*--no-refine-poses"):
            stage.run_reclassify(
                project, project / "reclassify", options=replace(QUICK, rounds=rounds)
            )
        assert folds == [0, 1, 2, 3]
    record = record_of(project)
    assert record["status"] == "done"
    assert list(record["results"]) == ["no_result"]
    assert record["options"]["reclassify"]["rounds"] == 4
    assert not (project / "reclassify/.scratch").exists()
