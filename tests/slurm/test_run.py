"""The whole pipeline on a real Slurm by RELION's template, with a fold killed and tried again."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.cluster.script import BatchJob
from alphacryo4d.cluster.slurm import queue, submit
from alphacryo4d.core.errors import ProgramError

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
TEMPLATE = Path(__file__).resolve().parent.parent.parent / "envs" / "relion_qsub.template"
OPTIONS = ["--classes", "5", "--iter", "4", "--states", "4", "--epochs", "1", "--cores", "1"]
OPTIONS += ["--components", "4"]
SITE = ["--qsub-template", str(TEMPLATE), "--queue", "main"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "alphacryo4d", *words]


def states(ids: list[str]) -> dict[str, str]:
    return {job.job: job.state for job in queue(ids) or []}


def record(folder: Path) -> dict[str, object]:
    path = folder / "job.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@pytest.fixture(scope="module")
def project(slurm: Path, easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that the cluster worked on; its first fold was killed while it ran."""
    folder = tmp_path_factory.mktemp("run") / "project"
    done = subprocess.run(
        command("run", "--i", str(easy_data / "particles.star"), "--o", str(folder),
                *OPTIONS, *SITE, "--submit"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ids = done.stdout.split()
    assert all(number.isdigit() for number in ids)
    first = f"{ids[0]}_0"
    wait_until((folder / "resample/batch1/u123/job.json").is_file, 10, pause=0.3)
    subprocess.run(["scancel", "--signal=KILL", "--full", first], check=True)
    wait_until(lambda: record(folder).get("status") == "done" or _stuck(ids), 50, pause=0.3)
    return folder


def _stuck(ids: list[str]) -> bool:
    live = {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED"}
    return not any(state in live for state in states(ids).values())


def logs(project: Path) -> str:
    paths = sorted((project / "cluster").glob("*.err"))
    return "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in paths)


def test_the_run_ends_although_a_fold_was_killed(project: Path) -> None:
    assert record(project).get("status") == "done", logs(project)
    for name in ("resample/volumes.npy", "landscape/states.star", "vote/particles.star"):
        assert (project / name).is_file()


def test_the_killed_fold_was_tried_again(project: Path) -> None:
    runs = sorted(path.name for path in (project / "cluster").glob("fold_retry1_*_0.err"))
    assert runs, logs(project)
    assert record(project / "resample/batch1/u123")["status"] == "done"


def test_status_tells_stages_folds_and_jobs(project: Path) -> None:
    done = subprocess.run(
        command("status", str(project), "--json"), capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert [stage["status"] for stage in told["stages"]] == ["done"] * 4
    assert told["folds"] == {"done": 4, "of": 4, "unfinished": []}
    assert {job["name"] for job in told["jobs"]} >= {"fold", "fold_retry1", "resample", "vote"}


def test_the_same_command_submits_nothing_new_to_classify(project: Path, easy_data: Path) -> None:
    # the record is closed by the last job itself, which may still be leaving the queue
    for _ in range(400):
        done = subprocess.run(
            command("run", "--i", str(easy_data / "particles.star"), "--o", str(project),
                    *OPTIONS, "--submit", "--json"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "still wait or run" not in done.stderr:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stderr
    jobs = json.loads(done.stdout)["jobs"]
    assert "fold" not in jobs
    subprocess.run(["scancel", *jobs.values()], check=True)


def test_a_site_template_is_used(slurm: Path, tmp_path: Path) -> None:
    template = tmp_path / "qsub.sh"
    template.write_text(
        "#!/bin/bash\n#SBATCH -J XXXnameXXX\n#SBATCH -p XXXqueueXXX\n#SBATCH -c XXXthreadsXXX\n"
        "#SBATCH -o XXXoutfileXXX\n#SBATCH -e XXXerrfileXXX\n#SBATCH -t XXXextra1XXX\n"
        "srun XXXcommandXXX\n"
    )
    options = ClusterOptions(qsub_template=template, queue="main", qsub_extra1="5")
    code = "import os; print('element', os.environ['SLURM_ARRAY_TASK_ID'])"
    job = BatchJob(
        name="try",
        command=(sys.executable, "-c", code),
        folder=tmp_path / "cluster",
        working_folder=tmp_path,
        array=(1, 3),
    )
    number = submit(job, options)
    out = [tmp_path / f"cluster/try_{number}_{index}.out" for index in (1, 3)]
    wait_until(lambda: all(path.is_file() and path.read_text() for path in out), 5, pause=0.3)
    assert [path.read_text() for path in out] == ["element 1\n", "element 3\n"]


def test_what_slurm_refuses_is_shown(slurm: Path, tmp_path: Path) -> None:
    job = BatchJob("bad", (sys.executable, "-V"), tmp_path / "cluster", tmp_path)
    with pytest.raises(ProgramError, match="partition"):
        submit(job, ClusterOptions(queue="nowhere"))


def test_slurm_is_the_one_of_this_test(slurm: Path) -> None:
    assert os.environ["SLURM_CONF"] == str(slurm)
