"""Commands in a project folder: what is filled in, and that two projects are never mixed."""

import json
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.cli import main
from alphacryo4d.core.here import fill_from_project, is_project, states_here, table_of_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    for name in ("resample", "landscape", "vote"):
        (folder / name).mkdir(parents=True)
    record = {"inputs": [{"path": "../../particles.star"}], "status": "done"}
    (folder / "resample" / "job.json").write_text(json.dumps(record))
    (tmp_path / "particles.star").touch()
    monkeypatch.chdir(folder)
    return folder


PLACES = {"input_path": "resample", "features": "deepfeature", "output_path": "landscape"}


def test_what_was_not_given_comes_from_the_project(project: Path) -> None:
    values = {"input_path": None, "features": None, "output_path": None}
    fill_from_project(values, **PLACES)
    assert values == {
        "input_path": Path("resample"), "features": None, "output_path": Path("landscape"),
    }  # fmt: skip
    (project / "deepfeature").mkdir()
    fill_from_project(values := dict.fromkeys(values), **PLACES)
    assert values["features"] == Path("deepfeature")
    assert states_here() == "vote"
    table = table_of_project(Path())
    assert table is not None
    assert table.samefile(project.parent / "particles.star")


def test_two_projects_are_never_mixed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "deepfeature").mkdir()
    values = {"input_path": Path("../other/resample"), "features": None, "output_path": None}
    before = dict(values)
    fill_from_project(values, **PLACES)
    assert values == before
    monkeypatch.chdir(project.parent)
    assert not is_project(Path())
    fill_from_project(values := dict.fromkeys(values), **PLACES)
    assert values == dict.fromkeys(values)


@pytest.mark.parametrize(
    "words", [["vote", "reclassify"], ["landscape", "zoom", "--o", "z"], ["run"], ["vote"]]
)
def test_elsewhere_the_input_must_be_given(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "--i" in capsys.readouterr().err  # type: ignore[attr-defined]


def test_a_dry_run_names_what_is_missing_without_i(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, missing in (
        (["vote", "reclassify"], "resample/groups.npy"),
        (["landscape"], "resample/volumes.star"),
        (["train"], "resample/volumes.npy"),
        (["vote"], "resample/assignments.npy"),
    ):
        with pytest.raises(SystemExit, match="3"):
            main([*words, "--dry-run"])
        assert f"{missing}: no such file" in capsys.readouterr().err
    assert not (project / "reclassify").exists()


def test_a_dry_run_says_what_is_new_and_what_stands(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("volumes.npy", "volumes.star"):
        (project / "resample" / name).touch()
    main(["train", "--dry-run"])
    assert "deepfeature: new" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--dry-run", "--gpu", "x"])
    (project / "deepfeature").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--dry-run"])
    assert "is a file; give a folder" in capsys.readouterr().err


def test_single_steps_take_the_embedding_of_the_project(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(project / "landscape" / "embedding.npy", np.random.default_rng(0).normal(size=(6, 2)))
    for words, missing in (
        (["landscape", "energy"], "resample/volumes.star"),
        (["landscape", "path"], "resample/volumes.star"),
        (["landscape", "embed"], "resample/volumes"),
    ):
        with pytest.raises(SystemExit, match="3"):
            main([*words, "--o", str(tmp_path / "out")])
        assert missing in capsys.readouterr().err
    counts = tmp_path / "counts.txt"
    counts.write_text("\n".join("5" for _ in range(6)))
    with pytest.raises(SystemExit, match="2"):  # counts of one's own: not with this embedding
        main(["landscape", "energy", "--o", str(tmp_path / "out"), "--counts", str(counts)])
    assert "--embedding must be given" in capsys.readouterr().err
