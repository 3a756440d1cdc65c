"""Environments: bounds agree with pyproject.toml, the lock meets them, scripts are sound."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
ENVS = ROOT / "envs"
OTHER_NAMES = {"matplotlib-base": "matplotlib", "tensorflow-cpu": "tensorflow"}


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [Requirement(text) for text in project["dependencies"]]
    return {entry.name: entry for entry in entries}


@pytest.mark.parametrize("name", ["cpu.yml", "gpu.yml"])
def test_conda_environments_have_the_bounds_of_the_project(name):
    text = (ENVS / name).read_text()
    entries = re.findall(r"^ +- ([A-Za-z][\w.-]*(?:\[[\w-]+\])?>=\S+)$", text, re.MULTILINE)
    bounds = {}
    for entry in map(Requirement, entries):
        bounds[OTHER_NAMES.get(entry.name, entry.name)] = str(entry.specifier)
    assert bounds == {name: str(entry.specifier) for name, entry in requirements().items()}


def test_the_lock_meets_every_requirement():
    lines = (ENVS / "requirements.lock").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    for name, entry in requirements().items():
        assert entry.specifier.contains(pinned[name]), name


@pytest.mark.parametrize(
    "path",
    [*ENVS.glob("*.sh"), ENVS / "slurm.sbatch", *(ROOT / "scripts").glob("*.sh")],
    ids=lambda path: path.name,
)
def test_shell_scripts_parse(path):
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["cpu.yml", "gpu.yml", "alphacryo4d.def", "hpc_pipeline.sh", "slurm.sbatch", "Snakefile",
     "relion_qsub.template"],
)  # fmt: skip
def test_first_lines_say_what_was_run(name):
    first = "".join((ENVS / name).read_text().splitlines(keepends=True)[:5]).lower()
    assert re.search(
        r"\brun in ci\b|\bnot (built|installed|run)\b|\bnot yet submitted\b|\btested on\b", first
    )


def test_the_template_renders_without_words_left(tmp_path):
    from alphacryo4d.cluster.options import ClusterOptions
    from alphacryo4d.cluster.script import BatchJob, render_script

    job = BatchJob("folds", ("alphacryo4d", "run", "--o", "a b"), tmp_path, tmp_path, cores=4)
    options = ClusterOptions(qsub_template=ENVS / "relion_qsub.template", queue="main")
    text = render_script(job, options, environment={})
    lines = text.splitlines()
    body = [line for line in lines if not line.startswith("# ")]
    assert not [line for line in body if "XXX" in line]
    assert "#SBATCH --partition=main" in lines
    assert "#SBATCH --cpus-per-task=4" in lines
    assert lines[-1] == "alphacryo4d run --o 'a b'"


def test_the_pipeline_needs_sbatch(tmp_path):
    """Without Slurm there is one line and a way out, and nothing is written."""
    fake = tmp_path / "bin"
    fake.mkdir()
    for name in ("bash", "realpath", "mkdir", "dirname"):
        (fake / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        ["bash", str(ENVS / "hpc_pipeline.sh"), "particles.star", str(tmp_path / "project")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(fake), "ALPHACRYO4D": sys.executable},
    )
    assert done.returncode == 4
    assert "alphacryo4d run" in done.stderr
    assert not (tmp_path / "project").exists()


def test_the_pipeline_chains_four_jobs_that_call_alphacryo4d_only(tmp_path):
    """A stand-in for sbatch records what it is given; each job waits for the one before."""
    fake = tmp_path / "bin"
    fake.mkdir()
    record = tmp_path / "calls"
    sbatch = f'#!/bin/bash\nprintf "%s\\n" "$*" >> {record}\nwc -l < {record}\n'
    for name, text in (("sbatch", sbatch), ("alphacryo4d", "#!/bin/bash\nexit 0\n")):
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    (tmp_path / "my particles.star").touch()
    done = subprocess.run(
        ["bash", str(ENVS / "hpc_pipeline.sh"), "my particles.star", "project"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{fake}:{os.environ['PATH']}", "TRAIN_SBATCH": "--gres=gpu:2",
             "SBATCH_ALL": "--mem=4G --time=10", "TRAIN": "--gpu 0,1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = ("resample", "deepfeature", "landscape", "vote")
    assert done.stdout == "".join(f"{name} {i}\n" for i, name in enumerate(names, 1))
    calls = record.read_text().splitlines()
    assert "--dependency" not in calls[0]
    for number, call in enumerate(calls[1:], 1):
        assert f"--dependency=afterok:{number} " in call
        assert "--mem=4G --time=10" in call
    assert [("--gres=gpu:2" in call) for call in calls] == [False, True, False, False]
    logs = tmp_path / "project" / "logs"
    assert "train --i" in (logs / "deepfeature.sh").read_text()
    assert "--gpu 0\\,1 --continue" in (logs / "deepfeature.sh").read_text()
    assert "my\\ particles.star" in (logs / "resample.sh").read_text()
    for script in logs.glob("*.sh"):
        command = script.read_text().splitlines()[-1]
        assert re.match(r"exec alphacryo4d (resample|train|landscape|vote) ", command)
