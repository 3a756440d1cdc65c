"""The vote commands: whole stage, single steps, exit codes, what goes to stdout."""

import json

import pytest

from alphacryo4d.cli import main


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code or 0
    return 0


def test_count_prints_the_paths_of_its_results(project, capsys):
    out = project.root / "count"
    code = run(
        "vote", "count", "--i", project.resample, "--landscape", project.landscape, "--o", out
    )
    assert code == 0
    paths = capsys.readouterr().out.split()
    assert str(out / "particles.star") in paths
    assert str(out / "votes.npy") in paths


def test_the_group_runs_the_stage_and_json_is_one_object(project, capsys):
    out = project.root / "vote"
    code = run(
        "vote", "--i", project.resample, "--landscape", project.landscape, "--o", out,
        "--threshold", "2/3", "--no-reconstruct", "--no-test", "--json",
    )  # fmt: skip
    assert code == 0
    assert str(out / "particles.star") in json.loads(capsys.readouterr().out)["outputs"]
    assert json.loads((out / "report.json").read_text())["votes_needed"] == 3


def test_a_dry_run_of_maps_refuses_stacks_that_are_gone(project, capsys):
    out = project.root / "vote"
    base = ("--i", project.resample, "--landscape", project.landscape, "--o", out)
    assert run("vote", *base, "--no-reconstruct", "--no-test") == 0
    for path in project.root.rglob("*.mrcs"):
        path.unlink()
    code = run("vote", "reconstruct", "--i", out, "--o", project.root / "maps", "--dry-run")
    assert code == 3
    assert "would reconstruct" not in capsys.readouterr().err


def test_nearest_takes_a_cutoff(project):
    out = project.root / "nearest"
    code = run(
        "vote", "nearest", "--i", project.resample, "--landscape", project.landscape, "--o", out,
        "--cutoff", "0.5",
    )  # fmt: skip
    assert code == 0
    report = json.loads((out / "report.json").read_text())
    assert report["voted"] + report["voted_out"] == report["particles"]
    assert report["voted_out"] > 0


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--threshold", "9"), 2), (("--threshold", "often"), 2), ((), 0), (("--dry-run",), 0)],
)
def test_exit_codes_of_count(project, options, code):
    out = project.root / "out"
    base = ("vote", "count", "--i", project.resample, "--landscape", project.landscape, "--o", out)
    assert run(*base, *options) == code
    assert (out / "particles.star").exists() == (code == 0 and not options)


def test_missing_options_and_folders(project, capsys):
    assert run("vote", "--i", project.resample) == 2
    assert "--landscape" in capsys.readouterr().err
    base = ("vote", "reclassify", "--o", project.root / "out")
    assert run(*base, "--i", project.root / "nowhere") == 3
    assert "Traceback" not in capsys.readouterr().err
    assert run(*base, "--i", project.root) == 3
    assert "vote" in capsys.readouterr().err
