"""AlphaCryo4D as an External job of a real RELION project, and a further job on its output."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import net

from alphacryo4d.io.mrc import read_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.particles.open import open_table

pytestmark = [pytest.mark.relion, pytest.mark.slow]
EMPTY_PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n \n"


def pipeliner(project: Path, *words: str) -> str:
    done = subprocess.run(
        ["relion_pipeliner", *words],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=net(160),
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return done.stdout + done.stderr


def add_job(project: Path, kind: str, **options: str) -> None:
    text = ";".join(f"{name} == {value}" for name, value in options.items())
    pipeliner(project, "--addJob", kind, "--addJobOptions", text)


@pytest.fixture(scope="module")
def project(easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RELION project in which the External job has run."""
    folder = tmp_path_factory.mktemp("relion_project")
    (folder / ".gui_projectdir").touch()
    (folder / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    for path in easy_data.iterdir():
        (folder / path.name).symlink_to(path)
    text = (easy_data / "particles.star").read_text().replace(f"{easy_data}/", "")
    (folder / "particles.star").unlink()
    (folder / "particles.star").write_text(text)
    parameters = {"classes": "5", "components": "4", "iter": "3", "states": "4", "epochs": "1"}
    labels = {
        f"param{i}_{what}": text
        for i, pair in enumerate(parameters.items(), 1)
        for what, text in zip(("label", "value"), pair, strict=True)
    }
    add_job(
        folder, "External", fn_exe="alphacryo4d external", in_part="particles.star",
        nr_threads="2", **labels,
    )  # fmt: skip
    pipeliner(
        folder, "--RunJobs", "External/job001/", "--schedule", "run1", "--sec_wait_after", "1"
    )
    return folder


def log(project: Path) -> str:
    job = project / "External/job001"
    return "".join((job / name).read_text() for name in ("run.out", "run.err"))


def test_relion_sees_the_job_as_finished(project: Path) -> None:
    assert (project / "External/job001/RELION_JOB_EXIT_SUCCESS").is_file(), log(project)
    processes = read_tables(project / "default_pipeline.star")["pipeline_processes"]
    finished = dict(
        zip(processes["rlnPipeLineProcessName"], processes["rlnPipeLineProcessStatus"], strict=True)
    )
    assert finished["External/job001/"] == 2


def test_states_are_nodes_of_the_pipeline(project: Path) -> None:
    nodes = read_tables(project / "default_pipeline.star")["pipeline_nodes"]
    types = [int(kind) for kind in nodes["rlnPipeLineNodeType"]]
    kinds = dict(zip(nodes["rlnPipeLineNodeName"], types, strict=True))
    assert kinds["External/job001/vote/particles.star"] == 3
    for number in range(1, 5):
        assert kinds[f"External/job001/vote/class{number:03d}.star"] == 3


def test_a_voted_state_can_be_reconstructed_by_relion(project: Path) -> None:
    table = "External/job001/vote/class001.star"
    subprocess.run(
        ["relion_reconstruct", "--i", table, "--o", "state1.mrc", "--ctf"],
        cwd=project, check=True, capture_output=True,
    )  # fmt: skip
    volume, _ = read_volume(project / "state1.mrc")
    assert np.ptp(volume) > 0


def test_relion_star_handler_reads_the_voted_table(project: Path) -> None:
    table = project / "External/job001/vote/particles.star"
    subprocess.run(
        ["relion_star_handler", "--i", str(table.relative_to(project)), "--o", "selected.star",
         "--select", "rlnClassNumber", "--minval", "1", "--maxval", "1"],
        cwd=project, check=True, capture_output=True,
    )  # fmt: skip
    classes = open_table(table).read(["rlnClassNumber"])["rlnClassNumber"]
    assert open_table(project / "selected.star").rows == (classes == 1).sum()
