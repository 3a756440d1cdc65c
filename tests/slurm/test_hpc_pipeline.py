"""The shell pipeline and the batch script on a real Slurm, the Snakefile with Snakemake."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.star import open_table

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(sys.executable).with_name("alphacryo4d")
OPTIONS = {
    "RESAMPLE": "--classes 6 --iterations 5 --limit-resolution 25 --minimum-class-size 5",
    "TRAIN": "--epochs 2",
    "LANDSCAPE": "--states 3 --perplexity 5",
    "VOTE": "--no-reconstruct --no-test",
}
PARTICLES = 480


@pytest.fixture(scope="module")
def particles(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("particles")
    words = "--i small-hinge --particles-per-state 60 --box 32 --pixel-size 5.25 --snr 1"
    subprocess.run(
        [PROGRAM, "simulate", *words.split(), "--snr-box", "32", "--o", str(folder)], check=True
    )
    table = folder / "particles.star"
    assert open_table(table).rows == PARTICLES
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


def wait_for_jobs(jobs: list[str], logs: Path, minutes: float = 5) -> None:
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        left = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True)
        if not any(line.split()[0] in jobs for line in left.stdout.splitlines()):
            return
        time.sleep(1)
    pytest.fail(f"jobs did not end: {[path.read_text()[-500:] for path in logs.glob('*.err')]}")


@pytest.mark.slurm
@pytest.mark.slow
def test_the_shell_pipeline_runs_on_slurm(slurm, particles, tmp_path):
    project = tmp_path / "project"
    done = subprocess.run(
        ["bash", str(ROOT / "envs" / "hpc_pipeline.sh"), str(particles), str(project)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **OPTIONS, "ALPHACRYO4D": str(PROGRAM)},
    )
    assert done.returncode == 0, done.stderr
    jobs = [line.split()[1] for line in done.stdout.splitlines()]
    assert len(jobs) == 4
    wait_for_jobs(jobs, project / "logs")
    assert (project / "vote" / "job.json").is_file(), [
        path.read_text()[-800:] for path in (project / "logs").glob("*.err")
    ]
    check_project(project)


@pytest.mark.slow
def test_the_snakefile_runs_and_then_has_nothing_to_do(particles, tmp_path):
    snakemake = shutil.which("snakemake") or shutil.which(
        "snakemake", path=str(Path(sys.executable).parent)
    )
    if snakemake is None:
        pytest.skip("snakemake is not installed; pip install snakemake")
    options = {"resample": "RESAMPLE", "train": "TRAIN", "landscape": "LANDSCAPE", "vote": "VOTE"}
    command = [snakemake, "-s", str(ROOT / "envs" / "Snakefile"), "--cores", "2", "--config"]
    command += [f"particles={particles}", "project=project", f"alphacryo4d={PROGRAM}"]
    command += [f"{rule}={OPTIONS[name]}" for rule, name in options.items()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    check_project(tmp_path / "project")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in again.stderr + again.stdout
