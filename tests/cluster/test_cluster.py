"""Batch scripts and submissions, compared as text."""

from pathlib import Path

import pytest

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.cluster.script import BatchJob, array_specification, render_script
from alphacryo4d.cluster.slurm import submit, submit_command
from alphacryo4d.core.errors import InputError, ProgramError, UsageError
from alphacryo4d.pipeline.cli import NOT_REPEATED, run
from alphacryo4d.pipeline.submit import array_index, plan_jobs, repeat_words

JOB = BatchJob(
    name="fold",
    command=("/env/bin/python", "-m", "alphacryo4d", "run", "--i", "my particles.star"),
    folder=Path("/data/project/cluster"),
    working_folder=Path("/data/it's here"),
    cores=8,
    array=(0, 1, 2, 3),
)


def test_a_plain_script() -> None:
    options = ClusterOptions(queue="short", walltime="2:00:00", cluster_memory="16G")
    assert render_script(JOB, options, environment={}) == (
        "#!/bin/bash\n"
        "#SBATCH --job-name=ac4d-fold\n"
        "#SBATCH --output=/data/project/cluster/fold_%A_%a.out\n"
        "#SBATCH --error=/data/project/cluster/fold_%A_%a.err\n"
        "#SBATCH --ntasks=1\n"
        "#SBATCH --cpus-per-task=8\n"
        "#SBATCH --partition=short\n"
        "#SBATCH --time=2:00:00\n"
        "#SBATCH --mem=16G\n"
        "cd '/data/it'\"'\"'s here' || exit 1\n"
        "/env/bin/python -m alphacryo4d run --i 'my particles.star'\n"
    )


TEMPLATE = (
    "XXXnameXXX|XXXoutfileXXX|XXXerrfileXXX|XXXqueueXXX|XXXmpinodesXXX|XXXthreadsXXX|XXXcoresXXX|"
    "XXXdedicatedXXX|XXXnodesXXX|XXXextra1XXX|XXXextra2XXX|XXXextra7XXX|XXXcommandXXX"
)


def test_every_variable_of_relion_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "qsub.sh"
    path.write_text(TEMPLATE)
    options = ClusterOptions(qsub_template=path, queue="gpu", min_dedicated=3, qsub_extra1="one")
    environment = {
        "RELION_QSUB_TEMPLATE": "/not/this/one",
        "RELION_QSUB_EXTRA1_DEFAULT": "not this",
        "RELION_QSUB_EXTRA2_DEFAULT": "two",
    }
    assert render_script(JOB, options, environment=environment).split("|") == [
        "ac4d-fold", "/data/project/cluster/fold_%A_%a.out", "/data/project/cluster/fold_%A_%a.err",
        "gpu", "1", "8", "8", "3", "3", "one", "two", "",
        "/env/bin/python -m alphacryo4d run --i 'my particles.star'",
    ]  # fmt: skip


def test_the_sites_template_is_found_by_its_variable(tmp_path: Path) -> None:
    path = tmp_path / "qsub.sh"
    path.write_text("of the site: XXXcommandXXX, XXXqueueXXX")
    environment = {"RELION_QSUB_TEMPLATE": str(path), "RELION_QUEUE_NAME": "site"}
    text = render_script(JOB, ClusterOptions(), environment=environment)
    assert text.startswith("of the site: /env/bin/python")
    assert text.endswith(", site")


@pytest.mark.parametrize(
    ("text", "message"),
    [("nothing", "no XXXcommandXXX"), ("XXXcommandXXX XXXmineXXX", "XXXmineXXX")],
)
def test_a_template_that_cannot_work_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "qsub.sh"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        render_script(JOB, ClusterOptions(qsub_template=path), environment={})


def test_a_missing_template_is_named() -> None:
    with pytest.raises(InputError, match=r"/no/such\.sh"):
        render_script(JOB, ClusterOptions(qsub_template=Path("/no/such.sh")), environment={})


def test_a_value_in_the_command_is_not_taken_for_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "qsub.sh"
    path.write_text("XXXcommandXXX")
    job = BatchJob("x", ("echo", "XXXqueueXXX"), tmp_path, tmp_path)
    text = render_script(job, ClusterOptions(qsub_template=path), environment={})
    assert text == "echo XXXqueueXXX"


def test_a_folder_that_a_script_would_mangle_is_refused() -> None:
    job = BatchJob("x", ("true",), Path("/data/$(touch x)/cluster"), Path("/data"))
    with pytest.raises(InputError, match="mangle"):
        render_script(job, ClusterOptions(), environment={})


@pytest.mark.parametrize(
    ("indices", "limit", "text"),
    [((0, 1, 2, 3), 0, "0-3"), ((5,), 0, "5"), ((7, 0, 1, 4), 2, "0-1,4,7%2")],
)
def test_indices_of_an_array(indices: tuple[int, ...], limit: int, text: str) -> None:
    assert array_specification(indices, limit) == text


def test_array_and_dependency_are_arguments_of_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELION_QSUB_COMMAND", raising=False)
    options = ClusterOptions(array_limit=2, sbatch_args="--account=lab --qos 'very long'")
    words = submit_command(JOB, options, dependency="afterok:7?afterok:8")
    assert words == [
        "sbatch", "--parsable", "--requeue", "--chdir=/data/it's here", "--array=0-3%2",
        "--dependency=afterok:7?afterok:8", "--kill-on-invalid-dep=yes", "--account=lab", "--qos",
        "very long", "/data/project/cluster/fold.sh",
    ]  # fmt: skip


def fake_sbatch(folder: Path, text: str) -> ClusterOptions:
    program = folder / "sbatch"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return ClusterOptions(qsub_command=str(program))


@pytest.mark.parametrize("answer", ["123", "123;cluster", "Submitted batch job 123"])
def test_the_job_id_is_read(tmp_path: Path, answer: str) -> None:
    options = fake_sbatch(tmp_path, f"echo '{answer}'")
    job = BatchJob("x", ("true",), tmp_path / "cluster", tmp_path)
    assert submit(job, options) == "123"
    assert (tmp_path / "cluster/x.sh").read_text().endswith("\ntrue\n")


def test_an_answer_without_an_id_is_an_error(tmp_path: Path) -> None:
    job = BatchJob("x", ("true",), tmp_path / "cluster", tmp_path)
    with pytest.raises(ProgramError, match="prints no job id"):
        submit(job, fake_sbatch(tmp_path, "echo hello"))
    with pytest.raises(ProgramError, match="invalid partition"):
        submit(job, fake_sbatch(tmp_path, "echo invalid partition; exit 1"))


def test_stages_follow_the_folds() -> None:
    cluster = ClusterOptions(cores=6)
    jobs = plan_jobs(["run", "--i", "p.star"], Path("project"), [1, 3], cluster, gpus=2)
    assert [job.name for job in jobs] == ["fold", "resample", "deepfeature", "landscape", "vote"]
    assert [job.array for job in jobs] == [(1, 3), (), (), (), ()]
    assert [job.gpus for job in jobs] == [0, 0, 2, 0, 0]
    assert jobs[0].command[-4:] == ("--j", "6", "--only", "fold")
    assert jobs[1].command[-3:] == ("--only", "resample", "--continue")
    assert all(job.folder == Path.cwd() / "project/cluster" for job in jobs)


def test_only_the_stages_are_left_when_the_folds_are_done() -> None:
    jobs = plan_jobs(["run"], Path("project"), [], ClusterOptions(), gpus=0)
    assert [job.name for job in jobs] == ["resample", "deepfeature", "landscape", "vote"]


def test_a_command_line_is_repeated_with_the_same_meaning() -> None:
    words = [
        "--i", "p.star", "--o", "project", "--classes", "3x4", "--iter", "7", "--seed", "5",
        "--no-equal-weights", "--submit", "--cores", "9", "--gpu", "0,1",
    ]  # fmt: skip
    with run.make_context("run", list(words)) as context:
        again = repeat_words(context, leave_out=NOT_REPEATED)
        first = dict(context.params)
    with run.make_context("run", [*again, "--i", "p.star", "--o", "project"]) as context:
        second = dict(context.params)
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"submit", "cores"}


def test_an_element_knows_its_number() -> None:
    assert array_index({"SLURM_ARRAY_TASK_ID": "12"}) == 12
    with pytest.raises(UsageError, match="job array"):
        array_index({})


@pytest.mark.parametrize("wrong", [{"cores": 0}, {"retries": 9}, {"queue": "a\nb"}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ClusterOptions(**wrong)  # type: ignore[arg-type]
