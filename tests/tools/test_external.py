"""The External job's protocol, without RELION."""

import signal
import time
from pathlib import Path

import click
import pytest

from alphacryo4d.core.errors import InterruptedRun, UsageError
from alphacryo4d.io.star import read_tables
from alphacryo4d.pipeline.cli import run
from alphacryo4d.relion.version import Version
from alphacryo4d.tools.external import (
    ABORT_NOW,
    ABORTED,
    FAILURE,
    SUCCESS,
    external_job,
    output_nodes,
    write_output_nodes,
)
from alphacryo4d.tools.external_cli import external, run_words


def marks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("RELION_JOB_EXIT_*"))


def test_success_is_told(tmp_path: Path) -> None:
    with external_job(tmp_path / "job"):
        assert marks(tmp_path / "job") == []
    assert marks(tmp_path / "job") == [SUCCESS]


def test_failure_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError), external_job(tmp_path):
        raise UsageError("wrong")
    assert marks(tmp_path) == [FAILURE]


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_no_failure(tmp_path: Path, ended: BaseException) -> None:
    with pytest.raises(type(ended)), external_job(tmp_path):
        raise ended
    assert marks(tmp_path) == [ABORTED]


def test_a_signal_that_a_library_made_an_error_of_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphacryo4d.tools.external.asked_to_end", KeyboardInterrupt)
    with pytest.raises(UsageError), external_job(tmp_path):
        raise UsageError("made of a signal")
    assert marks(tmp_path) == [ABORTED]


def test_marks_of_an_older_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / FAILURE).touch()
    with external_job(tmp_path):
        pass
    assert marks(tmp_path) == [SUCCESS]


def wish_to_stop(folder: Path) -> None:
    with external_job(folder, interval=0.05):
        (folder / ABORT_NOW).touch()
        time.sleep(300)


def test_the_wish_to_stop_ends_the_work(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise InterruptedRun("stopped")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(InterruptedRun):
            wish_to_stop(tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert marks(tmp_path) == [ABORTED]


@pytest.mark.parametrize(
    ("version", "columns"),
    [
        (Version(3, 1, 3), ["rlnPipeLineNodeName", "rlnPipeLineNodeType"]),
        (Version(4, 0), ["rlnPipeLineNodeName", "rlnPipeLineNodeTypeLabel"]),
        (Version(5, 0), ["rlnPipeLineNodeName", "rlnPipeLineNodeTypeLabel"]),
        (None, ["rlnPipeLineNodeName", "rlnPipeLineNodeType", "rlnPipeLineNodeTypeLabel"]),
    ],
)
def test_nodes_are_written_as_each_version_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Version | None, columns: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Path("External/job001")
    vote = job / "vote"
    vote.mkdir(parents=True)
    for name in ("particles.star", "class001.star", "class001.mrc", "class001_half1_unfil.mrc"):
        (vote / name).touch()
    path = write_output_nodes(job, output_nodes(job), version=version)
    table = read_tables(path)["output_nodes"]
    assert list(table.columns) == columns
    if "rlnPipeLineNodeTypeLabel" in columns:
        word = "ParticlesData" if version == Version(4, 0) else "ParticleGroupMetadata"
        labels = [f"{word}.star.relion", f"{word}.star.relion", "DensityMap.mrc"]
        assert list(table["rlnPipeLineNodeTypeLabel"]) == [*labels, "DensityMap.mrc.halfmap"]
    assert list(table["rlnPipeLineNodeName"]) == [
        f"External/job001/vote/{name}"
        for name in ("particles.star", "class001.star", "class001.mrc", "class001_half1_unfil.mrc")
    ]


def call(job: Path, *words: str) -> None:
    (job.parent / "particles.star").touch()
    given = ["--o", str(job), "--in_parts", str(job.parent / "particles.star"), *words]
    external.main([*given, "--classes", "5"], standalone_mode=False)


@pytest.mark.parametrize(("words", "folder"), [(["--reclassify", ""], "reclassify"), ([], "vote")])
def test_nodes_are_the_last_states_that_the_run_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("vote", "reclassify"):
        (tmp_path / "job" / name).mkdir(parents=True)
        (tmp_path / "job" / name / "particles.star").touch()
    monkeypatch.setattr(run, "callback", lambda **_: None)
    call(tmp_path / "job", *words)
    nodes = read_tables(tmp_path / "job/RELION_OUTPUT_NODES.star")["output_nodes"]
    assert list(nodes["rlnPipeLineNodeName"]) == [f"job/{folder}/particles.star"]
    assert marks(tmp_path / "job") == [SUCCESS]


def test_an_interrupt_of_the_run_inside_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "callback", interrupt)
    with pytest.raises(click.Abort):
        call(tmp_path / "job")
    assert marks(tmp_path / "job") == [ABORTED]


def test_relions_call_becomes_a_run() -> None:
    words = run_words(
        ["--classes", "5x8", "--limit_resolution", "12", "--submit", ""],
        Path("External/job001/"),
        Path("particles.star"),
        threads=4,
    )
    assert " ".join(words) == (
        "--classes 5x8 --limit_resolution 12 --submit --j 4 --i particles.star --o External/job001"
    )
