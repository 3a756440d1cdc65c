"""Checks beside a landscape and votes: the page shows them, and proposes what can be run."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_project import write_project

from alphacryo4d.core.identity import describe_input
from alphacryo4d.report.checks import null_words, stability_words
from alphacryo4d.report.commands import served_commands
from alphacryo4d.report.ending import ending
from alphacryo4d.report.project_files import last_set
from alphacryo4d.report.stage import project_data
from alphacryo4d.selection.sets_stage import known_selections

NULL = {"data": {"heldout_agreement": 0.9}, "one_conformation": {"heldout_agreement": 0.3}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, particles=80, states=2)


def with_checks(project: Path) -> tuple[Path, Path]:
    """What the commands of the page leave."""
    stability, null = project / "landscape-stability", project / "vote-null"
    shutil.copytree(project / "landscape", stability)
    head = "seed,perplexity,procrustes_disparity,kept_neighbours"
    (stability / "stability.csv").write_text(f"{head}\n1,30,0.12,0.9\n")
    shutil.copytree(project / "vote", null)
    report = json.loads((null / "report.json").read_text())
    (null / "report.json").write_text(json.dumps(report | {"null": NULL}))
    return stability, null


def signs_of(project: Path) -> dict[str, str]:
    """Words of the signs of the only set of states by their titles."""
    (shown,) = project_data(project)[0]["sets"]
    return {one["title"]: one["text"] for one in shown["signs"]}


def proposed(project: Path) -> list[str]:
    (shown,) = project_data(project)[0]["sets"]
    return [one["command"] for one in shown["commands"]]


def test_results_beside_landscape_and_votes_are_shown_and_not_proposed_again(project: Path) -> None:
    assert any(command.endswith("--null") for command in proposed(project))
    assert any(command.endswith("--stability") for command in proposed(project))
    with_checks(project)
    signs = signs_of(project)
    assert "disparity of 1 other embeddings 0.12" in signs["Embedding stable"]
    assert "held-out agreement 90% against its 30%" in signs["Null model"]
    assert not any(command.endswith(("--null", "--stability")) for command in proposed(project))


def test_those_of_another_embedding_and_of_other_votes_are_not(project: Path) -> None:
    stability, null = with_checks(project)
    np.save(stability / "embedding.npy", np.load(stability / "embedding.npy") + 1)
    np.save(null / "votes.npy", np.load(null / "votes.npy")[:, ::-1])
    signs = signs_of(project)
    assert signs["Embedding stable"].startswith("not tested")
    assert signs["Null model"].startswith("not run")


def test_votes_for_a_null_model_are_no_set_of_states(project: Path) -> None:
    with_checks(project)
    assert last_set(project) == "vote"
    assert known_selections(project) == ["vote"]


def test_the_last_lines_say_what_the_checks_found(project: Path) -> None:
    stability, null = with_checks(project)
    result, opened, first, _ = ending("landscape", stability)
    assert "embedding stable: largest disparity of 1 other embeddings 0.12" in result
    assert opened == f"open first: {stability / 'stability.png'}"
    assert first == f"next: alphacryo4d report --i {project}"
    result, _, first, _ = ending("vote", null)
    assert "null model: one simulated conformation fails the test of states" in result
    assert first == f"next: alphacryo4d report --i {project}"


def write_options(folder: Path, **changed: Any) -> None:
    record = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(record | changed))


def test_the_checks_are_of_what_was_made(project: Path) -> None:
    """Options of the embedding and of the votes are those of the landscape and votes."""
    assert "--features" in stability_words(project)
    write_options(project / "landscape", seed=3, options={"embed": {"perplexity": 12.0}})
    words = stability_words(project)
    assert words[words.index("--perplexity") + 1] == "12.0"
    assert words[words.index("--seed") + 1] == "3"
    write_options(project / "vote", options={"vote": {"threshold": "2/3", "test": False}})
    assert "--threshold 2/3 --o" in " ".join(null_words(project))
    assert "--no-test" not in null_words(project)


def test_without_a_network_its_features_are_not_proposed(project: Path) -> None:
    record = json.loads((project / "landscape" / "job.json").read_text())
    write_options(project / "landscape", inputs=record["inputs"][:1])
    assert "--features" not in stability_words(project)
    assert "--features" not in served_commands(project)["stability"]
    assert "--features" not in project_data(project)[0]["path_command"]


def test_features_of_another_folder_are_those_of_the_check(project: Path) -> None:
    """A landscape of a second network, or of one that was kept elsewhere."""
    other = project.parent / "network-2"
    shutil.copytree(project / "deepfeature", other)
    record = json.loads((project / "landscape" / "job.json").read_text())
    features = [one for one in record["inputs"] if one["path"].endswith("features.npy")]
    rest = [one for one in record["inputs"] if one not in features]
    there = describe_input(other / "features.npy", project / "landscape", {})
    write_options(project / "landscape", inputs=[*rest, there])
    words = stability_words(project)
    assert words[words.index("--features") + 1] == str(other)
    assert f"--features {other}" in project_data(project)[0]["path_command"]
    shutil.rmtree(other)
    assert "--features" not in stability_words(project)
