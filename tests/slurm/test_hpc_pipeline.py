"""The shell pipeline and the batch script on a real Slurm, the Snakefile with Snakemake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_until

from alphacryo4d.io.cs import read_cs
from alphacryo4d.particles.open import open_table
from alphacryo4d.tools.convert import convert

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(sys.executable).with_name("alphacryo4d")
OPTIONS = {
    "RESAMPLE": "--classes 5 --components 3 --iter 3 --limit-resolution 25 --minimum-class-size 5",
    "TRAIN": "--epochs 1",
    "LANDSCAPE": "--states 3 --perplexity 5",
    "VOTE": "--no-reconstruct --no-test",
}
PARTICLES = 320


@pytest.fixture(scope="module")
def particles(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("particles")
    words = "--i small-hinge --particles-per-state 40 --box 32 --pixel-size 5.25 --snr 1"
    subprocess.run(
        [PROGRAM, "simulate", *words.split(), "--snr-box", "32", "--o", str(folder)], check=True
    )
    table = folder / "particles.star"
    assert open_table(table).rows == PARTICLES
    convert(table, folder / "particles.cs")
    return table


def check_project(project: Path) -> None:
    """Every particle is voted or voted out, and the states' tables hold the voted ones."""
    states = open_table(project / "vote" / "particles.star").read(["rlnClassNumber"])
    states = states["rlnClassNumber"]
    assert len(states) == PARTICLES
    assert (states > 0).mean() > 0.3
    for state in np.unique(states[states > 0]):
        table = open_table(project / "vote" / f"class{state:03d}.star")
        assert table.rows == (states == state).sum()
    features = np.load(project / "deepfeature" / "features.npy")
    assert len(features) == len(np.load(project / "landscape" / "embedding.npy"))


def wait_for_jobs(jobs: list[str], logs: Path, usual_seconds: float) -> None:
    def ended() -> bool:
        left = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True)
        return not any(line.split()[0] in jobs for line in left.stdout.splitlines())

    def said() -> list[str]:
        return [path.read_text()[-500:] for path in logs.glob("*.err")]

    wait_until(ended, usual_seconds, pause=1, said=said)


@pytest.fixture(scope="module")
def projects(slurm, particles, tmp_path_factory) -> dict[str, Path]:
    """Projects that the shell pipeline and the batch script made, side by side on one node.

    The pipeline starts from a STAR table, the batch script from cryoSPARC's format.
    """
    folder = tmp_path_factory.mktemp("projects")
    project = {name: folder / name for name in ("pipeline", "batch")}
    environment = {**os.environ, **OPTIONS, "ALPHACRYO4D": str(PROGRAM)}
    done = subprocess.run(
        ["bash", str(ROOT / "envs" / "hpc_pipeline.sh"), str(particles), str(project["pipeline"])],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    jobs = [line.split()[1] for line in done.stdout.splitlines()]
    assert len(jobs) == 4
    words = [word for name in ("RESAMPLE", "TRAIN", "LANDSCAPE") for word in OPTIONS[name].split()]
    done = subprocess.run(
        ["sbatch", "--parsable", "--cpus-per-task=1", str(ROOT / "envs" / "slurm.sbatch"),
         str(particles.with_suffix(".cs")), str(project["batch"]), *words],
        cwd=folder, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wait_for_jobs([*jobs, done.stdout.strip()], folder, 60)
    return project


@pytest.mark.slurm
@pytest.mark.parametrize("name", ["pipeline", "batch"])
def test_scripts_run_all_stages_on_slurm(projects, name):
    project = projects[name]
    logs = [*project.glob("logs/*.err"), *project.parent.glob("*.err")]
    record = project / "vote" / "job.json"
    assert record.is_file(), [path.read_text()[-800:] for path in logs]
    assert json.loads(record.read_text())["status"] == "done"
    check_project(project)


@pytest.mark.slurm
def test_cs_particles_come_back_as_cs(projects, particles):
    """Every field of the voted particles as it was, one file a state and one of all."""
    vote = projects["batch"] / "vote"
    before = read_cs(particles.with_suffix(".cs"))
    states = open_table(vote / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]
    assert read_cs(vote / "particles.cs")["uid"].tolist() == before["uid"].tolist()
    for state in np.unique(states[states > 0]):
        particles_of_state = read_cs(vote / f"class{state:03d}.cs")
        assert particles_of_state.dtype == before.dtype
        assert particles_of_state.tobytes() == before[states == state].tobytes()
    assert len(list(vote.glob("class*.cs"))) == len(np.unique(states[states > 0]))


@pytest.mark.slurm
def test_the_batch_script_passes_the_time_limit_on(slurm, tmp_path):
    """Slurm warns the script before its time is over; the run stops where it can go on."""
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/bash\ntrap 'echo stopped; exit 143' TERM\necho \"$@\"\n"
        "for i in $(seq 6000); do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    job = subprocess.run(
        ["sbatch", "--parsable", str(ROOT / "envs" / "slurm.sbatch"), "p.star", "project", "--x"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "ALPHACRYO4D": str(program)},
    ).stdout.strip()  # fmt: skip
    out = tmp_path / f"alphacryo4d_{job}.out"
    wait_until(lambda: out.is_file() and out.read_text(), 5, pause=0.2)
    assert out.read_text() == "run --i p.star --o project --j 2 --continue --x\n"
    subprocess.run(["scancel", "--batch", "--signal=TERM", job], check=True)
    wait_for_jobs([job], tmp_path, 5)
    assert out.read_text().endswith("\nstopped\n")


def test_the_snakefile_runs_and_then_has_nothing_to_do(snakemake, particles, tmp_path):
    options = {"resample": "RESAMPLE", "train": "TRAIN", "landscape": "LANDSCAPE", "vote": "VOTE"}
    command = [snakemake, "-s", str(ROOT / "envs" / "Snakefile"), "--cores", "2", "--config"]
    command += [f"particles={particles}", "project=project", f"alphacryo4d={PROGRAM}"]
    command += [f"{rule}={OPTIONS[name]}" for rule, name in options.items()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    check_project(tmp_path / "project")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in again.stderr + again.stdout
