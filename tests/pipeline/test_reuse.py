"""The second run on a project: only what a change touches is done again, as a fresh run would."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from alphacryo4d.core import files
from alphacryo4d.core.job import read_job
from alphacryo4d.deepfeature.options import DeepFeatureOptions, TrainOptions
from alphacryo4d.landscape.options import (
    EmbedOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions
from alphacryo4d.pipeline.options import ParticleLandscapeOptions, PipelineOptions
from alphacryo4d.pipeline.plan import plan_run, plan_text
from alphacryo4d.pipeline.stages import run_pipeline
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.voting.options import VoteOptions

pytestmark = pytest.mark.slow
OPTIONS = PipelineOptions(
    resample=ResampleOptions(minimum_class_size=5),
    classify=ClassifyOptions(classes="4", components=3, iterations=2),
    deepfeature=DeepFeatureOptions(train=TrainOptions(epochs=1)),
    landscape=LandscapeOptions(
        path=PathOptions(images=30, bootstrap=0, stepmax=200), states=StatesOptions(states="3")
    ),
    vote=VoteOptions(test=False, reconstruct=False),
)
STAGES = (files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE, files.VOTE)
WATCHED = {
    "split": "resample/groups.npy",
    "folds": "resample/batch1/u123/run_it002_class001.mrc",
    "gather": "resample/volumes.npy",
    "train": "deepfeature/weights.npz",
    "extract": "deepfeature/features.npy",
    "embed": "landscape/embedding.npy",
    "path": "landscape/path.npy",
    "states": "landscape/states.star",
    "count": "vote/particles.star",
}


@pytest.fixture(scope="module")
def finished(easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("reuse") / "project"
    run_pipeline(easy_data / "particles.star", project, options=OPTIONS)
    return project


def changed(part: str, **values: object) -> PipelineOptions:
    """The options with one of them changed."""
    if "." in part:
        whole, inner = part.split(".")
        old = getattr(OPTIONS, whole)
        values = {inner: replace(getattr(old, inner), **values)}
        part = whole
    return replace(OPTIONS, **{part: replace(getattr(OPTIONS, part), **values)})


def times(project: Path) -> dict[str, int]:
    return {
        step: (project / name).stat().st_mtime_ns
        for step, name in WATCHED.items()
        if (project / name).exists()
    }


FROM_LANDSCAPE = ("embed", "path", "states", "count")
FROM_TRAIN = ("train", "extract", *FROM_LANDSCAPE)
MATRIX = [
    (changed("vote", threshold="2"), ("count",)),
    (changed("vote", assign="nearest"), ("count",)),
    (changed("landscape.states", states="2"), ("states", "count")),
    (changed("landscape.states", centers="path"), ("states", "count")),
    (changed("landscape.states", centers="minima"), ("states", "count")),
    (changed("landscape.embed", perplexity=4.0), FROM_LANDSCAPE),
    (changed("deepfeature.train", epochs=2), FROM_TRAIN),
    (changed("deepfeature.train", regularization=1e-3), FROM_TRAIN),
    (changed("resample", box="full"), ("gather", *FROM_TRAIN)),
    (changed("classify", iterations=3), ("folds", "gather", *FROM_TRAIN)),
    (changed("classify", classes="3"), ("folds", "gather", *FROM_TRAIN)),
    (changed("resample", minimum_class_size=6), ("folds", "gather", *FROM_TRAIN)),
    (changed("resample", folds=5), tuple(WATCHED)),
    (changed("resample", batch_size=500), tuple(WATCHED)),
]


@pytest.mark.parametrize(("options", "redone"), MATRIX)
def test_every_option_redoes_its_steps_and_those_after(
    finished: Path, easy_data: Path, options: PipelineOptions, redone: tuple[str, ...]
) -> None:
    plans = plan_run(easy_data / "particles.star", finished, options, 0)
    steps = {step for _, plan in plans for step in plan.redone}
    watched = {"folds" if step.startswith("batch1/u") else step for step in steps} & set(WATCHED)
    assert watched == set(redone)
    stages = {WATCHED[step].split("/")[0] for step in redone}
    assert {name for name, plan in plans if plan.kind == "redo"} == stages


def test_the_matrix_knows_every_option_of_the_command() -> None:
    from alphacryo4d.pipeline.cli import run

    known = {"resample", "classify", "train", "states", "embed", "vote"}
    names = {p.name for p in run.params if p.name}
    assert {n for n in names if n.split("_")[0] in known} <= {
        "train_epochs", "train_regularization", "states_states", "states_centers",
        "embed_perplexity", "vote_assign", "vote_threshold",
    }  # fmt: skip


def contents(project: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.suffix in (".npy", ".star", ".mrc", ".csv", ".npz", ".toml")
    }


@pytest.mark.parametrize(
    "options",
    [
        changed("landscape.states", states="2"),
        changed("vote", threshold="2"),
    ],
)
def test_a_changed_project_is_as_a_fresh_one(
    finished: Path, easy_data: Path, tmp_path: Path, options: PipelineOptions,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    table, project = easy_data / "particles.star", tmp_path / "project"
    caplog.set_level("INFO", "alphacryo4d")
    shutil.copytree(finished, project)
    before, plans = times(project), plan_run(table, project, options, 0)
    run_pipeline(table, project, options=options)
    assert plan_text(plans) in caplog.text
    planned = {WATCHED[s] for _, plan in plans for s in plan.redone if s in WATCHED}
    after = times(project)
    assert {WATCHED[step] for step in after if after[step] != before[step]} == planned
    fresh = tmp_path / "fresh"
    shutil.copytree(finished / "resample", fresh / "resample")
    shutil.copytree(finished / "deepfeature", fresh / "deepfeature")
    run_pipeline(table, fresh, options=options)
    assert contents(project) == contents(fresh)


def test_reclassification_is_all_that_is_new(finished: Path, easy_data: Path) -> None:
    options = replace(OPTIONS, reclassify=ReclassifyOptions())
    plans = plan_run(easy_data / "particles.star", finished, options, 0)
    text = plan_text(plans)
    assert text == "resample, deepfeature, landscape, vote unchanged; new: reclassify"


def test_a_particle_landscape_is_all_that_is_new_and_stands_afterwards(
    finished: Path, easy_data: Path, tmp_path: Path
) -> None:
    project, table = tmp_path / "project", easy_data / "particles.star"
    shutil.copytree(finished, project)
    quick = CoordinateOptions(
        components=2, iterations=1, final_resolution=15.0, initial_resolution=20.0
    )
    few = DensityOptions(gaussians=2, images=11, path_volumes=2)
    options = replace(OPTIONS, particle_landscape=ParticleLandscapeOptions(quick, few))
    text = plan_text(plan_run(table, project, options, 0))
    assert text == "resample, deepfeature, landscape, vote unchanged; new: particle_landscape"
    before = times(project)
    made = run_pipeline(table, project, options=options)
    assert times(project) == before
    assert made[-1] == project / "report.html"
    assert project / "vote" / "particles.star" in made
    assert project / "particle_landscape" / "coordinates.npy" in made
    assert "held-out particle" in made[-1].read_text()
    text = plan_text(plan_run(table, project, options, 0))
    assert text == "resample, deepfeature, landscape, vote, particle_landscape unchanged"
    assert run_pipeline(table, project, options=options) == made


def test_the_plan_names_stages_options_and_reasons(finished: Path, easy_data: Path) -> None:
    options = changed("landscape.states", states="auto")
    assert plan_text(plan_run(easy_data / "particles.star", finished, options, 0)) == (
        "resample, deepfeature unchanged; redoing landscape, vote because states 3 -> auto"
    )


def test_a_copied_and_a_moved_project_are_known(
    finished: Path, easy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "other disk"
    shutil.copytree(finished, home / "project")
    shutil.copytree(easy_data, home / "data")
    monkeypatch.chdir(home)
    for table in (easy_data / "particles.star", Path("data/particles.star")):
        plans = plan_run(table, Path("project"), OPTIONS, 0)
        assert {plan.kind for _, plan in plans} == {"unchanged"}
    record = read_job(home / "project" / "landscape")
    assert record is not None
    assert record["inputs"][0]["path"] == "../resample/volumes.star"


def test_another_embedding_with_the_same_options_is_found_by_content(
    finished: Path, easy_data: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    table = easy_data / "particles.star"
    (project / "resample" / "volumes.star").touch()
    assert {plan.kind for _, plan in plan_run(table, project, OPTIONS, 0)} == {"unchanged"}
    options = replace(OPTIONS, landscape=replace(OPTIONS.landscape, embed=EmbedOptions(memory=2)))
    assert {plan.kind for _, plan in plan_run(table, project, options, 0)} == {"unchanged"}


def test_a_table_at_another_place_is_taken_where_the_first_is_gone(
    finished: Path, easy_data: Path, tmp_path: Path
) -> None:
    project, moved = tmp_path / "project", tmp_path / "moved.star"
    shutil.copytree(finished, project)
    shutil.copy(easy_data / "particles.star", moved)
    for path in project.glob("*/job.json"):
        text = path.read_text().replace("/particles.star", "/gone.star")
        path.write_text(text.replace("vote/gone.star", "vote/particles.star"))
    run_pipeline(moved, project, options=changed("vote", threshold="2"))
    vote, resample = read_job(project / "vote"), read_job(project / "resample")
    assert vote is not None
    assert resample is not None
    assert vote["options"]["vote"]["threshold"] == "2"
    assert Path(resample["inputs"][0]["near"]).name == "moved.star"
